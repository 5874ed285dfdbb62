//! The sidecar's side of the feed, in memory: a log, two tables and settings under the control of a
//! test, and the answers to the two questions that a filter asks.

mod table;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};
use wardgate_core::base64url;
use wardgate_core::feed::bucket::{BucketKey, ImageId};
use wardgate_core::feed::{
    Fingerprint, Layout, Revocation, RevocationTarget, Table, encode_api_key,
};
use wardgate_core::secret::Secret;
use wardgate_core::wire::feed::{
    Change, ChangeKind, FeedAnswer, Layouts, LogEntry, MAX_BEHIND, MAX_CHANGES, PIECE_BYTES,
    Settings,
};
use wardgate_core::wire::{ApiKeyRecord, BUCKETS_PATH, FEED_PATH, IssuerKeySet};

use table::Records;

/// A revocation of a test stands for so long: longer than any test lives.
const KEPT_SECONDS: u64 = 30 * 86_400;

/// What the sidecar has for filters.
#[derive(Debug)]
pub struct FakeFeed {
    secret: Secret,
    /// Another one for each history that the store could have: what a restored store differs in.
    history: u64,
    sequence: u64,
    /// Entries until here are gone from the log.
    trimmed: u64,
    log: BTreeMap<u64, LogEntry>,
    revocations: Records,
    api_keys: Records,
    /// What filters get beside the tables, without its generation.
    pub settings: Settings,
    settings_generation: u64,
}

impl FakeFeed {
    /// A feed under this secret, with nothing in it.
    pub fn new(secret: &Secret, digest_key: &Secret) -> Self {
        let settings = Settings {
            generation: String::new(),
            api_key_digest_key: base64url::encode(digest_key.expose()),
            api_key_prefixes: Vec::new(),
            key_sets: Vec::new(),
            policy: None,
        };
        Self {
            secret: secret.clone(),
            history: 1,
            sequence: 0,
            trimmed: 0,
            log: BTreeMap::new(),
            revocations: Records::new(Table::Revocations),
            api_keys: Records::new(Table::ApiKeys),
            settings,
            settings_generation: 1,
        }
    }

    /// Revokes it: a token of a target that says when it was issued may be younger.
    pub fn revoke(&mut self, target: &RevocationTarget, issued_until: Option<u64>, now_ms: u64) {
        let until = (now_ms / 1000).saturating_add(KEPT_SECONDS);
        let revocation = Revocation { fingerprint: target.fingerprint(), issued_until, until };
        self.append(ChangeKind::Revoked { revocation }, now_ms);
        let sequence = self.sequence;
        self.revocations.insert(revocation.fingerprint, sequence, &revocation.content());
    }

    /// Puts an API key into the table, in place of an older record of it.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn put_api_key(&mut self, record: &ApiKeyRecord, now_ms: u64) -> Result<()> {
        self.put_api_key_at(Fingerprint::of_api_key(&record.id), record, now_ms)
    }

    /// Puts an API key under this fingerprint: an imported one has another than that of its id.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn put_api_key_at(
        &mut self,
        fingerprint: Fingerprint,
        record: &ApiKeyRecord,
        now_ms: u64,
    ) -> Result<()> {
        let content = encode_api_key(record)?;
        let kind = ChangeKind::ApiKey { fingerprint, record: Box::new(record.clone()) };
        self.append(kind, now_ms);
        self.api_keys.insert(fingerprint, self.sequence, &content);
        Ok(())
    }

    /// Forgets an API key.
    pub fn forget_api_key(&mut self, id: &str, now_ms: u64) {
        let fingerprint = Fingerprint::of_api_key(id);
        self.append(ChangeKind::ApiKeyGone { fingerprint }, now_ms);
        self.api_keys.remove(&fingerprint);
    }

    /// Fills a table past the log, as if it had been filled long ago.
    pub fn fill(&mut self, table: Table, records: impl Iterator<Item = (Fingerprint, Vec<u8>)>) {
        let sequence = self.sequence;
        let records_of = self.records_mut(table);
        for (fingerprint, content) in records {
            records_of.insert(fingerprint, sequence, &content);
        }
        self.begin_another_log();
    }

    /// Says that the settings are others now.
    pub fn settings_changed(&mut self, now_ms: u64) {
        self.settings_generation = self.settings_generation.saturating_add(1);
        self.append(ChangeKind::Settings, now_ms);
    }

    /// Puts a policy into the settings.
    pub fn set_policy(&mut self, policy: &Value, now_ms: u64) {
        self.settings.policy = policy.as_object().cloned().or_else(|| Some(Map::new()));
        self.settings_changed(now_ms);
    }

    /// Puts key sets into the settings, if they are others than those there.
    pub fn set_key_sets(&mut self, sets: &BTreeMap<String, Value>, now_ms: u64) {
        let of = |(issuer, jwks): (&String, &Value)| IssuerKeySet {
            issuer: issuer.clone(),
            jwks: jwks.as_object().cloned().unwrap_or_default(),
        };
        let sets: Vec<_> = sets.iter().map(of).collect();
        let pairs = sets.iter().zip(&self.settings.key_sets);
        let same = sets.len() == self.settings.key_sets.len()
            && pairs.into_iter().all(|(new, old)| new.issuer == old.issuer && new.jwks == old.jwks);
        if !same {
            self.settings.key_sets = sets;
            self.settings_changed(now_ms);
        }
    }

    /// The log begins anew, as after a restore or failover: no cursor is known any more. The tables
    /// stay as they are.
    pub fn begin_another_log(&mut self) {
        self.history = self.history.saturating_add(1);
        self.log.clear();
        self.trimmed = self.sequence;
    }

    /// Forgets all entries of the log, as trimming does.
    pub fn trim(&mut self) {
        self.log.clear();
        self.trimmed = self.sequence;
    }

    /// The newest place in the log.
    pub fn cursor(&self) -> String {
        self.cursor_of(self.sequence)
    }

    /// How many records a table has.
    pub fn len(&self, table: Table) -> usize {
        self.records(table).len()
    }

    /// Whether there is nothing in any table.
    pub fn is_empty(&self) -> bool {
        Table::ALL.into_iter().all(|table| self.len(table) == 0)
    }

    /// Answers a question for news, and whether there is any.
    pub fn news(&self, path: &str) -> (FeedAnswer, bool) {
        let query = query(path);
        let asked = query.get("cursor").and_then(|cursor| self.place_of(cursor));
        let mut answer = FeedAnswer {
            cursor: self.cursor(),
            changes: Vec::new(),
            settings: None,
            reload: false,
            layouts: self.layouts(),
        };
        match asked {
            None => answer.reload = true,
            Some(from) => {
                let after = self.log.range(from.saturating_add(1)..).take(MAX_CHANGES);
                answer.changes = after
                    .map(|(sequence, entry)| Change { sequence: *sequence, entry: entry.clone() })
                    .collect();
                let last = answer.changes.last().map_or(from, |change| change.sequence);
                answer.cursor = self.cursor_of(last);
            }
        }
        let generation = self.settings_generation.to_string();
        if query.get("settings") != Some(&generation.as_str()) {
            answer.settings = Some(Settings { generation, ..self.settings.clone() });
        }
        let news = answer.reload || answer.settings.is_some() || !answer.changes.is_empty();
        (answer, news)
    }

    /// The longest time that the question may be held, in milliseconds.
    pub fn wait_of(path: &str) -> u64 {
        query(path).get("wait").and_then(|wait| wait.parse().ok()).unwrap_or(0)
    }

    /// The body of the answer to any of the questions of the feed.
    ///
    /// # Errors
    ///
    /// When the question has no meaning.
    pub fn body(&self, path: &str) -> Result<Vec<u8>> {
        let endpoint = endpoint(path);
        if endpoint == FEED_PATH {
            return Ok(serde_json::to_vec(&self.news(path).0)?);
        }
        let query = query(path);
        let text = |name: &str| query.get(name).copied().with_context(|| format!("no `{name}`"));
        let table = Table::from_word(text("table")?).context("no such table")?;
        let layout = Layout::checked(text("bits")?.parse()?).context("no such layout")?;
        self.place_of(text("cursor")?).context("an unknown cursor")?;
        ensure!(endpoint == BUCKETS_PATH, "no such path");
        let key = BucketKey::new(&self.secret);
        let image = image(text("image")?)?;
        let first = text("first")?.parse()?;
        Ok(self.records(table).bucket_piece(layout, first, &key, image, PIECE_BYTES))
    }

    fn layouts(&self) -> Layouts {
        let of = |table| {
            let records = u64::try_from(self.len(table)).unwrap_or(u64::MAX);
            Layout::for_records(records)
        };
        Layouts { revocations: of(Table::Revocations), api_keys: of(Table::ApiKeys) }
    }

    fn append(&mut self, kind: ChangeKind, at_milliseconds: u64) {
        self.sequence = self.sequence.saturating_add(1);
        self.log.insert(self.sequence, LogEntry { at_milliseconds, kind });
    }

    fn cursor_of(&self, sequence: u64) -> String {
        format!("{sequence}-{:016x}{sequence:016x}", self.history)
    }

    /// The place in the log, if it is of this log and not too far behind.
    fn place_of(&self, cursor: &str) -> Option<u64> {
        let sequence: u64 = cursor.split_once('-')?.0.parse().ok()?;
        let known = cursor == self.cursor_of(sequence)
            && (self.trimmed..=self.sequence).contains(&sequence)
            && self.sequence.saturating_sub(sequence) <= MAX_BEHIND;
        known.then_some(sequence)
    }

    fn records(&self, table: Table) -> &Records {
        match table {
            Table::Revocations => &self.revocations,
            Table::ApiKeys => &self.api_keys,
        }
    }

    fn records_mut(&mut self, table: Table) -> &mut Records {
        match table {
            Table::Revocations => &mut self.revocations,
            Table::ApiKeys => &mut self.api_keys,
        }
    }
}

/// The path without its query.
pub fn endpoint(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

fn query(path: &str) -> BTreeMap<&str, &str> {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

fn image(text: &str) -> Result<ImageId> {
    match base64url::decode(text.as_bytes()).map(TryInto::try_into) {
        Some(Ok(id)) => Ok(ImageId(id)),
        _ => bail!("an image is 16 bytes, written as base64url"),
    }
}
