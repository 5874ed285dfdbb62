//! Case files as they are written.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};
use wardgate::config::yaml::Document;
use wardgate_core::api_key::ApiKey;
use wardgate_core::reason::Reason;

use super::keys::Keys;

/// One file: a policy and the cases that it is to decide.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// The name of the file without its extension.
    #[serde(skip)]
    pub name: String,
    /// What the file shows.
    pub description: String,
    /// The policy as written; key sets are still described. See [`CaseFile::policy`].
    policy: PolicySource,
    /// Names of keys by name of issuer, for a policy in a file of its own.
    #[serde(default)]
    keys: BTreeMap<String, Value>,
    /// The API keys that exist, by name.
    #[serde(default)]
    pub api_keys: BTreeMap<String, ApiKeySpec>,
    /// Whether Envoy normalizes paths before the filter. `false`: the filter must see them as sent.
    #[serde(default = "yes")]
    pub envoy_normalizes: bool,
    /// The cases.
    pub cases: Vec<Case>,
}

/// A policy in the file, or the path of one relative to the folder of the cases.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum PolicySource {
    File(String),
    Inline(Map<String, Value>),
}

/// An API key that exists.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeySpec {
    /// The roles of its record.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes of its record.
    #[serde(default)]
    pub scopes: Option<Vec<String>>,
    /// `active`, `disabled` or `revoked`.
    #[serde(default = "active")]
    pub state: wardgate_core::wire::ApiKeyState,
    /// Seconds from now until it expires; negative if it has.
    #[serde(default)]
    pub expires_in: Option<i64>,
    /// How often it may be used.
    #[serde(default)]
    pub rate_limit: Option<wardgate_core::wire::RateLimitRecord>,
    /// Issuer of its owner.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Subject of its owner.
    #[serde(default)]
    pub subject: Option<String>,
}

/// One request and what must become of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: String,
    /// The request.
    pub request: Request,
    /// The credentials, in the order of their headers.
    #[serde(default)]
    pub credentials: Vec<Value>,
    /// How often the same request is sent before; what becomes of those is not looked at. A case
    /// with any runs once, since it leaves something behind.
    #[serde(default)]
    pub before: u32,
    /// What must become of it.
    pub expect: Expect,
    /// The levels that it runs at; all if absent.
    #[serde(default = "Level::all")]
    pub levels: Vec<Level>,
    /// Why it does not run at all levels.
    #[serde(default)]
    pub why: Option<String>,
}

/// Where a case runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The gate in process.
    Core,
    /// The wasm file under wasmtime.
    Wasm,
    /// A real Envoy.
    Envoy,
}

impl Level {
    fn all() -> Vec<Self> {
        vec![Self::Core, Self::Wasm, Self::Envoy]
    }
}

/// A request, but for its credentials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The `:authority`.
    #[serde(default = "example_host")]
    pub host: String,
    /// The `:path`; `hex:` and digits for bytes.
    pub path: String,
    /// Header names and values in order; `hex:` and digits for bytes.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// What must become of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The decision.
    pub decision: Decision,
    /// Why not; required unless it is permitted.
    #[serde(default)]
    reason: Option<String>,
    /// The HTTP status of the answer, where it is not that of the reason, or 200.
    #[serde(default)]
    status: Option<u16>,
    /// The route that decides.
    #[serde(default)]
    pub route: Option<String>,
    /// Headers that the upstream gets exactly once, with this value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Headers that the upstream does not get, in any spelling.
    #[serde(default)]
    pub absent_headers: Vec<String>,
    /// Headers of the answer and a text that their values have in them.
    #[serde(default)]
    pub answer_headers: BTreeMap<String, String>,
    /// The gRPC status of the answer.
    #[serde(default)]
    pub grpc_status: Option<i32>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// It goes on.
    Permit,
    /// It goes on because of shadow mode only.
    ShadowDeny,
    /// It is answered by the gate.
    Deny,
}

impl Decision {
    /// The word, as in the filter state `wasm.wardgate.decision`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::ShadowDeny => "shadow-deny",
            Self::Deny => "deny",
        }
    }
}

impl Expect {
    /// The reason, if there must be one.
    pub fn reason(&self) -> Option<Reason> {
        self.reason.as_deref().and_then(Reason::from_code)
    }

    /// The HTTP status that the client must see. gRPC answers have 200.
    pub fn status(&self) -> u16 {
        let of_reason = match (self.decision, self.grpc_status) {
            (Decision::Deny, None) => self.reason().map(Reason::status),
            (Decision::Deny, Some(_)) | (Decision::Permit | Decision::ShadowDeny, _) => None,
        };
        self.status.or(of_reason).unwrap_or(200)
    }
}

impl CaseFile {
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut file: Self = serde_json::from_value(yaml(&text)?)?;
        file.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let PolicySource::File(name) = &file.policy {
            let text = std::fs::read_to_string(super::folder().join(name)).context(name.clone())?;
            let Value::Object(policy) = yaml(&text)? else { bail!("{name} is no object") };
            file.policy = PolicySource::Inline(policy);
        }
        for case in &file.cases {
            case.check().with_context(|| case.name.clone())?;
        }
        Ok(file)
    }

    /// The policy with the public keys that it describes.
    ///
    /// # Errors
    ///
    /// When it names a key that does not exist.
    pub fn policy(&self, keys: &Keys) -> Result<Value> {
        let mut policy = Value::Object(self.written_policy().clone());
        let issuers = policy.get_mut("issuers").and_then(Value::as_array_mut);
        for issuer in issuers.into_iter().flatten() {
            let name = issuer.get("name").and_then(Value::as_str).unwrap_or_default();
            let described = issuer.pointer("/jwks/generated").or_else(|| self.keys.get(name));
            let Some(described) = described.cloned() else { continue };
            if let Some(issuer) = issuer.as_object_mut() {
                issuer.insert("jwks".to_owned(), keys.jwks(&described)?);
            }
        }
        Ok(policy)
    }

    /// The issuer of this name, as written.
    pub(super) fn issuer(&self, name: &str) -> Result<&Value> {
        let issuers = self.written_policy().get("issuers").and_then(Value::as_array);
        let mut issuers = issuers.into_iter().flatten();
        let named = |issuer: &&Value| issuer.get("name").and_then(Value::as_str) == Some(name);
        issuers.find(named).ok_or_else(|| anyhow!("no issuer `{name}`"))
    }

    fn written_policy(&self) -> &Map<String, Value> {
        static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
        match &self.policy {
            PolicySource::Inline(policy) => policy,
            PolicySource::File(_) => &EMPTY,
        }
    }

    /// Whether the sidecar is needed: there are API keys, or a route takes them.
    pub fn needs_sidecar(&self) -> bool {
        let routes = self.written_policy().get("routes").and_then(Value::as_array);
        let takes = |route: &Value| {
            let credentials = route.get("credentials").and_then(Value::as_array);
            credentials.is_some_and(|list| list.contains(&Value::from("api_key")))
        };
        !self.api_keys.is_empty() || routes.into_iter().flatten().any(takes)
    }
}

impl Case {
    /// What each run of the case is called: what a cache holds must decide as what it was made from.
    pub fn runs(&self) -> &'static [&'static str] {
        // A proof is good for one request only.
        let is_proved = self.credentials.iter().any(|credential| credential.get("dpop").is_some());
        if self.before > 0 || is_proved { &["once"] } else { &["first", "again"] }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.levels.len() == Level::all().len() || self.why.is_some(), "no `why`");
        match (self.expect.decision, &self.expect.reason) {
            (Decision::Permit, None) => {}
            (Decision::Permit, Some(_)) => bail!("a permit has no reason"),
            (_, None) => bail!("a reason is missing"),
            (_, Some(code)) => ensure!(Reason::from_code(code).is_some(), "no reason `{code}`"),
        }
        Ok(())
    }
}

fn yaml(text: &str) -> Result<Value> {
    let document = Document::parse(text).map_err(|problems| anyhow!("{problems:?}"))?;
    Ok(document.value)
}

/// The bytes of a text of a case: itself, or after `hex:` what its digits say.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>> {
    let Some(digits) = text.strip_prefix("hex:") else { return Ok(text.as_bytes().to_vec()) };
    let digits: Vec<u32> = digits
        .chars()
        .filter(|letter| *letter != ' ')
        .map(|letter| letter.to_digit(16).ok_or_else(|| anyhow!("no hexadecimal: {text}")))
        .collect::<Result<_>>()?;
    ensure!(digits.len().is_multiple_of(2), "half a byte: {text}");
    let byte = |pair: &[u32]| pair.iter().fold(0, |byte: u32, digit| (byte << 4) | digit);
    Ok(digits.chunks(2).filter_map(|pair| u8::try_from(byte(pair)).ok()).collect())
}

/// An API key in clear, for a fixture.
pub(super) fn generate_api_key() -> Result<ApiKey> {
    let mut random = [0; wardgate_core::api_key::GENERATE_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| anyhow!("no randomness"))?;
    Ok(ApiKey::generate("test", &random)?)
}

const fn yes() -> bool {
    true
}

const fn active() -> wardgate_core::wire::ApiKeyState {
    wardgate_core::wire::ApiKeyState::Active
}

fn get() -> String {
    "GET".to_owned()
}

fn example_host() -> String {
    "api.example.com".to_owned()
}
