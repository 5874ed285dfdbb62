//! What was done by the listeners, in the audit log.

use crate::app::App;
use crate::oauth::Event;

/// Writes an event to the audit log: after the deed, which must not wait for a disk that is full.
pub(super) async fn record(app: &App, event: Event) {
    if let Err(error) = app.audit.record(event.at(app.clock.now_milliseconds())).await {
        tracing::error!(%error, "an event is not in the audit log");
    }
}
