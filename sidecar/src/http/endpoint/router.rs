//! The routes of a listener, each with its requirement around it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::{Endpoint, ListenerName, Requirement};
use crate::app::App;
use crate::http::internal::authenticate;
use crate::http::problem::Problem;
use crate::limits::Peer;

/// The endpoints that a listener serves. Nothing else makes routes.
pub(in crate::http) fn router(
    endpoints: Vec<Endpoint>,
    listener: ListenerName,
    app: &Arc<App>,
) -> Router<Arc<App>> {
    let served = endpoints.into_iter().filter(|it| it.declaration.is_served_by(listener));
    served.fold(Router::new(), |router, Endpoint { declaration, handler }| {
        let handler = match declaration.requirement {
            // The address limit is around all that is public; the rest is in the body, so it is the
            // handler that checks it, and a test that wants every such endpoint to refuse.
            Requirement::Open
            | Requirement::ClientAuthentication
            | Requirement::UserPassword
            | Requirement::TokenItself => handler,
            Requirement::FeedMac => {
                handler.route_layer(from_fn_with_state(Arc::clone(app), authenticate))
            }
            Requirement::AdminSocket => handler.route_layer(from_fn(only_by_socket)),
        };
        let router = match declaration.path_of_issuer(app.oauth.issuer_path()) {
            Some(path) => router.route(&path, handler.clone()),
            None => router,
        };
        router.route(declaration.path, handler)
    })
}

/// Behind the permissions of the socket there is no other check. So should these routes ever be
/// served over TCP, by a mistake in the code or in the configuration, nobody gets anything there.
pub(super) async fn only_by_socket(request: Request, next: Next) -> Response {
    if let Some(Peer(None)) = request.extensions().get::<Peer>() {
        return next.run(request).await;
    }
    let detail = "this is served on the admin socket only";
    Problem::new(StatusCode::FORBIDDEN, "admin-socket-only", detail).into_response()
}
