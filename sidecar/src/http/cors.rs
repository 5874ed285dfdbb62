//! CORS (of the Fetch standard): which scripts of other origins may ask, and read the answer.
//!
//! Browsers ask first (a preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method`) and
//! then send; here both are answered. Everyone else may ignore it, so it protects users of browsers
//! from pages, and never the sidecar from anyone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, Any, CorsLayer, Vary};

use super::endpoint::OtherOrigins;
use super::problem::method_not_allowed;
use crate::app::App;
use crate::config::AllowedOrigin;

/// How long a browser may keep what a preflight said: each costs an application a round trip, and an
/// origin that is taken from the list goes on sending for that long (it reads no answer).
const PREFLIGHT_MAX_AGE: Duration = Duration::from_mins(10);

const DPOP: HeaderName = HeaderName::from_static("dpop");

/// What an application reads of an answer besides its body: the nonce of the next proof, what was
/// wrong, and when to come again.
const EXPOSED: [HeaderName; 5] = [
    HeaderName::from_static("dpop-nonce"),
    header::WWW_AUTHENTICATE,
    header::RETRY_AFTER,
    HeaderName::from_static("ratelimit"),
    HeaderName::from_static("ratelimit-policy"),
];

/// Lets scripts of other origins ask what these routes serve.
///
/// `Access-Control-Allow-Credentials` is never sent: with it a script that was smuggled into one
/// allowed origin would read what comes for cookies and client certificates, which a browser adds by
/// itself. Applications put what they show into headers and bodies, which pages of others have not.
///
/// What a browser sends without asking first comes here all the same, and is carried out; that it is
/// no login is seen to where bodies are read ([`super::extract`]).
pub(super) fn layer(
    routes: Router<Arc<App>>,
    origins: OtherOrigins,
    allowed: &[AllowedOrigin],
) -> Router<Arc<App>> {
    let cors = match origins {
        OtherOrigins::None => return routes,
        OtherOrigins::Allowed if allowed.is_empty() => return routes,
        OtherOrigins::Allowed => of_applications(allowed),
        OtherOrigins::All => of_everybody(),
    };
    // To a router `OPTIONS` is a method that no endpoint takes: the layer must be around that answer.
    routes.method_not_allowed_fallback(method_not_allowed).layer(cors)
}

/// For what clients send. An answer names the origin that asked, if it is one of these, and never
/// `*`: any page could then guess passwords by the browsers of whoever opens it, each from another
/// address, and read who has which.
fn of_applications(allowed: &[AllowedOrigin]) -> CorsLayer {
    let allowed = allowed.iter().map(|origin| HeaderValue::from_str(origin.0.as_str()));
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed.filter_map(Result::ok)))
        .allow_methods([Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, DPOP])
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_MAX_AGE)
        // Or a cache would hand an answer for one origin to another.
        .vary([header::ORIGIN])
}

/// For what everybody may know, whatever page asks.
fn of_everybody() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD])
        // All but `Authorization`, which `*` leaves out.
        .allow_headers(Any)
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(PREFLIGHT_MAX_AGE)
        .vary(Vary::list([]))
}
