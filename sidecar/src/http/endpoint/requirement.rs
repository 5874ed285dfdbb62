//! What is required of whoever asks.

use serde_json::{Value, json};

/// The listeners.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::http) enum ListenerName {
    /// For anyone.
    Public,
    /// For filters.
    Internal,
    /// For operators.
    Admin,
}

/// What whoever asks must show. The listener follows from it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::http) enum Requirement {
    /// Nothing.
    Open,
    /// A client that authenticates by the method that it is registered with.
    ClientAuthentication,
    /// Name and password of a user, at a client that may ask for them.
    UserPassword,
    /// The very token that the request is about.
    TokenItself,
    /// The MAC over the request under the feed secret.
    FeedMac,
    /// The right to open the socket, which the operating system checks.
    AdminSocket,
}

impl ListenerName {
    pub(super) const ALL: [Self; 3] = [Self::Public, Self::Internal, Self::Admin];

    /// As in metrics and in the document.
    pub(in crate::http) fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// What it is, for the reader of the document.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Public => {
                "For anyone, over TCP (`listen`). Each address may ask \
                 `limits.requests_per_minute_per_address` times a minute."
            }
            Self::Internal => {
                "For the filter alone: a Unix socket or a loopback address (`internal`). \
                 `docs/internal-protocol.md` says what the fields mean."
            }
            Self::Admin => "For operators and the command line: a Unix socket (`admin.socket`).",
        }
    }
}

impl Requirement {
    pub(super) const ALL: [Self; 6] = [
        Self::Open,
        Self::ClientAuthentication,
        Self::UserPassword,
        Self::TokenItself,
        Self::FeedMac,
        Self::AdminSocket,
    ];

    /// The listener that serves it.
    pub(super) fn listener(self) -> ListenerName {
        match self {
            Self::Open | Self::ClientAuthentication | Self::UserPassword | Self::TokenItself => {
                ListenerName::Public
            }
            Self::FeedMac => ListenerName::Internal,
            Self::AdminSocket => ListenerName::Admin,
        }
    }

    /// As in the document.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ClientAuthentication => "client-authentication",
            Self::UserPassword => "user-password",
            Self::TokenItself => "token-itself",
            Self::FeedMac => "feed-mac",
            Self::AdminSocket => "admin-socket",
        }
    }

    /// Who meets it, and where it is checked.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Open => "Anyone may ask.",
            Self::ClientAuthentication => {
                "An OAuth client that authenticates by the one method that it is registered with: \
                 `client_secret_basic`, `client_secret_post`, `private_key_jwt`, mutual TLS; a \
                 public client (`none`) by its name and what the grant itself proves. Checked by \
                 the endpoint, since parts of it stand in the body."
            }
            Self::UserPassword => {
                "Who knows name and password of a user, through a client that is registered as \
                 `first_party`. Checked by the endpoint; failures are throttled."
            }
            Self::TokenItself => {
                "Who holds the token that the request is about. Checked by the endpoint."
            }
            Self::FeedMac => {
                "Who knows the feed secret: the MAC over the request is verified before anything of \
                 it is parsed, and the answer has one too. Without it: 401."
            }
            Self::AdminSocket => {
                "Who may open the socket of the admin listener (mode 0600): the user that runs the \
                 sidecar, and root. A request that came over TCP is refused with 403."
            }
        }
    }

    /// The `security` of an operation. What the operating system checks has no scheme in OpenAPI.
    pub(super) fn security(self) -> Value {
        match self {
            Self::Open | Self::UserPassword | Self::TokenItself | Self::AdminSocket => json!([]),
            // The empty one stands for what is sent in the body, which OpenAPI has no scheme for.
            Self::ClientAuthentication => {
                json!([{"clientSecretBasic": []}, {"clientCertificate": []}, {}])
            }
            Self::FeedMac => json!([{"feedMac": []}]),
        }
    }
}

/// The `securitySchemes` of the document.
pub(super) fn security_schemes() -> Value {
    json!({
        "clientSecretBasic": {
            "type": "http",
            "scheme": "basic",
            "description": "Client id and secret, each form-urlencoded (RFC 6749 §2.3.1).",
        },
        "clientCertificate": {
            "type": "mutualTLS",
            "description": "The certificate that the client is registered with (RFC 8705).",
        },
        "feedMac": {
            "type": "apiKey",
            "in": "header",
            "name": "x-wardgate-mac",
            "description": "HMAC-SHA-256 over the request under the feed secret.",
        },
    })
}
