//! A sidecar of a few lines: answers the questions of a [`Member`](super::Member) from memory. For
//! tests, benches, and gates that have their records but no sidecar.

use std::collections::BTreeMap;

use super::{Ask, Member, Now, SharedMemory};
use crate::base64url;
use crate::feed::bucket::{BucketKey, ImageId, Place, Record, push};
use crate::feed::{Fingerprint, Layout, Revocation, Table, encode_api_key};
use crate::secret::Secret;
use crate::wire::feed::{
    Change, ChangeKind, FeedAnswer, Layouts, LogEntry, MAX_BEHIND, MAX_CHANGES, PIECE_BYTES,
    Settings,
};
use crate::wire::{ApiKeyRecord, BUCKETS_PATH, FEED_PATH};

/// Holds records and a log of what changed.
#[derive(Debug)]
pub struct Desk {
    key: BucketKey,
    settings: Settings,
    log: u64,
    /// What the sequences of the log begin after.
    base: u64,
    changes: Vec<Change>,
    tables: BTreeMap<(Table, Fingerprint), (u64, Vec<u8>)>,
    layouts: Option<Layouts>,
    /// Questions of the member that is served, which wait for news.
    waiting: Vec<Ask>,
}

impl Desk {
    /// A desk under the feed secret.
    pub fn new(secret: &Secret, settings: Settings) -> Self {
        Self {
            key: BucketKey::new(secret),
            settings,
            log: 1,
            base: 0,
            changes: Vec::new(),
            tables: BTreeMap::new(),
            layouts: None,
            waiting: Vec::new(),
        }
    }

    /// The settings from now on; their generation must be another.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.change(ChangeKind::Settings, 0);
    }

    /// Lays the tables out like this, whatever they hold.
    pub fn set_layouts(&mut self, layouts: Layouts) {
        self.layouts = Some(layouts);
    }

    /// Revokes.
    pub fn revoke(&mut self, revocation: Revocation, at_milliseconds: u64) {
        self.change(ChangeKind::Revoked { revocation }, at_milliseconds);
    }

    /// Makes or changes an API key.
    pub fn set_api_key(&mut self, record: ApiKeyRecord, at_milliseconds: u64) {
        let fingerprint = Fingerprint::of_api_key(&record.id);
        let record = Box::new(record);
        self.change(ChangeKind::ApiKey { fingerprint, record }, at_milliseconds);
    }

    /// Writes a change into the log, and does it.
    pub fn change(&mut self, kind: ChangeKind, at_milliseconds: u64) {
        let sequence = self.head().saturating_add(1);
        match &kind {
            ChangeKind::Revoked { revocation } => {
                let key = (Table::Revocations, revocation.fingerprint);
                self.tables.insert(key, (sequence, revocation.content().to_vec()));
            }
            ChangeKind::ApiKey { fingerprint, record } => {
                let content = encode_api_key(record).unwrap_or_default();
                self.tables.insert((Table::ApiKeys, *fingerprint), (sequence, content));
            }
            ChangeKind::ApiKeyGone { fingerprint } => {
                self.tables.remove(&(Table::ApiKeys, *fingerprint));
            }
            ChangeKind::Settings => {}
        }
        self.changes.push(Change { sequence, entry: LogEntry { at_milliseconds, kind } });
    }

    /// Goes on with another log, as a store does that was restored: nobody can follow.
    pub fn restart_log(&mut self, base: u64) {
        self.log = self.log.saturating_add(1);
        self.base = base;
        self.changes.clear();
        for (sequence, _) in self.tables.values_mut() {
            *sequence = base;
        }
    }

    /// How many records a table has.
    pub fn len(&self, table: Table) -> usize {
        self.tables.keys().filter(|(of, _)| *of == table).count()
    }

    /// The sequence of the last change.
    pub fn head(&self) -> u64 {
        self.base.saturating_add(u64::try_from(self.changes.len()).unwrap_or(0))
    }

    fn cursor(&self, sequence: u64) -> String {
        format!("{}.{sequence}", self.log)
    }

    fn sequence_of(&self, cursor: Option<&str>) -> Option<u64> {
        let (log, sequence) = cursor?.split_once('.')?;
        let sequence: u64 = sequence.parse().ok()?;
        let is_known = log.parse() == Ok(self.log)
            && (self.base..=self.head()).contains(&sequence)
            && self.head().saturating_sub(sequence) <= MAX_BEHIND;
        is_known.then_some(sequence)
    }

    /// Whether there is anything new for the question of this path: if not, the answer waits.
    pub fn has_news(&self, path: &str) -> bool {
        let query = Query::of(path);
        let is_behind = self.sequence_of(query.get("cursor")) != Some(self.head());
        !path.starts_with(&format!("{FEED_PATH}?"))
            || query.get("wait") == Some("0")
            || is_behind
            || query.get("settings") != Some(&self.settings.generation)
    }

    /// The answer to the question of this path: a body, or nothing where the answer is not 200.
    pub fn answer(&self, path: &str) -> Option<Vec<u8>> {
        let query = Query::of(path);
        if path.starts_with(&format!("{BUCKETS_PATH}?")) {
            return self.piece(&query);
        }
        path.starts_with(&format!("{FEED_PATH}?")).then(|| self.news(&query))
    }

    /// Has `member` load everything and hear that nothing is new: for whoever has no proxy around.
    /// One desk can do this for one member only, whose question it keeps until there is news.
    /// `false` if the member is not ready after that.
    pub fn serve(&mut self, member: &mut Member, memory: &dyn SharedMemory, now: Now) -> bool {
        // A tick does little; a million records are a few thousand pieces.
        const MOST_TICKS: usize = 20_000;
        for _ in 0..MOST_TICKS {
            let asks = member.tick(memory, now, false);
            self.waiting.extend(asks);
            let is_quiet = self.waiting.iter().all(|ask| !self.has_news(&ask.path));
            if is_quiet && !self.waiting.is_empty() && member.is_settled(now) {
                return true;
            }
            let waiting = core::mem::take(&mut self.waiting);
            for ask in waiting {
                // One that is not settled has to hear that nothing is new.
                if is_quiet || self.has_news(&ask.path) {
                    let body = self.answer(&ask.path);
                    let asks = member.answered(memory, ask.id, body.as_deref(), now);
                    self.waiting.extend(asks);
                } else {
                    self.waiting.push(ask);
                }
            }
        }
        false
    }

    fn layouts(&self) -> Layouts {
        let layout = |table| Layout::for_records(u64::try_from(self.len(table)).unwrap_or(0));
        self.layouts.unwrap_or_else(|| Layouts {
            revocations: layout(Table::Revocations),
            api_keys: layout(Table::ApiKeys),
        })
    }

    fn news(&self, query: &Query<'_>) -> Vec<u8> {
        let from = self.sequence_of(query.get("cursor"));
        let changes: Vec<Change> = from.map_or_else(Vec::new, |from| {
            let later = self.changes.iter().filter(|change| change.sequence > from);
            later.take(MAX_CHANGES).cloned().collect()
        });
        let reached = changes.last().map(|change| change.sequence);
        let is_other = query.get("settings") != Some(&self.settings.generation);
        let answer = FeedAnswer {
            cursor: self.cursor(reached.or(from).unwrap_or_else(|| self.head())),
            changes,
            settings: is_other.then(|| self.settings.clone()),
            reload: from.is_none(),
            layouts: self.layouts(),
        };
        serde_json::to_vec(&answer).unwrap_or_default()
    }

    fn piece(&self, query: &Query<'_>) -> Option<Vec<u8>> {
        self.sequence_of(query.get("cursor"))?;
        let table = Table::from_word(query.get("table")?)?;
        let layout = Layout::checked(query.get("bits")?.parse().ok()?)?;
        let image = base64url::decode(query.get("image")?.as_bytes())?.try_into().ok()?;
        let first: u32 = query.get("first")?.parse().ok()?;
        let mut buckets: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for ((of, fingerprint), (sequence, content)) in &self.tables {
            let index = layout.bucket_of(fingerprint);
            if *of == table && index >= first {
                let record = Record { fingerprint: *fingerprint, sequence: *sequence, content };
                push(buckets.entry(index).or_default(), &record);
            }
        }
        let mut piece = vec![0; 4];
        let mut next = first;
        while next < layout.buckets() && piece.len() < PIECE_BYTES {
            let place = Place { image: ImageId(image), table, index: next };
            let sealed = self.key.seal(&place, buckets.remove(&next).unwrap_or_default());
            piece.extend(u32::try_from(sealed.len()).unwrap_or(0).to_be_bytes());
            piece.extend(sealed);
            next = next.saturating_add(1);
        }
        piece.splice(0..4, next.to_be_bytes());
        Some(piece)
    }
}

/// The query of a path.
struct Query<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Query<'a> {
    fn of(path: &'a str) -> Self {
        let query = path.split_once('?').map_or("", |(_, query)| query);
        Self(query.split('&').filter_map(|pair| pair.split_once('=')).collect())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }
}
