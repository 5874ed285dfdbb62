//! Sees when the policy file changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::PolicyDesk;
use crate::feed::Feed;

/// How often the file is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What tells one content of a file from another without reading it: when it was written, its length
/// and which file it is.
type Stamp = (i64, i64, u64, u64);

impl PolicyDesk {
    /// Reads the file anew whenever it has changed, and at once at each signal, for ever.
    pub async fn watch(self: Arc<Self>, feed: Arc<Feed>, mut hangup: Signal) {
        let mut loaded = stamp(&self.file).await;
        let mut seen = loaded;
        loop {
            let signalled = timeout(TICK, hangup.recv()).await.is_ok();
            let now = stamp(&self.file).await;
            // A file in the middle of being written may be a policy too: one without the forbids at
            // its end. So it must have stood as it is for a tick.
            let stands = now == seen;
            seen = now;
            if signalled || (stands && now != loaded) {
                loaded = now;
                self.reload_and_tell(&feed).await;
            }
        }
    }

    async fn reload_and_tell(self: &Arc<Self>, feed: &Feed) {
        let desk = Arc::clone(self);
        // A policy of thousands of routes takes a while to read.
        let reloaded = tokio::task::spawn_blocking(move || desk.reload()).await;
        if reloaded.unwrap_or(false) {
            tracing::info!("the policy file was read anew");
            feed.settings_changed();
        }
    }
}

/// `None` while there is no such file.
async fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = tokio::fs::metadata(file).await.ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}
