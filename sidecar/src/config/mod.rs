//! The configuration of the sidecar: one YAML file, read with every problem at once.

mod accounts;
mod keys;
mod live;
mod load;
mod oauth;
mod redis;
mod refresh_tokens;
mod sections;
mod secure_url;
mod signing_keys;
mod social;
mod social_providers;
mod store;
pub mod yaml;

pub use accounts::{LoginSection, PasswordAlgorithm, PasswordsSection};
pub use keys::{ApiKeysSection, NotifySection, UsageSection};
pub use live::{FeedSection, IssuersSection, RevocationsSection};
pub use load::{FileProblem, Loaded, load, load_policy};
pub use oauth::{AllowedOrigin, DpopNonce, OAuthSection};
pub use redis::{RedisMode, RedisSection, RedisTlsSection, RedisUrl};
pub use refresh_tokens::RefreshTokensSection;
pub use sections::{
    Address, AdminSection, AuditSection, Config, InternalSection, IssuerSection, IssuerUrl,
    LimitsSection, LogFormat, LogLevel, LogSection, PolicySection, SecretsSection, SocketMode,
    StoreSection,
};
pub use secure_url::SecureUrl;
pub use signing_keys::SigningKeysSection;
pub use social::{SocialAuthMethod, SocialProviderSection};
#[cfg(test)]
pub(crate) use store::store_settings;
pub use store::{RedisSettings, StoreSettings, TlsFiles};
