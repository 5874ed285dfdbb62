//! Notices for people and programs outside: a webhook, signed, tried again until it is taken.

mod client;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use wardgate_core::secret::Secret;

use crate::clock::Clock;
use crate::config::SecureUrl;
use crate::metrics::Metrics;
use crate::random::Random;
use client::Client;
pub use client::TlsError;
pub use signature::{SIGNATURE_HEADER, sign};

/// Notices that may wait; some 500 bytes each. A sweep that finds more keys to warn of than this,
/// while the receiver is away, drops the rest, counts them and says so in the log.
const MAX_WAITING: usize = 10_000;
/// How often a notice is tried: with the pauses below, for about half an hour.
const MAX_TRIES: u32 = 12;
/// The first pause after a failure; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Where notices go, and the secret that signs them.
#[derive(Clone, Debug)]
pub struct NotifySettings {
    /// The receiver.
    pub url: SecureUrl,
    /// Signs.
    pub secret: Secret,
    /// Whom to trust besides nobody else; those of the operating system if missing.
    pub ca_pem: Option<Vec<u8>>,
}

/// Takes notices. Without a webhook it takes them and does nothing.
#[derive(Clone, Debug)]
pub struct Notifier {
    queue: Option<mpsc::Sender<Notice>>,
    metrics: Arc<Metrics>,
}

/// A notice on its way.
struct Notice {
    id: String,
    body: Vec<u8>,
}

impl Notifier {
    /// Starts the task that sends, which ends when `stopped` says so.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when nobody can be trusted.
    pub fn start(
        settings: Option<NotifySettings>,
        clock: Clock,
        random: Random,
        metrics: Arc<Metrics>,
        stopped: watch::Receiver<bool>,
    ) -> Result<Self, TlsError> {
        let Some(settings) = settings else { return Ok(Self { queue: None, metrics }) };
        let (queue, notices) = mpsc::channel(MAX_WAITING);
        let client = Client::new(&settings.url, settings.ca_pem.as_deref())?;
        let sender =
            Sender { client, secret: settings.secret, clock, random, metrics: metrics.clone() };
        tokio::spawn(sender.run(notices, stopped));
        Ok(Self { queue: Some(queue), metrics })
    }

    /// Has a notice sent.
    pub fn tell(&self, event: &str, at_milliseconds: u64, data: &impl Serialize, random: Random) {
        let Some(queue) = &self.queue else { return };
        // The id lets a receiver see that a notice came twice: an answer can be lost.
        let Ok(id) = random.text::<16>() else { return };
        let body = json!({"id": id, "event": event, "time": at_milliseconds, "data": data});
        let notice = Notice { id, body: body.to_string().into_bytes() };
        if queue.try_send(notice).is_err() {
            self.metrics.notices_failed.inc();
            tracing::error!(event, "too many notices wait for the webhook: one is dropped");
        }
    }
}

struct Sender {
    client: Client,
    secret: Secret,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
}

impl Sender {
    async fn run(self, mut notices: mpsc::Receiver<Notice>, mut stopped: watch::Receiver<bool>) {
        loop {
            let notice = tokio::select! {
                notice = notices.recv() => notice,
                // A sender that has gone has stopped too.
                _ = stopped.wait_for(|stopped| *stopped) => None,
            };
            let Some(notice) = notice else { break };
            tokio::select! {
                () = self.deliver(&notice) => {}
                _ = stopped.wait_for(|stopped| *stopped) => {
                    tracing::warn!(id = notice.id, "stopping: a notice was not delivered");
                    self.metrics.notices_failed.inc();
                }
            }
        }
        let left = notices.len();
        if left > 0 {
            tracing::warn!(left, "stopping: notices were not delivered");
        }
    }

    async fn deliver(&self, notice: &Notice) {
        let mut pause = FIRST_PAUSE;
        for tried in 1..=MAX_TRIES {
            let signature = sign(&self.secret, self.clock.now(), &notice.id, &notice.body);
            match self.client.post(&notice.body, &notice.id, &signature).await {
                Ok(()) => {
                    self.metrics.notices_sent.inc();
                    return;
                }
                Err(error) if tried == MAX_TRIES || !error.may_pass() => {
                    tracing::error!(id = notice.id, tried, %error, "a notice was not delivered");
                    break;
                }
                Err(error) => {
                    tracing::warn!(id = notice.id, tried, %error, "the webhook is tried again");
                }
            }
            // Up to half more, so that many sidecars do not knock together.
            let share = self.random.bytes::<1>().map_or(0, |[byte]| u32::from(byte));
            let jitter = pause.saturating_mul(share).checked_div(512).unwrap_or_default();
            tokio::time::sleep(pause.saturating_add(jitter)).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
        self.metrics.notices_failed.inc();
    }
}

#[cfg(test)]
mod tests;
