//! What the vault keeps and refreshes is counted where it is done; what it hands out, from the event
//! that is written of it.

use super::Inner;
use crate::usage::{TokenEvent, TokenType, TokenUse};

impl Inner {
    /// Counts something that happened to the tokens of a user at a provider. They are kept for the
    /// user and for no client: several may have them.
    pub(super) fn count(&self, user: &str, event: TokenEvent) {
        let Some(usage) = &self.usage else { return };
        usage.count_token(&TokenUse {
            token_type: TokenType::Social,
            event,
            client_id: None,
            issuer: Some(&self.issuer),
            subject: Some(user),
            at_milliseconds: self.clock.now_milliseconds(),
        });
    }
}
