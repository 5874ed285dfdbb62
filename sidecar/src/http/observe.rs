//! What every listener does around a request: a deadline, a count, a line in the log.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use super::problem::{Problem, method_not_allowed, not_found};
use crate::app::App;
use crate::metrics::RequestLabels;

#[derive(Clone)]
struct Observer {
    app: Arc<App>,
    listener: &'static str,
}

/// Completes a router: what is missing, limits, observation.
pub(super) fn layer(router: Router<Arc<App>>, listener: &'static str, app: &Arc<App>) -> Router {
    let observer = Observer { app: Arc::clone(app), listener };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(app.limits.body_bytes.size()))
        .layer(from_fn_with_state(observer, observe))
        .with_state(Arc::clone(app))
}

async fn observe(State(observer): State<Observer>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("none", MatchedPath::as_str).to_owned();
    // Includes the arrival of the body: who sends slowly does not hold a task for ever.
    let deadline = Duration::from_millis(observer.app.limits.request_timeout_milliseconds.0);
    let answered = tokio::time::timeout(deadline, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| {
        let detail = "the request was not answered in time";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).into_response()
    });
    let status = response.status().as_u16();
    tracing::debug!(listener = observer.listener, %method, route, status, "request");
    let labels = RequestLabels { listener: observer.listener, route, status };
    observer.app.metrics.requests.get_or_create(&labels).inc();
    response
}
