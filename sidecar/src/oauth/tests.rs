//! The token service over an embedded store, with a clock that tests move.

mod authentication;
mod ends;
mod grants;
mod passwords;
mod proofs;
mod races;
mod sessions;
mod usage;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use wardgate_core::base64url;
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::time::UnixSeconds;

use super::{CreatedClient, Form, OAuthError, OAuthRequest, TokenService, TokenServiceParts};
use crate::accounts::tests::settings as account_settings;
use crate::accounts::{AccountGround, AccountSettings, Accounts};
use crate::clock::Clock;
use crate::config::{IssuerSection, OAuthSection, RefreshTokensSection, UsageSection};
use crate::desk::Desk;
use crate::families::{Families, Ground};
use crate::keys::{SigningAlgorithm, SigningKey, generate};
use crate::metrics::Metrics;
use crate::random::Random;
use crate::seal::StoreKeys;
use crate::store::{Embedded, Store};
use crate::usage::UsageRecorder;

pub(super) const ISSUER: &str = "https://auth.example.com";
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) struct World {
    _directory: tempfile::TempDir,
    pub(super) clock: Clock,
    pub(super) service: TokenService,
    usage: Arc<UsageRecorder>,
    store: Arc<dyn Store>,
    keys: StoreKeys,
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

impl World {
    pub(super) async fn new(section: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::manual(UnixSeconds(NOW));
        let path = directory.path().join("store.redb");
        let store = Embedded::open_with(&path, clock.clone(), Random::system()).unwrap();
        let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let usage = usage(&clock);
        let service = service((&store, &keys, &clock), &usage, section).await;
        Self { _directory: directory, clock, service, usage, store, keys }
    }

    /// A second sidecar on the same store.
    pub(super) async fn other_sidecar(&self) -> TokenService {
        service((&self.store, &self.keys, &self.clock), &self.usage, json!({})).await
    }

    pub(super) async fn client(&self, members: Value) -> CreatedClient {
        self.service.clients().create(object(members)).await.unwrap()
    }

    pub(super) async fn code(&self, request: &OAuthRequest) -> String {
        match self.service.token(request).await {
            Ok(answer) => {
                let body: Value = serde_json::from_str(&answer.body).unwrap();
                body["token_type"].as_str().unwrap().to_owned()
            }
            Err(error) => error.code().to_owned(),
        }
    }

    /// The answer of the token endpoint, which must be one.
    pub(super) async fn token(&self, request: &OAuthRequest) -> Value {
        let answer = self.service.token(request).await.unwrap();
        serde_json::from_str(&answer.body).unwrap()
    }
}

fn usage(clock: &Clock) -> Arc<UsageRecorder> {
    let section = UsageSection::default();
    Arc::new(UsageRecorder::new(&section, clock.clone(), &Metrics::new()))
}

/// A sidecar on a store.
async fn service(
    (store, keys, clock): (&Arc<dyn Store>, &StoreKeys, &Clock),
    usage: &Arc<UsageRecorder>,
    section: Value,
) -> TokenService {
    let mut problems = Problems::new();
    let issuer = json!({
        "issuer": ISSUER, "audiences": ["api"], "algorithms": ["ES256"],
    });
    let issuer = IssuerSection::read(&issuer, &At::ROOT, &mut problems).unwrap();
    let section = OAuthSection::read(&section, &At::ROOT, &mut problems).unwrap();
    let random = Random::system();
    let desk = Desk::open(Arc::clone(store), keys, issuer.clone(), clock.clone(), random).await;
    let metrics = Arc::new(Metrics::new());
    let ground = Ground {
        store: Arc::clone(store),
        store_keys: keys.clone(),
        clock: clock.clone(),
        random,
        metrics: Arc::clone(&metrics),
    };
    let families = Families::open(ground, ISSUER, RefreshTokensSection::default()).await.unwrap();
    let families = families.with_usage(Arc::clone(usage));
    let parts = TokenServiceParts {
        desk: Arc::new(desk.unwrap().with_usage(Arc::clone(usage))),
        accounts: Arc::new(accounts(Arc::clone(store), keys, clock, metrics).await),
        families: Arc::new(families),
        section,
        issuer,
        revocation_keep_seconds: 86_400,
    };
    TokenService::open(parts, keys, clock.clone(), random).await.unwrap()
}

/// Users, whose passwords cost as little as they can.
async fn accounts(
    store: Arc<dyn Store>,
    keys: &StoreKeys,
    clock: &Clock,
    metrics: Arc<Metrics>,
) -> Accounts {
    let ground = AccountGround {
        store,
        store_keys: keys.clone(),
        issuer: ISSUER.to_owned(),
        clock: clock.clone(),
        random: Random::system(),
        metrics,
        audit: None,
    };
    let settings = AccountSettings { keep_seconds: 86_400, ..account_settings() };
    Accounts::open(ground, settings).await.unwrap()
}

/// A request with this form, as of a client without a header.
pub(super) fn form(parameters: &[(&str, &str)]) -> OAuthRequest {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    OAuthRequest { headers: HeaderMap::new(), form: Form::of(parameters), address: Some(address) }
}

impl OAuthRequest {
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// With `Authorization: Basic`, of texts that need no encoding.
    pub(super) fn by_secret(self, client: &CreatedClient) -> Self {
        let secret = client.client_secret.as_deref().unwrap();
        let pair = STANDARD.encode(format!("{}:{secret}", client.view.client_id));
        self.header(header::AUTHORIZATION.as_str().to_owned().leak(), &format!("Basic {pair}"))
    }
}

/// A client's own key, and its registration.
pub(super) struct ClientKey(SigningKey);

impl ClientKey {
    pub(super) fn new() -> Self {
        let pkcs8 = generate(SigningAlgorithm::Es256).unwrap();
        let key = SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8, UnixSeconds(NOW));
        Self(key.unwrap())
    }

    pub(super) fn jwks(&self) -> Value {
        json!({"keys": [self.0.jwk()]})
    }

    pub(super) fn assertion(&self, client_id: &str, jti: &str) -> String {
        self.assertion_of(client_id, jti, ISSUER, NOW + 60)
    }

    /// An assertion that is taken until some second since the epoch.
    pub(super) fn assertion_until(&self, client_id: &str, jti: &str, until: u64) -> String {
        self.assertion_of(client_id, jti, ISSUER, until)
    }

    /// An assertion for the address of an endpoint.
    pub(super) fn assertion_for(&self, client_id: &str, jti: &str, audience: &str) -> String {
        self.assertion_of(client_id, jti, audience, NOW + 60)
    }

    fn assertion_of(&self, client_id: &str, jti: &str, audience: &str, until: u64) -> String {
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": audience, "exp": until, "jti": jti,
        });
        self.0.sign("JWT", &object(claims)).unwrap()
    }
}

pub(super) fn claims_of(token: &str) -> Map<String, Value> {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload.as_bytes()).unwrap()).unwrap()
}

#[track_caller]
pub(super) fn reason(error: &OAuthError) -> &'static str {
    let OAuthError::InvalidClient(refusal) = error else { panic!("{error:?}") };
    refusal.reason
}

pub(super) const OWN: (&str, &str) = ("grant_type", "client_credentials");
