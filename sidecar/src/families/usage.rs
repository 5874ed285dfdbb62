//! What happens to refresh tokens is counted where it happens. The beginning of a family and the end
//! that a token brings about are not counted here: their events in the audit log are.

use std::sync::Arc;

use super::{Families, Presenter, RefreshError, Refusal};
use crate::store::records::StoredFamily;
use crate::usage::{TokenEvent, TokenType, TokenUse, UsageRecorder};

impl Families {
    /// Counts with this recorder what is refreshed and refused.
    pub fn with_usage(self, usage: Arc<UsageRecorder>) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Counts that a refresh token of a family was shown and got nothing, for a reason that its
    /// family knows nothing of: a user who is disabled, a scope that was not granted.
    pub fn count_denied(&self, family: &StoredFamily) {
        self.count(TokenEvent::Denied, &family.client_id, Some(family));
    }

    /// Counts that the next token took the place of one of a family.
    pub(super) fn count_refreshed(&self, family: &StoredFamily) {
        self.count(TokenEvent::Refreshed, &family.client_id, Some(family));
    }

    /// A refusal, counted. It counts for the client that the token was issued to, whoever shows it;
    /// of a token that belongs to no family nobody knows that, and it counts for who shows it.
    pub(super) fn refused<E>(
        &self,
        refusal: Refusal,
        presenter: &Presenter,
        family: Option<&StoredFamily>,
    ) -> RefreshError<E> {
        self.metrics.families.refuse(refusal.word());
        let client_id = family.map_or(&presenter.client_id, |family| &family.client_id);
        self.count(TokenEvent::Denied, client_id, family);
        RefreshError::Refused(refusal)
    }

    fn count(&self, event: TokenEvent, client_id: &str, family: Option<&StoredFamily>) {
        let Some(usage) = &self.usage else { return };
        usage.count_token(&TokenUse {
            token_type: TokenType::Refresh,
            event,
            client_id: Some(client_id),
            issuer: Some(&self.issuer),
            subject: family.map(|family| family.subject.as_str()),
            at_milliseconds: self.clock.now_milliseconds(),
        });
    }
}
