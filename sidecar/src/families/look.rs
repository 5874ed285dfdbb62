//! What there is, without a change.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::base64url;

use super::{Families, Family};
use crate::store::StoreError;
use crate::store::records::StoredFamily;
use crate::store::records::families::{self as records, Standing};

/// Letters of an id.
const ID_LETTERS: usize = 16;

/// A token that could be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Looked {
    /// Its family.
    pub family: Family,
    /// When it ends if nobody uses it, in seconds since the epoch.
    pub expires_at: u64,
}

/// A family as its user or an operator sees it.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct FamilyView {
    /// The id: the `sid` of its access tokens.
    pub id: String,
    /// Who logged in.
    pub subject: String,
    /// The client.
    pub client_id: String,
    /// What was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Where it was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Whether its tokens are bound to a key.
    pub is_bound: bool,
    /// When it was begun, in seconds since the epoch.
    pub begun_at: u64,
    /// When it was used last, in seconds since the epoch.
    pub used_at: u64,
    /// How often it was refreshed.
    pub refreshes: u32,
    /// When it ends whatever is done, in seconds since the epoch.
    pub ends_at: u64,
    /// When it ends if nobody uses it, in seconds since the epoch.
    pub expires_at: u64,
}

/// Some families.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct FamilyPage {
    /// In no order; one may be on two pages.
    pub sessions: Vec<FamilyView>,
    /// Where the next page begins, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<Family> for FamilyView {
    fn from(family: Family) -> Self {
        let Family { id, stored } = family;
        let expires_at = stored.over_at().0;
        Self {
            id,
            subject: stored.subject,
            client_id: stored.client_id,
            scope: stored.scope,
            device: stored.device,
            is_bound: stored.binding.is_some(),
            begun_at: stored.begun_at,
            used_at: stored.used_at,
            refreshes: stored.generation,
            ends_at: stored.ends_at,
            expires_at,
        }
    }
}

impl Families {
    /// What a token is good for; `None` for one that would be refused whoever presents it, such as
    /// one that was used (RFC 7662 §2.2). Changes nothing, so a token that was used and is looked at
    /// by somebody ends nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn look(&self, token: &str) -> Result<Option<Looked>, StoreError> {
        let Some(token) = self.key.read(token) else { return Ok(None) };
        let Some(family) = self.family(&token.family).await? else { return Ok(None) };
        let stored = &family.stored;
        let is_current = (stored.generation, &stored.digest) == (token.generation, &token.digest);
        let expires_at = stored.over_at().0;
        Ok(is_current.then_some(Looked { family, expires_at }))
    }

    /// The family of this id, if it is alive and not revoked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn family(&self, id: &str) -> Result<Option<Family>, StoreError> {
        let Some(standing) = self.stored(id).await? else { return Ok(None) };
        let around = self.around_family(id, &standing.value).await?;
        let is_over = self.clock.now() >= standing.value.over_at();
        if is_over || around.covers(standing.value.begun_at) {
            return Ok(None);
        }
        Ok(Some(Family { id: id.to_owned(), stored: standing.value }))
    }

    /// The families of a subject that are alive and not revoked, the last used first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn of_subject(&self, subject: &str) -> Result<Vec<Family>, StoreError> {
        let list = records::list(&*self.store, subject).await?;
        let mut families = Vec::new();
        for id in list.map(|list| list.value.ends).unwrap_or_default().into_keys() {
            families.extend(self.family(&id).await?);
        }
        families.sort_by(|a, b| (b.stored.used_at, &b.id).cmp(&(a.stored.used_at, &a.id)));
        Ok(families)
    }

    /// Some families; `cursor` `None` begins. What subjects and clients were revoked is not asked for
    /// each: one of those is shown until it ends.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn page(&self, cursor: Option<String>) -> Result<FamilyPage, StoreError> {
        let (families, next) = records::page(&*self.store, cursor).await?;
        let now = self.clock.now();
        let alive = families.into_iter().filter(|(_, family)| family.over_at() > now);
        let view = |(id, stored)| FamilyView::from(Family { id, stored });
        Ok(FamilyPage { sessions: alive.map(view).collect(), next })
    }

    /// The record of an id, which may be any text: only what has the form of one is looked for, so
    /// that no other record of the table is taken for a family.
    pub(super) async fn stored(
        &self,
        id: &str,
    ) -> Result<Option<Standing<StoredFamily>>, StoreError> {
        let is_id = id.len() == ID_LETTERS && base64url::decode(id.as_bytes()).is_some();
        if is_id { records::get(&*self.store, id).await } else { Ok(None) }
    }
}
