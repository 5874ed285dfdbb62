//! The internal listener: what filters ask. Every request is verified before its body is parsed,
//! and every answer to a verified request is signed.
//!
//! A nonce is not remembered; a request that was recorded may be sent again while its time is within
//! the window. It gains nothing. The answer is bound to the old nonce, so no filter that waits for
//! another believes it. Questions of the feed change nothing, and say what whoever could record the
//! request could read, or get by passing on the request itself instead of recording it; those that
//! wait for news take a place of `feed.waiting_readers` each. An unknown key lets an issuer be asked,
//! as often as its budget allows, whoever tells of it. Events count once by incarnation and sequence,
//! far longer than the window. Remembering all nonces would cost a bound, and whoever fills it stops
//! every filter; only pieces of rate limits, which a filter can give back, remember theirs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use wardgate_core::wire::mac::{
    MAC_HEADER, MacError, Nonce, RequestParts, sign_answer, verify_request,
};
use wardgate_core::wire::rate::{RATE_LEASES_PATH, RateLeases, RateLeasesAnswer};
use wardgate_core::wire::{AUDIT_PATH, AuditAnswer, AuditBatch};

use super::endpoint::{self, Endpoint, Requirement};
use super::problem::Problem;
use crate::app::App;
use crate::audit::AuditError;
use crate::limits::LeaseError;
use crate::metrics::RefusedLabels;

/// Longest answer that is signed. The longest are pieces of tables, some kilobytes over 64 KiB, and
/// settings: a policy and the key sets of all its issuers.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mac = Requirement::FeedMac;
    vec![
        endpoint::post(AUDIT_PATH, mac, "Takes audit events into the log.")
            .json::<AuditBatch>()
            .answers::<AuditAnswer>(StatusCode::OK, "They are on disk.")
            .fails(StatusCode::SERVICE_UNAVAILABLE, &["audit-unavailable"])
            .runs(audit),
        endpoint::post(RATE_LEASES_PATH, mac, "Hands out pieces of global rate limits.")
            .json::<RateLeases>()
            .answers::<RateLeasesAnswer>(StatusCode::OK, "What was granted.")
            .runs(rate_leases),
    ]
}

async fn audit(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<AuditAnswer>, Problem> {
    let batch: AuditBatch = parse(&body)?;
    match app.audit.append(batch).await {
        Ok(acknowledged) => Ok(Json(AuditAnswer { acknowledged })),
        Err(error @ AuditError::Batch(_)) => Err(Problem::malformed(error.to_string())),
        Err(error @ (AuditError::Busy | AuditError::Failed)) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "audit-unavailable", error.to_string()))
        }
    }
}

async fn rate_leases(
    State(app): State<Arc<App>>,
    Extension(nonce): Extension<Nonce>,
    body: Bytes,
) -> Result<Json<RateLeasesAnswer>, Problem> {
    let question: RateLeases = parse(&body)?;
    app.leases.answer(&question, nonce).await.map(Json).map_err(|error| match error {
        LeaseError::Malformed(why) => Problem::malformed(why),
        LeaseError::Store(_) => Problem::internal(&error),
    })
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        // Line and column, never the content: it may be an event with personal data.
        let (line, column) = (error.line(), error.column());
        Problem::malformed(format!("the body is not of this form, at line {line}, column {column}"))
    })
}

pub(super) async fn authenticate(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let held = match app.bodies.read(parts.uri.path(), body).await {
        Ok(held) => held,
        Err(error) => return Problem::from(error).into_response(),
    };
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let signed = RequestParts { method: parts.method.as_str(), path, body: &held.bytes };
    let nonce = match verify(&app, signed, &parts.headers) {
        Ok(nonce) => nonce,
        Err(reason) => return refuse(&app, reason),
    };
    parts.extensions.insert(nonce);
    let body = Body::from(held.bytes.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    // What was made of the body is gone now too.
    drop(held);
    sign(&app, nonce, response).await
}

fn verify(
    app: &App,
    request: RequestParts<'_>,
    headers: &HeaderMap,
) -> Result<Nonce, &'static str> {
    let mut values = headers.get_all(MAC_HEADER).iter();
    let (Some(header), None) = (values.next(), values.next()) else { return Err("header") };
    let now = app.clock.now();
    let window = app.window_seconds;
    let verified = verify_request(&app.feed_secret, request, header.as_bytes(), now, window);
    verified.map_err(|error| match error {
        MacError::Header => "header",
        MacError::Time => "time",
        MacError::Mismatch => "mac",
    })
}

/// Whoever does not know the secret learns nothing of why; the log and the metric say it.
fn refuse(app: &App, reason: &'static str) -> Response {
    app.metrics.refused.get_or_create(&RefusedLabels { reason }).inc();
    // One line a second: whoever floods the listener must not fill the disk with the log of it.
    let now = app.clock.now().0;
    if app.refused_logged_at.swap(now, Ordering::Relaxed) != now {
        tracing::warn!(reason, "an internal request was not believed");
    }
    let detail = "the request is not authenticated";
    Problem::new(StatusCode::UNAUTHORIZED, "not-authenticated", detail).into_response()
}

async fn sign(app: &App, nonce: Nonce, response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_ANSWER_BYTES).await else {
        let detail = "the answer is too long";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal-error", detail)
            .into_response();
    };
    let mac = sign_answer(&app.feed_secret, nonce, parts.status.as_u16(), &body);
    if let Ok(mac) = HeaderValue::from_str(&mac) {
        parts.headers.insert(MAC_HEADER, mac);
    }
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, Body::from(body))
}
