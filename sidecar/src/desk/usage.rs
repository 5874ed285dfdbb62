//! What the desk does with tokens is counted where it is done. Without a recorder, on the command line
//! while no sidecar runs, it is not.

use std::sync::Arc;

use serde_json::{Map, Value};
use wardgate_core::wire::ApiKeyRecord;

use super::Desk;
use crate::usage::{TokenEvent, TokenType, TokenUse, UsageRecorder};

impl Desk {
    /// Counts with this recorder what is issued and refreshed.
    pub fn with_usage(self, usage: Arc<UsageRecorder>) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// Counts an access token with these claims as issued.
    pub(super) fn count_issued(&self, claims: &Map<String, Value>) {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        self.count(&TokenUse {
            token_type: TokenType::Access,
            event: TokenEvent::Issued,
            client_id: text("client_id"),
            issuer: text("iss"),
            subject: text("sub"),
            at_milliseconds: self.clock.now_milliseconds(),
        });
    }

    /// Counts something that happened to an API key.
    pub(super) fn count_api_key(&self, key: &ApiKeyRecord, event: TokenEvent) {
        self.count(&TokenUse {
            token_type: TokenType::Api,
            event,
            client_id: None,
            issuer: key.issuer.as_deref(),
            subject: key.subject.as_deref(),
            at_milliseconds: self.clock.now_milliseconds(),
        });
    }

    fn count(&self, happened: &TokenUse<'_>) {
        if let Some(usage) = &self.usage {
            usage.count_token(happened);
        }
    }
}
