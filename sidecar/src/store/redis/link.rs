//! A connection that finds its way back.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, RedisResult};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::locate::connect_to_master;
use crate::config::RedisSettings;
use crate::random::Random;

/// The first pause after a failure; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause: a Redis that is back is noticed within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commands share one connection, which carries any number of them at once. When it fails, one
/// task looks for the master while the others wait for it.
pub(super) struct Link {
    settings: RedisSettings,
    /// A key of ours, to find the slot by.
    slot_key: String,
    random: Random,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure of an old one does not end the new one.
    number: u64,
    failures: u32,
    next_attempt: Option<Instant>,
    /// When the connection last gave an answer.
    proven: Option<Instant>,
}

/// A connection that was silent for longer is tried before a change is sent on it. One that died
/// in the meantime would leave open whether the change was made.
const PROVEN_FOR: Duration = Duration::from_millis(500);

/// Whether a command may be sent again when nobody knows whether it was carried out.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Repeat {
    /// It changes nothing, or nothing more the second time.
    Harmless,
    /// The second time would be judged by what the first one did.
    Never,
}

impl Link {
    pub(super) fn new(settings: &RedisSettings, slot_key: String, random: Random) -> Self {
        Self { settings: settings.clone(), slot_key, random, state: Mutex::default() }
    }

    /// Sends a command, again and again while that is safe and there is time.
    pub(super) async fn run<T, F>(
        &self,
        repeat: Repeat,
        command: impl Fn(MultiplexedConnection) -> F,
    ) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline =
            Instant::now().checked_add(self.settings.timeout).unwrap_or_else(Instant::now);
        loop {
            let (number, connection, proven) = self.connection(deadline).await?;
            if repeat == Repeat::Never && !proven && !alive(connection.clone()).await {
                self.discard(number).await;
                continue;
            }
            let error = match command(connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let refused = refused_for_now(&error);
            if refused || !answered(&error) {
                self.discard(number).await;
            }
            let again = refused || (repeat == Repeat::Harmless && !answered(&error));
            if !again || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    /// The connection, made anew if there is none. At most one task connects at a time, and it
    /// keeps the pauses for all.
    async fn connection(
        &self,
        deadline: Instant,
    ) -> RedisResult<(u64, MultiplexedConnection, bool)> {
        let waited = tokio::time::timeout_at(deadline, self.state.lock()).await;
        let Ok(mut state) = waited else {
            return Err(timed_out());
        };
        loop {
            if let Some(connection) = &state.connection {
                let proven = state.proven.is_some_and(|when| when.elapsed() < PROVEN_FOR);
                return Ok((state.number, connection.clone(), proven));
            }
            if let Some(next) = state.next_attempt {
                tokio::time::sleep_until(next.min(deadline)).await;
            }
            let attempt = connect_to_master(&self.settings, &self.slot_key);
            let attempt = tokio::time::timeout(self.settings.timeout, attempt).await;
            match attempt.unwrap_or_else(|_| Err(timed_out())) {
                Ok(connection) => {
                    let number = state.number.wrapping_add(1);
                    *state = State {
                        connection: Some(connection),
                        number,
                        // Kept until a command succeeds would be truer; a server that takes
                        // connections and refuses commands is paced by `discard`.
                        failures: state.failures,
                        next_attempt: None,
                        proven: Some(Instant::now()),
                    };
                }
                Err(error) => {
                    self.pause(&mut state);
                    if Instant::now() >= deadline {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn discard(&self, number: u64) {
        let mut state = self.state.lock().await;
        if state.number == number && state.connection.take().is_some() {
            self.pause(&mut state);
        }
    }

    /// Sets when the next attempt may be. The pause is drawn at random up to a bound that doubles:
    /// many sidecars must not come back to a new master at one moment.
    fn pause(&self, state: &mut State) {
        state.failures = state.failures.saturating_add(1);
        let doublings = state.failures.saturating_sub(1).min(16);
        let bound = FIRST_PAUSE.saturating_mul(1_u32 << doublings).min(LONGEST_PAUSE);
        let draw = self.random.bytes::<2>().map_or(u16::MAX, u16::from_be_bytes);
        let pause = bound.mul_f64(f64::from(draw) / f64::from(u16::MAX));
        state.next_attempt = Instant::now().checked_add(pause);
    }

    /// After an answer: the next failure begins with a short pause again.
    pub(super) async fn healthy(&self) {
        let mut state = self.state.lock().await;
        state.failures = 0;
        state.proven = Some(Instant::now());
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Link")
    }
}

async fn alive(mut connection: MultiplexedConnection) -> bool {
    redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
}

/// Whether the server itself said no: then nothing is left open.
fn answered(error: &RedisError) -> bool {
    error.code().is_some() && !error.is_io_error()
}

/// Whether the server carried nothing out because of a state that passes, mostly a failover.
fn refused_for_now(error: &RedisError) -> bool {
    matches!(
        error.code(),
        Some(
            "READONLY"
                | "MOVED"
                | "ASK"
                | "TRYAGAIN"
                | "CLUSTERDOWN"
                | "LOADING"
                | "MASTERDOWN"
                | "NOREPLICAS"
                | "UNBLOCKED"
        )
    )
}

fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "Redis does not answer in time").into()
}
