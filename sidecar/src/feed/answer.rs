//! The long poll: what came after a place of the log, as soon as there is something.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::time::{Instant, timeout_at};
use wardgate_core::wire::feed::{MAX_BEHIND, MAX_CHANGES, MAX_WAIT_MILLISECONDS};

use super::mirror::{Mirror, Place, Recent, read_entry};
use super::settings::EncodedSettings;
use super::{Feed, State};
use crate::store::{LogPage, LogPosition, StoreError};

/// What a filter asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// How far it is; `None` if it has nothing.
    pub cursor: Option<LogPosition>,
    /// The generation of the settings that it has.
    pub settings: Option<String>,
    /// How long it waits for news.
    pub wait: Duration,
}

/// Why there is no answer; the filter asks again.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The tables were not read yet, or the store is silent.
    #[error("the sidecar does not know whether something changed: the store does not answer")]
    NotReady,
    /// All places are taken.
    #[error("too many filters wait for changes")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer that was given last, for the many who ask the same.
pub(super) struct LastAnswer {
    from: LogPosition,
    head: LogPosition,
    fill: u64,
    /// The generation, if the settings are in it.
    settings: Option<Arc<EncodedSettings>>,
    body: Bytes,
    /// When the oldest of its changes was made.
    at_milliseconds: Option<u64>,
}

/// What there is to say at once.
enum Look {
    Answer(Said),
    Nothing,
    /// Only the store knows the place.
    AskStore,
}

struct Said {
    body: Bytes,
    at_milliseconds: Option<u64>,
}

impl Feed {
    /// Answers a filter: at once if there is something to say, or as soon as there is, or when its
    /// time is over.
    ///
    /// # Errors
    ///
    /// [`FeedError`] when the sidecar cannot speak for the store.
    pub async fn ask(&self, question: Question) -> Result<Bytes, FeedError> {
        let said = self.say(question).await?;
        if let Some(at) = said.at_milliseconds {
            let lag = self.clock.now_milliseconds().saturating_sub(at);
            self.metrics.feed.lag(lag);
        }
        Ok(said.body)
    }

    async fn say(&self, question: Question) -> Result<Said, FeedError> {
        let wait = question.wait.min(Duration::from_millis(MAX_WAIT_MILLISECONDS));
        let until = Instant::now().checked_add(wait).unwrap_or_else(Instant::now);
        let mut changed = self.changed.subscribe();
        // Whoever waits holds a place; who is answered at once needs none.
        let mut place = None;
        let mut asked_store = false;
        loop {
            // Before the look: a change that comes after it ends the wait.
            changed.borrow_and_update();
            match self.look(&question)? {
                Look::Answer(said) => return Ok(said),
                Look::AskStore if !asked_store => {
                    asked_store = true;
                    if let Some(said) = self.look_in_store(&question).await? {
                        return Ok(said);
                    }
                }
                // The store knows the place, and the mirror will.
                Look::AskStore | Look::Nothing => {}
            }
            if self.is_stopped() || Instant::now() >= until {
                return self.say_nothing(&question);
            }
            if place.is_none() {
                place = Some(self.wait_as_reader()?);
            }
            // Whether it changed or the time is over is seen above. The sender lives in `self`.
            let _ = timeout_at(until, changed.changed()).await;
        }
    }

    fn wait_as_reader(&self) -> Result<Reader<'_>, FeedError> {
        let permit = self.places.try_acquire().map_err(|_| FeedError::Busy)?;
        self.metrics.feed.readers.inc();
        Ok(Reader { feed: self, _permit: permit })
    }

    fn look(&self, question: &Question) -> Result<Look, FeedError> {
        let state = self.state();
        let (mirror, settings) = state.current()?;
        let wanted = settings_if_other(settings, question);
        let Some(cursor) = question.cursor else {
            return Ok(Look::Answer(self.reload(mirror, wanted)));
        };
        let before = match mirror.place(&cursor) {
            Place::Here(before) => before,
            Place::Foreign => return Ok(Look::Answer(self.reload(mirror, wanted))),
            Place::Elsewhere
                if mirror.head().sequence.saturating_sub(cursor.sequence) > MAX_BEHIND =>
            {
                return Ok(Look::Answer(self.reload(mirror, wanted)));
            }
            Place::Elsewhere => return Ok(Look::AskStore),
        };
        if mirror.head() == cursor && wanted.is_none() {
            return Ok(Look::Nothing);
        }
        let head = mirror.head();
        let key = (cursor, head, state.fill, wanted.map(Arc::as_ptr));
        let mut last = self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last.as_ref().filter(|last| last.key() == key) {
            let (body, at_milliseconds) = (last.body.clone(), last.at_milliseconds);
            return Ok(Look::Answer(Said { body, at_milliseconds }));
        }
        let said = changes(mirror, cursor, mirror.recent_after(before), wanted);
        *last = Some(LastAnswer {
            from: cursor,
            head,
            fill: state.fill,
            settings: wanted.cloned(),
            body: said.body.clone(),
            at_milliseconds: said.at_milliseconds,
        });
        Ok(Look::Answer(said))
    }

    /// Answers a reader whose place is not among the recent changes: after a restart of the sidecar
    /// those are few, and a reader that was faster than the mirror has seen what comes.
    async fn look_in_store(&self, question: &Question) -> Result<Option<Said>, FeedError> {
        let Some(cursor) = question.cursor else { return Ok(None) };
        // All filters come at once after a restart; the store is not to feel that.
        let turn = self.turns.acquire().await.map_err(|_| FeedError::Busy)?;
        let page = self.store.log_after(cursor, MAX_CHANGES).await?;
        drop(turn);
        let state = self.state();
        let (mirror, settings) = state.current()?;
        let wanted = settings_if_other(settings, question);
        Ok(match page {
            LogPage::Unknown => Some(self.reload(mirror, wanted)),
            LogPage::Entries { entries } if entries.is_empty() && wanted.is_none() => None,
            LogPage::Entries { entries } => {
                let read: Vec<Recent> = entries
                    .iter()
                    .map(|(position, entry)| Recent::new(*position, read_entry(*position, entry)))
                    .collect();
                Some(changes(mirror, cursor, read.iter(), wanted))
            }
        })
    }

    /// The time is over.
    fn say_nothing(&self, question: &Question) -> Result<Said, FeedError> {
        let state = self.state();
        let (mirror, _) = state.current()?;
        let cursor = question.cursor.unwrap_or(mirror.head());
        Ok(changes(mirror, cursor, std::iter::empty(), None))
    }

    fn reload(&self, mirror: &Mirror, settings: Option<&Arc<EncodedSettings>>) -> Said {
        self.metrics.feed.reloads.inc();
        let body = body(mirror.head(), std::iter::empty(), settings, true, mirror);
        Said { body, at_milliseconds: None }
    }
}

/// A filter that waits.
struct Reader<'a> {
    feed: &'a Feed,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.feed.metrics.feed.readers.dec();
    }
}

impl LastAnswer {
    fn key(&self) -> (LogPosition, LogPosition, u64, Option<*const EncodedSettings>) {
        (self.from, self.head, self.fill, self.settings.as_ref().map(Arc::as_ptr))
    }
}

impl State {
    pub(super) fn current(&self) -> Result<(&Mirror, &Arc<EncodedSettings>), FeedError> {
        match (&self.mirror, &self.settings) {
            (Some(mirror), Some(settings)) if self.is_current() => Ok((mirror, settings)),
            _ => Err(FeedError::NotReady),
        }
    }
}

fn settings_if_other<'a>(
    settings: &'a Arc<EncodedSettings>,
    question: &Question,
) -> Option<&'a Arc<EncodedSettings>> {
    (question.settings.as_deref() != Some(settings.generation.as_str())).then_some(settings)
}

/// The first of these changes, and the place after them.
fn changes<'a>(
    mirror: &Mirror,
    from: LogPosition,
    changes: impl Iterator<Item = &'a Recent>,
    settings: Option<&Arc<EncodedSettings>>,
) -> Said {
    let taken: Vec<&Recent> = changes.take(MAX_CHANGES).collect();
    let cursor = taken.last().map_or(from, |last| last.position);
    let times = taken.iter().map(|recent| recent.at_milliseconds);
    let at_milliseconds = times.filter(|at| *at > 0).min();
    let texts = taken.iter().filter_map(|recent| recent.json.as_deref());
    Said { body: body(cursor, texts, settings, false, mirror), at_milliseconds }
}

/// A [`wardgate_core::wire::feed::FeedAnswer`], of parts that were encoded before.
fn body<'a>(
    cursor: LogPosition,
    changes: impl Iterator<Item = &'a str>,
    settings: Option<&Arc<EncodedSettings>>,
    reload: bool,
    mirror: &Mirror,
) -> Bytes {
    let mut text = format!("{{\"cursor\":\"{cursor}\"");
    let mut lead = ",\"changes\":[";
    for change in changes {
        text.push_str(lead);
        text.push_str(change);
        lead = ",";
    }
    if lead == "," {
        text.push(']');
    }
    if let Some(settings) = settings {
        text.push_str(",\"settings\":");
        text.push_str(&settings.json);
    }
    let layouts = mirror.layouts();
    let (revocations, api_keys) = (layouts.revocations.bucket_bits, layouts.api_keys.bucket_bits);
    text.push_str(&format!(
        ",\"reload\":{reload},\"layouts\":{{\"revocations\":{{\"bucket_bits\":{revocations}}},\
         \"api_keys\":{{\"bucket_bits\":{api_keys}}}}}}}"
    ));
    Bytes::from(text)
}
