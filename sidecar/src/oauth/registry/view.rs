//! Clients as operators see them: with everything but secrets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::oauth::ClientMetadata;
use crate::store::records::StoredClient;

/// A client.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ClientView {
    /// Its id.
    pub client_id: String,
    /// When it was made, in seconds since the epoch.
    pub client_id_issued_at: u64,
    /// What is registered of it.
    #[serde(flatten)]
    pub metadata: ClientMetadata,
    /// Its secrets, the newest first, without what is secret.
    #[serde(default)]
    pub secrets: Vec<ClientSecretView>,
}

/// A secret of a client.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct ClientSecretView {
    /// When it was made, in seconds since the epoch.
    pub created_at: u64,
    /// When it stops working, in seconds since the epoch; never when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

/// Some clients.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct ClientList {
    /// In no order.
    pub clients: Vec<ClientView>,
    /// Where the next page begins, if there may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A client with its new secret.
#[derive(Deserialize, JsonSchema, Serialize)]
pub struct CreatedClient {
    /// The secret, this once; nothing for a client that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// The client.
    #[serde(flatten)]
    pub view: ClientView,
}

impl ClientView {
    pub(super) fn of(client: StoredClient) -> Self {
        let secrets = client.secrets.iter().map(|secret| ClientSecretView {
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        });
        Self {
            secrets: secrets.collect(),
            client_id: client.client_id,
            client_id_issued_at: client.created_at,
            metadata: client.metadata,
        }
    }
}
