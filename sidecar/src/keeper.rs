//! What happens by itself while a sidecar runs: counts of use go into the store, and API keys and
//! signing keys are looked through for what is due.

mod signing_keys;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wardgate_core::wire::AuditBatch;

pub(crate) use signing_keys::record_key_events;

use crate::app::App;
use crate::config::{ApiKeysSection, UsageSection};
use crate::desk::KeyNotice;
use crate::random::{Random, RandomError};

/// How long the last flush may take at the end; what it does not manage is lost, of the counts.
const LAST_FLUSH: Duration = Duration::from_secs(5);
/// Pause between two pages of a sweep, so that a sweep of a million keys leaves room for requests.
const PAGE_PAUSE: Duration = Duration::from_millis(2);

/// The tasks; they end with [`Keeper::stop`].
pub struct Keeper {
    stopping: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the tasks. `stopping` is what the notifier listens to as well.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the operating system gives no randomness.
    pub fn start(
        app: &Arc<App>,
        usage: &UsageSection,
        api_keys: &ApiKeysSection,
        stopping: watch::Sender<bool>,
    ) -> Result<Self, RandomError> {
        let random = Random::system();
        let sweeper = Sweeper {
            app: Arc::clone(app),
            interval_seconds: api_keys.sweep_interval_seconds.0,
            incarnation: random.text::<16>()?,
            random,
            sequence: 0,
        };
        let interval = Duration::from_millis(usage.flush_interval_milliseconds.0);
        let tasks = vec![
            tokio::spawn(flush(Arc::clone(app), interval, stopping.subscribe())),
            tokio::spawn(sweeper.run(stopping.subscribe())),
            tokio::spawn(signing_keys::run(Arc::clone(app), stopping.subscribe())),
        ];
        Ok(Self { stopping, tasks })
    }

    /// Ends the tasks; what was counted is in the store afterwards, if the store works.
    pub async fn stop(self) {
        // Without receivers there are no tasks that could hear it.
        let _ = self.stopping.send(true);
        for task in self.tasks {
            // A task that panicked has ended too.
            let _ = task.await;
        }
    }
}

/// Waits; whether it is time to stop.
async fn pause(time: Duration, stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => false,
        // A sender that has gone has stopped too.
        _ = stopped.wait_for(|stopped| *stopped) => true,
    }
}

async fn flush(app: Arc<App>, interval: Duration, mut stopped: watch::Receiver<bool>) {
    let mut failing = false;
    loop {
        let ended = tokio::select! {
            ended = pause(interval, &mut stopped) => ended,
            // Failing, it would be full at once again.
            () = app.usage.is_full(), if !failing => false,
        };
        let flushed = tokio::time::timeout(LAST_FLUSH, app.usage.flush(&**app.desk.store())).await;
        let error = match flushed {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        // Once: it is tried again and again.
        if let Some(error) = &error
            && !failing
        {
            tracing::error!(error, "counts of use cannot be written; they are kept");
        }
        failing = error.is_some();
        if ended {
            break;
        }
    }
}

struct Sweeper {
    app: Arc<App>,
    interval_seconds: u64,
    /// Names this process in the audit log, as a filter names itself.
    incarnation: String,
    random: Random,
    sequence: u64,
}

impl Sweeper {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        // Asked more often than it is done: another sidecar may have ended in the middle of it.
        let ask = Duration::from_secs(self.interval_seconds.div_ceil(4).max(1));
        loop {
            match self.app.desk.take_api_key_sweep(self.interval_seconds).await {
                Ok(true) => {
                    if self.sweep(&mut stopped).await {
                        return;
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "API keys cannot be looked through"),
            }
            if pause(ask, &mut stopped).await {
                return;
            }
        }
    }

    /// Looks through all keys; whether it is time to stop.
    async fn sweep(&mut self, stopped: &mut watch::Receiver<bool>) -> bool {
        let mut cursor = None;
        loop {
            let swept = match self.app.desk.sweep_api_keys(cursor).await {
                Ok(swept) => swept,
                Err(error) => {
                    tracing::error!(%error, "API keys cannot be looked through");
                    return false;
                }
            };
            self.app.metrics.api_keys_rotated.inc_by(swept.rotated);
            self.app.metrics.api_keys_forgotten.inc_by(swept.forgotten);
            self.tell(&swept.notices).await;
            cursor = swept.next;
            if cursor.is_none() {
                return false;
            }
            if pause(PAGE_PAUSE, stopped).await {
                return true;
            }
        }
    }

    /// Writes notices to the audit log and hands them to the webhook.
    async fn tell(&mut self, notices: &[KeyNotice]) {
        if notices.is_empty() {
            return;
        }
        let time = self.app.clock.now_milliseconds();
        let mut events = Vec::new();
        for notice in notices {
            self.sequence = self.sequence.saturating_add(1);
            events.push(event(self.sequence, time, notice));
            if notice.event == "api-key-expires" {
                self.app.metrics.api_key_warnings.inc();
            }
            self.app.notifier.tell(notice.event, time, notice, self.random);
        }
        let batch = AuditBatch { incarnation: self.incarnation.clone(), events };
        if let Err(error) = self.app.audit.append(batch).await {
            tracing::error!(%error, "warnings of API keys are not in the audit log");
        }
    }
}

/// A notice as a line of the audit log.
fn event(sequence: u64, time: u64, notice: &KeyNotice) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("sequence".to_owned(), sequence.into());
    event.insert("time".to_owned(), time.into());
    event.insert("decision".to_owned(), "notice".into());
    if let Ok(Value::Object(members)) = serde_json::to_value(notice) {
        event.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
    }
    event
}
