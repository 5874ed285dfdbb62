//! The OAuth endpoints: forms in, JSON out, errors as RFC 6749 §5.2 has them.

pub(super) mod forms;

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

pub(super) use forms::{ClientCredentials, Refusal};

use super::admin_revocations::record as record_revocation;
use super::endpoint::{self, Declaration, Endpoint, OtherOrigins, Requirement};
use super::extract::media_type;
use super::recorded;
use crate::app::App;
use crate::families::report;
use crate::limits::Peer;
use crate::metrics::OAuthLabels;
use crate::oauth::{
    Event, Form, MAX_FORM_BYTES, OAuthError, OAuthRequest, ServerMetadata, TokenEnded,
};

/// How long metadata may be kept: what a restart with another configuration changes.
const METADATA_CACHE: &str = "public, max-age=300";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (open, client) = (Requirement::Open, Requirement::ClientAuthentication);
    let well_known = "/.well-known/oauth-authorization-server";
    let kept_by_nobody = "`no-store`: nothing on the way keeps it.";
    vec![
        refusals(endpoint::post("/oauth2/token", client, "Gives tokens (RFC 6749 §3.2)."))
            .form::<forms::Token>()
            .answers::<forms::TokenAnswer>(StatusCode::OK, "The token.")
            .header("Cache-Control", kept_by_nobody)
            .header("DPoP-Nonce", "The nonce of the next proof.")
            .for_scripts_of(OtherOrigins::Allowed)
            .below_issuer()
            .runs(token),
        refusals(endpoint::post("/oauth2/revoke", client, "Ends a token (RFC 7009)."))
            .form::<forms::OneToken>()
            .answers_nothing(StatusCode::OK, "The token is over, or never was one.")
            .for_scripts_of(OtherOrigins::Allowed)
            .below_issuer()
            .runs(revoke),
        refusals(endpoint::post(
            "/oauth2/introspect",
            client,
            "Says what a token says (RFC 7662).",
        ))
        .form::<forms::OneToken>()
        .answers::<forms::Introspection>(StatusCode::OK, "What it says, if it is active.")
        .header("Cache-Control", kept_by_nobody)
        .below_issuer()
        .runs(introspect),
        endpoint::get(well_known, open, "Says what the OAuth endpoints can do (RFC 8414).")
            .answers::<ServerMetadata>(StatusCode::OK, "The metadata.")
            .header("Cache-Control", "How long it may be kept.")
            .for_scripts_of(OtherOrigins::All)
            .well_known_of_issuer()
            .runs(metadata),
    ]
}

/// How requests of clients are refused (RFC 6749 §5.2).
pub(super) fn refusals(declaration: Declaration) -> Declaration {
    declaration
        .answers::<forms::Refusal>(StatusCode::BAD_REQUEST, "It is refused; `error` says why.")
        .answers::<forms::Refusal>(StatusCode::UNAUTHORIZED, "The client is not who it says.")
        .header("WWW-Authenticate", "How clients authenticate.")
        .answers::<forms::Refusal>(StatusCode::TOO_MANY_REQUESTS, "The address failed too often.")
        .header("Retry-After", "In how many seconds it is worth while to ask again.")
        .answers::<forms::Refusal>(StatusCode::INTERNAL_SERVER_ERROR, "The sidecar failed.")
}

async fn token(State(app): State<Arc<App>>, request: Request) -> Response {
    let (asked, outcome) = match read(&app, request).await {
        Ok(asked) => {
            let outcome = app.oauth.token(&asked).await;
            (asked, outcome)
        }
        Err(error) => (OAuthRequest::default(), Err(error)),
    };
    let outcome = match outcome {
        Ok(answer) => {
            app.metrics.tokens_issued.inc();
            if let Some(event) = answer.event {
                record(&app, &asked, event).await;
            }
            Ok(Body::from(answer.body.to_string()))
        }
        Err(error) => Err(error),
    };
    answer(&app, "token", &asked, outcome).await
}

async fn revoke(State(app): State<Arc<App>>, request: Request) -> Response {
    let (asked, outcome) = match read(&app, request).await {
        Ok(asked) => {
            let outcome = app.oauth.revoke(&asked).await;
            (asked, outcome)
        }
        Err(error) => (OAuthRequest::default(), Err(error)),
    };
    let outcome = match outcome {
        Ok(TokenEnded::Token(revoked)) => {
            record_revocation(&app, &revoked).await;
            Ok(Body::empty())
        }
        Ok(TokenEnded::Login(ended)) => {
            let address = asked.address.map(|address| address.to_string());
            report(&app, &ended, address.as_deref()).await;
            Ok(Body::empty())
        }
        Ok(TokenEnded::Nothing) => Ok(Body::empty()),
        Err(error) => Err(error),
    };
    answer(&app, "revoke", &asked, outcome).await
}

async fn introspect(State(app): State<Arc<App>>, request: Request) -> Response {
    let (asked, outcome) = match read(&app, request).await {
        Ok(asked) => {
            let outcome = app.oauth.introspect(&asked).await;
            (asked, outcome)
        }
        Err(error) => (OAuthRequest::default(), Err(error)),
    };
    let outcome = outcome.map(|claims| Body::from(json!(claims).to_string()));
    answer(&app, "introspect", &asked, outcome).await
}

async fn metadata(
    State(app): State<Arc<App>>,
) -> ([(header::HeaderName, &'static str); 1], Json<ServerMetadata>) {
    ([(header::CACHE_CONTROL, METADATA_CACHE)], Json(app.oauth.metadata()))
}

/// Reads a request with a form.
pub(super) async fn read(app: &App, request: Request) -> Result<OAuthRequest, OAuthError> {
    let peer = request.extensions().get::<Peer>().copied();
    let (parts, body) = request.into_parts();
    let address = app.public_limit.address(&parts.headers, peer);
    if !is_form(&parts.headers) {
        return Err(OAuthError::InvalidRequest(
            "the body must be `application/x-www-form-urlencoded`",
        ));
    }
    let body = to_bytes(body, MAX_FORM_BYTES).await;
    let body = body.map_err(|_| OAuthError::InvalidRequest("the body is too long or broke off"))?;
    Ok(OAuthRequest { headers: parts.headers, form: Form::parse(&body)?, address })
}

fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Counts and records what became of a request, and answers it.
pub(super) async fn answer(
    app: &App,
    endpoint: &'static str,
    asked: &OAuthRequest,
    outcome: Result<Body, OAuthError>,
) -> Response {
    count(app, endpoint, outcome.as_ref().err());
    let response = match outcome {
        Ok(body) => {
            let mut response = Response::new(body);
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => {
            record_refusal(app, asked, &error).await;
            let body = json!({"error": error.code(), "error_description": error.to_string()});
            refused(&error, (status(&error), Json(body)).into_response())
        }
    };
    kept_by_nobody(app, asked, response)
}

/// Counts what became of a request.
pub(super) fn count(app: &App, endpoint: &'static str, error: Option<&OAuthError>) {
    let result = error.map_or("ok", OAuthError::code);
    app.metrics.oauth.get_or_create(&OAuthLabels { endpoint, result }).inc();
}

/// The status of a refusal.
pub(super) fn status(error: &OAuthError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST)
}

/// Adds to the answer to a refused request what the client is to do.
pub(super) fn refused(error: &OAuthError, mut response: Response) -> Response {
    let headers = response.headers_mut();
    if error.status() == 401 {
        let challenge = HeaderValue::from_static("Basic realm=\"wardgate\", charset=\"UTF-8\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// RFC 6749 §5.1: nothing on the way keeps a token, nor that there was none.
pub(super) fn kept_by_nobody(app: &App, asked: &OAuthRequest, mut response: Response) -> Response {
    let headers = response.headers_mut();
    // RFC 9449 §8.2: the next nonce comes with the answer, so that it costs no request of its own.
    let nonce = asked.headers.contains_key("dpop").then(|| app.oauth.dpop_nonce()).flatten();
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::from_str(&nonce).ok()) {
        headers.insert("dpop-nonce", nonce);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Writes to the logs what a refusal says to those who look after the sidecar.
pub(super) async fn record_refusal(app: &App, asked: &OAuthRequest, error: &OAuthError) {
    match error {
        OAuthError::InvalidClient(refusal) => {
            let event = Event::new("client-refused")
                .with("reason", refusal.reason)
                .with("client_id", refusal.client_id.clone());
            record(app, asked, event).await;
        }
        OAuthError::LoginEnded(ended) => {
            let address = asked.address.map(|address| address.to_string());
            report(app, ended, address.as_deref()).await;
        }
        OAuthError::Server(cause) => tracing::error!(error = %cause, "a token request failed"),
        OAuthError::InvalidRequest(_)
        | OAuthError::InvalidGrant(_)
        | OAuthError::PasswordRefused(_)
        | OAuthError::UnauthorizedClient(_)
        | OAuthError::UnsupportedGrantType
        | OAuthError::InvalidScope(_)
        | OAuthError::InvalidTarget(_)
        | OAuthError::InvalidDpopProof(_)
        | OAuthError::UseDpopNonce
        | OAuthError::TooManyFailures(_)
        | OAuthError::Busy(_) => {}
    }
}

/// Writes an event to the audit log, with where the request came from.
pub(super) async fn record(app: &App, asked: &OAuthRequest, event: Event) {
    let event = event.with("source_address", asked.address.map(|address| address.to_string()));
    recorded::record(app, event).await;
}
