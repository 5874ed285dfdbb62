//! What a store consists of.

/// A table: keys and their values.
///
/// A new table is a variant here, in [`Table::ALL`] and in the three methods below; no store needs
/// to know of it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// Name to sealed secret.
    Secrets,
    /// Algorithm to signing key.
    SigningKeys,
    /// Id to API key.
    ApiKeys,
    /// Name to id, of API keys that are not revoked.
    ApiKeyNames,
    /// What is revoked, until nothing that it could match is alive.
    Revocations,
    /// Counters of use, until nobody asks any more.
    Usage,
    /// Name to role, of roles that are made at run time.
    Roles,
    /// Name to document, of small things of which there is one.
    Documents,
    /// Account to what it owes, of rate limits across proxies, until it owes nothing.
    RateLimits,
    /// Id to user.
    Users,
    /// Name, folded, to id of its user.
    UserNames,
    /// Id to OAuth client.
    Clients,
    /// Id to family of refresh tokens, until it is over.
    Families,
    /// What may be used once, until it would not be taken any more: ids of proofs and assertions.
    Used,
    /// Failed logins by account and address, until they are forgotten.
    LoginFailures,
    /// User and provider to the provider's tokens.
    SocialTokens,
}

impl Table {
    /// All tables. A copy is made in this order: names come after keys, so that in a copy that was
    /// broken off no name leads nowhere.
    pub const ALL: [Self; 16] = [
        Self::Secrets,
        Self::SigningKeys,
        Self::ApiKeys,
        Self::ApiKeyNames,
        Self::Revocations,
        Self::Usage,
        Self::Roles,
        Self::Documents,
        Self::RateLimits,
        Self::Users,
        Self::UserNames,
        Self::Clients,
        Self::Families,
        Self::Used,
        Self::LoginFailures,
        Self::SocialTokens,
    ];

    /// The name of the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::SigningKeys => "signing_keys",
            Self::ApiKeys => "api_keys",
            Self::ApiKeyNames => "api_key_names",
            Self::Revocations => "revocations",
            Self::Usage => "usage",
            Self::Roles => "roles",
            Self::Documents => "documents",
            Self::RateLimits => "rate_limits",
            Self::Users => "users",
            Self::UserNames => "user_names",
            Self::Clients => "clients",
            Self::Families => "families",
            Self::Used => "used",
            Self::LoginFailures => "login_failures",
            Self::SocialTokens => "social_tokens",
        }
    }

    /// The number of the table in files and in the log: it never changes, and none is given twice.
    pub const fn code(self) -> u8 {
        match self {
            Self::Secrets => 1,
            Self::SigningKeys => 2,
            Self::ApiKeys => 3,
            Self::ApiKeyNames => 4,
            Self::Revocations => 5,
            Self::Usage => 6,
            Self::Roles => 7,
            Self::Documents => 8,
            Self::RateLimits => 9,
            Self::Users => 10,
            Self::UserNames => 11,
            Self::Clients => 12,
            Self::Families => 13,
            Self::Used => 14,
            Self::LoginFailures => 15,
            Self::SocialTokens => 16,
        }
    }

    /// The table with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.code() == code)
    }

    /// Whether its entries may have an end. A table is laid out for that from the beginning.
    pub const fn may_expire(self) -> bool {
        match self {
            Self::Revocations
            | Self::Usage
            | Self::RateLimits
            | Self::Families
            | Self::Used
            | Self::LoginFailures => true,
            Self::Secrets
            | Self::SigningKeys
            | Self::ApiKeys
            | Self::ApiKeyNames
            | Self::Roles
            | Self::Documents
            | Self::Users
            | Self::UserNames
            | Self::Clients
            | Self::SocialTokens => false,
        }
    }

    /// Those whose entries may have an end.
    pub fn expiring() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|table| table.may_expire())
    }
}
