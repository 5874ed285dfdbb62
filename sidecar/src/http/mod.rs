//! The listeners: public (anyone), internal (filters, authenticated by MAC), admin (the command
//! line, authenticated by the permissions of a socket).

mod admin;
mod admin_clients;
mod admin_policy;
mod admin_revocations;
mod admin_sessions;
mod admin_social;
mod admin_usage;
mod admin_users;
mod auth;
mod body;
mod connection;
mod cors;
mod endpoint;
mod extract;
mod internal;
mod internal_feed;
mod jwks;
mod listener;
mod oauth;
mod observe;
mod problem;
mod public;
mod recorded;
mod social;

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::middleware::from_fn_with_state;
use tokio::sync::watch;

pub(crate) use admin_users::SetPassword;
pub use body::BodyBudget;
pub use listener::{BindError, Listener};
pub(crate) use problem::Problem;

use endpoint::{Endpoint, ListenerName, OtherOrigins, router};

use crate::app::App;
use crate::limits::limit_by_address;

/// What an answer with a secret carries: nothing on the way keeps it.
const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// The listeners, bound and ready to serve.
pub struct Listeners {
    /// For anyone.
    pub public: Listener,
    /// For filters: the socket, and a loopback address if one is configured.
    pub internal: Vec<Listener>,
    /// For the command line.
    pub admin: Listener,
}

/// Every endpoint of every listener.
fn endpoints() -> Vec<Endpoint> {
    [
        public::endpoints(),
        oauth::endpoints(),
        auth::endpoints(),
        internal::endpoints(),
        internal_feed::endpoints(),
        admin::endpoints(),
        admin_policy::endpoints(),
        admin_clients::endpoints(),
        admin_revocations::endpoints(),
        admin_sessions::endpoints(),
        admin_social::endpoints(),
        social::endpoints(),
        admin_usage::endpoints(),
        admin_users::endpoints(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Router of the public listener.
pub fn public_router(app: &Arc<App>) -> Router {
    let limit = from_fn_with_state(Arc::clone(&app.public_limit), limit_by_address);
    let empty = Router::new().without_v07_checks();
    let routes = OtherOrigins::ALL.into_iter().fold(empty, |routes, origins| {
        let of_them = endpoints().into_iter().filter(|it| it.other_origins() == origins);
        let of_them = router(of_them.collect(), ListenerName::Public, app).layer(limit.clone());
        // Around the limit, so that an application can read that it has asked too often.
        routes.merge(cors::layer(of_them, origins, app.oauth.allowed_origins()))
    });
    observe::layer(routes, ListenerName::Public.word(), app)
}

/// Router of the internal listener.
pub fn internal_router(app: &Arc<App>) -> Router {
    let routes = router(endpoints(), ListenerName::Internal, app);
    observe::layer(routes, ListenerName::Internal.word(), app)
}

/// Router of the admin listener.
pub fn admin_router(app: &Arc<App>) -> Router {
    let routes = router(endpoints(), ListenerName::Admin, app);
    observe::layer(routes, ListenerName::Admin.word(), app)
}

/// The OpenAPI 3.1 document of all endpoints.
pub fn openapi() -> serde_json::Value {
    endpoint::openapi(&endpoints())
}

/// The page that says what each endpoint requires, as Markdown.
pub fn authorization_page() -> String {
    endpoint::authorization(&endpoints())
}

/// The document as it is served: made when it is first asked for.
fn openapi_text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| openapi().to_string());
    &TEXT
}

/// Serves until `stop` is done; then takes no more connections and lets requests under way finish
/// until the deadline. Returns the paths of the sockets that were served.
pub async fn serve(app: &Arc<App>, listeners: Listeners, stop: impl Future<Output = ()>) {
    let (stopping, stopped) = watch::channel(false);
    let mut served = vec![(listeners.public, public_router(app))];
    served.extend(listeners.internal.into_iter().map(|it| (it, internal_router(app))));
    served.push((listeners.admin, admin_router(app)));
    let sockets: Vec<PathBuf> =
        served.iter().filter_map(|(listener, _)| listener.socket_path()).collect();
    let tasks: Vec<_> = served
        .into_iter()
        .map(|(listener, router)| {
            tokio::spawn(listener.serve(router, app.limits.clone(), stopped.clone()))
        })
        .collect();
    stop.await;
    tracing::info!("stopping: requests under way may finish");
    // Filters that wait for news would hold the shutdown up to its deadline.
    app.feed.stop();
    // All receivers are alive until their tasks end.
    let _ = stopping.send(true);
    let deadline = Duration::from_secs(app.limits.shutdown_seconds.0);
    let all = async {
        for task in tasks {
            // A listener that panicked has nothing left to finish.
            let _ = task.await;
        }
    };
    if tokio::time::timeout(deadline, all).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
    for socket in sockets {
        // Left behind, it would be replaced at the next start.
        let _ = std::fs::remove_file(socket);
    }
}
