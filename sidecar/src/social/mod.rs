//! The vault: the tokens that users have at providers, kept sealed and handed to the services that may
//! have them.
//!
//! They are refreshed once however many ask, at however many sidecars: a lease stands in the record
//! before the provider is asked. Many providers take a refresh token once only and, shown it twice,
//! end all that the user has there. So a token that may have been taken is not sent again.

mod clear;
mod fetch;
mod keep;
mod provider;
mod refresh;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wardgate_core::secret::Secret;
use zeroize::Zeroizing;

pub use clear::ClearToken;
pub use fetch::{FetchError, SocialToken};
pub use keep::{KeepError, KeepSocialTokens, SocialTokensList, SocialTokensView};
pub use report::{Asking, hand_out};

use crate::clock::Clock;
use crate::config::{SecureUrl, SocialAuthMethod};
use crate::outgoing::{Authorities, TrustError};
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};
use crate::store::Store;
use crate::usage::UsageRecorder;
use provider::{Provider, ProviderProblem};

/// Time for a provider to answer.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(10);

/// A provider, with its secret and certificates.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// Where tokens are refreshed.
    pub token_endpoint: SecureUrl,
    /// The name that this system has there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// How the secret is sent.
    pub auth_method: SocialAuthMethod,
    /// Whether a refresh token is taken once only.
    pub rotates_refresh_tokens: bool,
    /// The clients that may have the tokens of users.
    pub clients: Vec<String>,
    /// Whom to trust; those of the operating system if missing.
    pub ca_pem: Option<Vec<u8>>,
}

/// Keeps the tokens of users at providers. Cheap to clone: clones are one vault.
#[derive(Clone)]
pub struct SocialVault(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    store_keys: StoreKeys,
    clock: Clock,
    random: Random,
    issuer: String,
    usage: Option<Arc<UsageRecorder>>,
    providers: BTreeMap<String, Provider>,
}

/// What is sealed.
#[derive(Deserialize, Serialize)]
struct Tokens {
    access_token: ClearToken,
    refresh_token: Option<ClearToken>,
}

/// What the vault stands on.
pub struct Ground {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The keys of what is secret in it.
    pub store_keys: StoreKeys,
    /// The time.
    pub clock: Clock,
    /// Randomness.
    pub random: Random,
    /// The `iss` of the users.
    pub issuer: String,
    /// Where it is counted; nothing where no sidecar runs.
    pub usage: Option<Arc<UsageRecorder>>,
}

impl SocialVault {
    /// A vault for these providers.
    ///
    /// # Errors
    ///
    /// [`TrustError`] when the certificates to trust cannot be read.
    pub fn new(
        ground: Ground,
        providers: BTreeMap<String, ProviderSettings>,
    ) -> Result<Self, TrustError> {
        let Ground { store, store_keys, clock, random, issuer, usage } = ground;
        let providers = providers.into_iter().map(|(name, settings)| {
            let authorities = match &settings.ca_pem {
                // To loopback, where nobody stands between.
                _ if !settings.token_endpoint.tls => Authorities::none(),
                Some(pem) => Authorities::of_pem(pem)?,
                None => Authorities::of_system(),
            };
            Ok((name, Provider::new(settings, authorities, PROVIDER_TIMEOUT)?))
        });
        let providers = providers.collect::<Result<_, TrustError>>()?;
        Ok(Self(Arc::new(Inner { store, store_keys, clock, random, issuer, usage, providers })))
    }
}

impl Inner {
    fn seal(&self, key: &str, tokens: &Tokens) -> Option<Sealed> {
        let text = Zeroizing::new(serde_json::to_vec(tokens).ok()?);
        self.store_keys.seal(&context(key), &Secret::new(text.to_vec()), self.clock.now())
    }

    fn open(&self, key: &str, sealed: &Sealed) -> Option<Tokens> {
        let opened = self.store_keys.open(&context(key), sealed).ok()?;
        serde_json::from_slice(opened.expose()).ok()
    }
}

fn context(key: &str) -> String {
    format!("social-tokens {key}")
}

/// Whether and until when there is an access token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SocialState {
    /// There is one, or it can be had.
    Usable,
    /// The user must log in at the provider again.
    LoginNeeded,
}

#[cfg(test)]
mod tests;
