//! The ring of signing keys, looked after while a sidecar runs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;

use super::pause;
use crate::app::App;
use crate::desk::{KeyEvent, SigningKeysError};

/// How often keys are read anew and what is due is done. Keys are published at least five minutes
/// ahead; a sidecar that did not hear of one by the log does so long before it signs.
const INTERVAL: Duration = Duration::from_secs(15);

pub(super) async fn run(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let kept = keep(&app).await;
        // Once: it is tried again and again.
        if let Err(error) = &kept {
            app.metrics.signing_keys.failures.inc();
            if !failing {
                tracing::error!(%error, "signing keys cannot be read or made; those held go on");
            }
        }
        failing = kept.is_err();
        if pause(INTERVAL, &mut stopped).await {
            return;
        }
    }
}

async fn keep(app: &App) -> Result<(), SigningKeysError> {
    let kept = app.desk.keep_signing_keys().await;
    // Also when the rest failed: another sidecar may have done what this one could not.
    if app.desk.refresh_signing_keys().await? {
        app.feed.settings_changed();
    }
    record_key_events(app, &kept?).await;
    Ok(())
}

/// Counts what became of signing keys, and writes it to the audit log. After the deed, which must
/// not wait for a disk that is full.
pub(crate) async fn record_key_events(app: &App, events: &[KeyEvent]) {
    for event in events {
        app.metrics.signing_keys.count(event);
        tracing::info!(event = event.event, kid = event.credential_id, "signing keys");
        let recorded = app.audit.record(line(event, app.clock.now_milliseconds())).await;
        if let Err(error) = recorded {
            tracing::error!(%error, "a change of signing keys is not in the audit log");
        }
    }
}

/// An event as a line of the audit log.
fn line(event: &KeyEvent, now_milliseconds: u64) -> Map<String, Value> {
    let mut line = Map::new();
    line.insert("time".to_owned(), now_milliseconds.into());
    line.insert("decision".to_owned(), "notice".into());
    if let Ok(Value::Object(members)) = serde_json::to_value(event) {
        line.extend(members);
    }
    line
}
