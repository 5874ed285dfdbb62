//! For tests of what happens once, asked for at two sidecars at the same time.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use wardgate_core::config::Problems;

use super::redis_servers::Server;
use super::{Store, open};
use crate::config::store_settings;

/// A store as two sidecars have it; it is gone when dropped.
pub(crate) struct SharedStore {
    pub(crate) stores: [Arc<dyn Store>; 2],
    _guard: (tempfile::TempDir, Option<Server>),
}

impl SharedStore {
    /// An embedded one, which only one process can open.
    pub(crate) async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let section = json!({"path": directory.path().join("store.redb")});
        let store = opened(&section).await;
        Self { stores: [Arc::clone(&store), store], _guard: (directory, None) }
    }

    /// A Redis, with connections for each.
    pub(crate) async fn redis() -> Self {
        let server = Server::start(&[]);
        let section = json!({"redis": {"urls": [server.url()]}});
        let stores = [opened(&section).await, opened(&section).await];
        Self { stores, _guard: (tempfile::tempdir().unwrap(), Some(server)) }
    }
}

async fn opened(section: &Value) -> Arc<dyn Store> {
    let mut problems = Problems::new();
    let settings = store_settings(&json!({"store": section}), Path::new("/"), &mut problems);
    open(&settings.unwrap()).await.unwrap()
}

/// Does something some times at once, at either of two in turn.
pub(crate) async fn at_once<S, T, F>(
    two: &[Arc<S>; 2],
    times: usize,
    task: impl Fn(usize, Arc<S>) -> F,
) -> Vec<T>
where
    S: ?Sized,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..times {
        tasks.spawn(task(number, Arc::clone(&two[number % 2])));
    }
    tasks.join_all().await
}
