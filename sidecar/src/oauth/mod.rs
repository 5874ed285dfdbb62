//! OAuth: clients, how they authenticate, and the endpoints where they get tokens, end them and ask
//! what they say (RFC 6749, RFC 7009, RFC 7523, RFC 7662, RFC 8414, RFC 8693, RFC 8705).
//!
//! Nothing here knows a listener: an [`OAuthRequest`] goes in, an answer with what is to be recorded
//! of it comes out.

mod assertion;
mod authentication;
mod certificate;
mod check;
mod client;
mod client_credentials;
mod error;
mod event;
mod exchange;
mod form;
mod introspection;
mod issue;
mod login;
mod logout;
mod metadata;
mod own_tokens;
mod password;
mod proof;
mod refresh;
mod registry;
mod request;
mod revocation;
mod scopes;
mod session;
mod token_exchange;
mod used;

use std::sync::{Arc, Mutex, PoisonError};

use wardgate_core::dpop::Nonces;
use wardgate_core::gate::failures::FailureLimit;

pub use authentication::AuthenticatedClient;
pub use certificate::ClientCertificate;
pub use client::{AuthenticationMethod, ClientMetadata, ExchangePermission, GrantType};
pub use error::{ClientRefusal, OAuthError};
pub use event::Event;
pub use form::{Form, MAX_FORM_BYTES};
pub use issue::TokenAnswer;
pub use login::LoginRequest;
pub use metadata::ServerMetadata;
pub use password::PasswordRequest;
pub use registry::{
    ClientError, ClientList, ClientSecretView, ClientView, Clients, CreatedClient,
    RotateClientSecret,
};
pub use request::OAuthRequest;
pub use revocation::TokenEnded;

use crate::accounts::Accounts;
use crate::clock::Clock;
use crate::config::{AllowedOrigin, IssuerSection, OAuthSection};
use crate::desk::Desk;
use crate::families::Families;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::records::secrets::{self, OpenSecretError};
use own_tokens::OwnTokens;

/// How long an address that failed too often waits before it is worth while to come back.
const RETRY_AFTER_SECONDS: u64 = 10;
/// What failures are counted in.
const FAILURE_PERIOD_SECONDS: u64 = 60;

/// Gives tokens to clients, takes them back, and says what they say.
pub struct TokenService {
    clock: Clock,
    desk: Arc<Desk>,
    accounts: Arc<Accounts>,
    families: Arc<Families>,
    clients: Clients,
    section: OAuthSection,
    issuer: IssuerSection,
    revocation_keep_seconds: u64,
    own_tokens: OwnTokens,
    nonces: Nonces,
    failures: Mutex<FailureLimit>,
}

/// What the token service is made of.
pub struct TokenServiceParts {
    /// Keys and records.
    pub desk: Arc<Desk>,
    /// Users.
    pub accounts: Arc<Accounts>,
    /// Families of refresh tokens.
    pub families: Arc<Families>,
    /// Its own section of the configuration.
    pub section: OAuthSection,
    /// The tokens that are issued.
    pub issuer: IssuerSection,
    /// How long a revocation stands whose end is not known.
    pub revocation_keep_seconds: u64,
}

impl TokenService {
    /// Puts it together; at the first start its secrets are made.
    ///
    /// # Errors
    ///
    /// [`OpenSecretError`] when the store fails or its secrets do not open with the store keys.
    pub async fn open(
        parts: TokenServiceParts,
        store_keys: &StoreKeys,
        clock: Clock,
        random: Random,
    ) -> Result<Self, OpenSecretError> {
        let TokenServiceParts { desk, accounts, families, .. } = parts;
        let TokenServiceParts { section, issuer, revocation_keep_seconds, .. } = parts;
        let store = Arc::clone(desk.store());
        let name = secrets::DPOP_NONCE_KEY;
        let nonces = secrets::open_or_make(&*store, store_keys, name, clock.now(), random).await?;
        let nonces = Nonces::new(&nonces);
        let clients = Clients::open(store, store_keys, clock.clone(), random).await?;
        // Random, so that nobody can choose whose place in the table he falls into.
        let keys =
            (u64::from_le_bytes(random.bytes::<8>()?), u64::from_le_bytes(random.bytes::<8>()?));
        let most = section.failures_per_minute_per_address.0;
        let failures = Mutex::new(FailureLimit::new(most, FAILURE_PERIOD_SECONDS, keys));
        Ok(Self {
            clock,
            desk,
            accounts,
            families,
            clients,
            section,
            issuer,
            revocation_keep_seconds,
            own_tokens: OwnTokens::default(),
            nonces,
            failures,
        })
    }

    /// The path of the issuer, without a `/` at its end; empty where there is none.
    pub fn issuer_path(&self) -> &str {
        self.issuer.issuer.path()
    }

    /// Browser applications of which other origins may ask.
    pub fn allowed_origins(&self) -> &[AllowedOrigin] {
        &self.section.allowed_origins
    }

    /// The registry of clients.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Answers the token endpoint (RFC 6749 §3.2).
    ///
    /// # Errors
    ///
    /// [`OAuthError`] with what the client is told.
    pub async fn token(&self, request: &OAuthRequest) -> Result<TokenAnswer, OAuthError> {
        let client = self.authenticate(request).await?;
        let word = request.form.require("grant_type", "`grant_type` is missing")?;
        let grant = GrantType::from_word(word).ok_or(OAuthError::UnsupportedGrantType)?;
        if !client.metadata().may_use(grant) {
            return Err(OAuthError::UnauthorizedClient("the client may not use this grant type"));
        }
        match grant {
            GrantType::ClientCredentials => self.client_credentials(&client, request).await,
            GrantType::TokenExchange => self.token_exchange(&client, request).await,
            GrantType::RefreshToken => self.refresh(&client, request).await,
        }
    }

    /// Whether an address may still fail. Asked before anything is looked at: whoever guesses costs
    /// himself time, and neither a signature nor a line of the audit log.
    fn admit(&self, request: &OAuthRequest) -> Result<(), OAuthError> {
        let Some(address) = request.address else { return Ok(()) };
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic_nanoseconds();
        if failures.admits(address.to_string().as_bytes(), now) {
            return Ok(());
        }
        Err(OAuthError::TooManyFailures(RETRY_AFTER_SECONDS))
    }

    fn count_failure(&self, request: &OAuthRequest) {
        let Some(address) = request.address else { return };
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.count(address.to_string().as_bytes(), self.clock.monotonic_nanoseconds());
    }

    /// The address of an endpoint, as clients know it.
    fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.issuer.issuer.0.trim_end_matches('/'))
    }

    /// What a client may write as the audience of an assertion (RFC 7523 §3): the issuer, or the
    /// endpoint that it asks.
    fn own_audiences(&self) -> Vec<String> {
        let mut audiences: Vec<String> =
            metadata::CLIENT_ENDPOINTS.iter().map(|path| self.endpoint(path)).collect();
        audiences.push(self.issuer.issuer.0.clone());
        audiences
    }
}

#[cfg(test)]
mod tests;
