//! The policy file as it is written: sections and checked words, before names are resolved.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::claims::ClaimPath;
use super::dpop::DpopSection;
use super::host::HostPattern;
use super::name::{IssuerName, Method, Name};
use super::rate_limit::RateLimits;
use super::subject::Subject;
use super::template::PathTemplate;
use crate::config::{Bounded, NonEmpty};
use crate::path::Tolerance;
use crate::section;
use crate::token::Algorithm;

section! {
    /// A policy: who may do what. Everything that it does not permit is denied.
    pub struct PolicyDocument = "policy" {
        /// Version of the format; always 1.
        pub version: Bounded<1, 1>, required;
        /// Whose tokens are accepted.
        pub issuers: Vec<IssuerSection>, default(Vec::new(), json!([]));
        /// Permissions beside the built-in `read`, `write`, `delete` and `admin`.
        pub permissions: Vec<Name>, default(Vec::new(), json!([]));
        /// Roles by name.
        pub roles: BTreeMap<String, RoleSection>, default(BTreeMap::new(), json!({}));
        /// Who holds which roles, beside those that a token claims and may claim.
        pub bindings: Vec<BindingSection>, default(Vec::new(), json!([]));
        /// Scope to permissions. Once a scope stands here, a credential with scopes can do no more
        /// than its scopes name; a scope that is not here names nothing. Scopes never grant.
        pub scope_permissions: BTreeMap<String, Vec<Name>>, default(BTreeMap::new(), json!({}));
        /// What is permitted and forbidden. The order does not matter.
        pub routes: Vec<RouteSection>, required;
        /// How clients prove that they have the key that a token is bound to.
        pub dpop: DpopSection, default(DpopSection::default(), {});
        /// What happens to a request that no route permits; only `deny` is possible.
        pub default: DefaultEffect, default(DefaultEffect::Deny, "deny");
    }
}

section! {
    /// What happens to a request that no route permits.
    pub enum DefaultEffect = "default" {
        /// It is denied.
        Deny = "deny",
    }
}

section! {
    /// An issuer of tokens. Users, groups and keys of one issuer never match those of another.
    pub struct IssuerSection = "issuer" {
        /// Short name for bindings: letters a-z, digits and `-`.
        pub name: IssuerName, required;
        /// The exact `iss` claim of its tokens.
        pub issuer: NonEmpty, required;
        /// Accepted audiences; a token must name one of them in `aud`.
        pub audiences: Vec<NonEmpty>, required;
        /// Accepted signature algorithms. ES512 and HS* only if they are listed; HS* not together with others.
        pub algorithms: Vec<Algorithm>, default(Algorithm::DEFAULT.to_vec(), Algorithm::DEFAULT.iter().map(|algorithm| algorithm.word()).collect::<Vec<_>>());
        /// Accepted `typ` headers, without regard to case and to a leading `application/`.
        pub token_types: Vec<NonEmpty>, default(default_token_types(), ["JWT", "at+jwt"]);
        /// Whether a token without `typ` is accepted. Switch it off for an issuer that signs several
        /// kinds of tokens with one key.
        pub allow_absent_token_type: bool, default(true, true);
        /// Whether RSA keys above 4096 bits are used; checking them is slow.
        pub allow_rsa_above_4096_bits: bool, default(false, false);
        /// By how many seconds the clocks may differ when `exp`, `nbf` and `iat` are judged.
        pub clock_skew_seconds: Bounded<0, 300>, default(Bounded(30), 30);
        /// The public keys as a JWK Set, if they are not to come from the sidecar, or not only.
        pub jwks: Option<Map<String, Value>>, optional;
        /// Where the sidecar fetches the public keys: an `https://` URL, or `http://` on loopback.
        pub jwks_uri: Option<NonEmpty>, optional;
        /// Whether the sidecar finds `jwks_uri` by OIDC Discovery, from `issuer`.
        pub discover: bool, default(false, false);
        /// Environment variable with the shared secret of HS* algorithms, as base64url. It serves
        /// tokens without `kid` only: a token with one names a key that does not exist.
        pub hmac_secret_env: Option<NonEmpty>, optional;
        /// Where roles, groups and scopes stand in its tokens.
        pub claims: ClaimsSection, default(ClaimsSection::default(), {});
        /// Roles that its tokens may claim. All others are ignored, by default all.
        pub may_claim_roles: Vec<Name>, default(Vec::new(), json!([]));
        /// Whether its tokens are refused unless they are bound to a key (`cnf.jkt`) or to a client
        /// certificate (`cnf.x5t#S256`). One that is bound must be proved in any case.
        pub require_token_binding: bool, default(false, false);
        /// Header to the upstream to claim: names in lower case that start with `x-`.
        pub forward_claims: BTreeMap<String, ClaimPath>, default(BTreeMap::new(), json!({}));
    }
}

section! {
    /// Where roles, groups and scopes stand in a token. A claim path is names joined by dots
    /// (`realm_access.roles`), or a list of names where a name itself has a dot.
    pub struct ClaimsSection = "claims" {
        /// Claims with roles: each a string or a list of strings.
        pub roles: Vec<ClaimPath>, default(Vec::new(), json!([]));
        /// Claims with groups: each a string or a list of strings.
        pub groups: Vec<ClaimPath>, default(Vec::new(), json!([]));
        /// The claim with scopes: a string separated by spaces, or a list of strings. A claim of any
        /// other type counts as no scope at all, which restricts to nothing.
        pub scopes: ClaimPath, default(ClaimPath::single("scope"), "scope");
    }
}

section! {
    /// A role: permissions of its own and those of the roles that it inherits.
    pub struct RoleSection = "role" {
        /// Roles whose permissions it has too.
        pub inherits: Vec<Name>, default(Vec::new(), json!([]));
        /// Its own permissions.
        pub permissions: Vec<Name>, default(Vec::new(), json!([]));
    }
}

section! {
    /// Roles for subjects.
    pub struct BindingSection = "binding" {
        /// `user:<issuer name>/<subject>`, `group:<issuer name>/<group>` or `api_key:<name>`.
        pub subjects: Vec<Subject>, required;
        /// The roles that they hold.
        pub roles: Vec<Name>, required;
        /// A condition; reserved.
        pub when: Option<Condition>, optional;
    }
}

section! {
    /// A route: which requests, and what becomes of them.
    pub struct RouteSection = "route" {
        /// Its name in answers, events and metrics.
        pub name: Name, required;
        /// The requests that it is about.
        pub match_ as "match": MatchSection, required;
        /// Accepted credentials, in the order in which they are looked for. The first one present
        /// must be valid. `none`, which must be the last, lets requests without any pass as nobody.
        pub credentials: Vec<Credential>, default(Vec::new(), json!([]));
        /// The permissions that it takes. Without it every authenticated principal may, and nobody
        /// where `credentials` has `none`.
        pub require: RequireSection, default(RequireSection { all: None, any: None }, json!({}));
        /// A condition; reserved.
        pub when: Option<Condition>, optional;
        /// Whether it permits whoever meets `require`, or forbids whoever does not: a `forbid`
        /// without `require` forbids everyone. A forbid beats every permit.
        pub effect: Effect, default(Effect::Permit, "permit");
        /// Whether the decision is enforced, or only recorded.
        pub mode: Mode, default(Mode::Enforce, "enforce");
        /// Whether CORS preflights for it reach the upstream, as nobody.
        pub cors: bool, default(false, false);
        /// Whether a JWT is refused unless it is bound to a key (`cnf.jkt`) or to a client certificate
        /// (`cnf.x5t#S256`). One that is bound must be proved in any case.
        pub require_token_binding: bool, default(false, false);
        /// Whether the upstream gets the credential that was verified. Where `credentials` is
        /// `[none]` nothing is verified, and it gets all that the client sent.
        pub forward_credential: bool, default(false, false);
        /// How often it may be used.
        pub rate_limit: Option<RateLimits>, optional;
        /// Ambiguities of the path that the upstream is known to read as the gate does.
        pub allow_ambiguous: Vec<Tolerance>, default(Vec::new(), json!([]));
    }
}

section! {
    /// Which requests a route is about.
    pub struct MatchSection = "match" {
        /// Hosts without port: `api.example.com`, or `*.example.com` for everything below. All if absent.
        pub hosts: Option<Vec<HostPattern>>, optional;
        /// Methods in upper case. All if absent. `GET` does not include `HEAD`.
        pub methods: Option<Vec<Method>>, optional;
        /// Path template: literal segments, `{name}` for one segment that is not empty, and as the
        /// last one `{name...}` for all the rest, be it nothing. A slash at the end matters.
        pub path: PathTemplate, required;
    }
}

section! {
    /// Permissions that a route takes; both must be met.
    pub struct RequireSection = "require" {
        /// All of these.
        pub all: Option<Vec<Name>>, optional;
        /// At least one of these.
        pub any: Option<Vec<Name>>, optional;
    }
}

section! {
    /// A kind of credential.
    pub enum Credential = "credential" {
        /// A JWT in `Authorization: Bearer`, or in `Authorization: DPoP` with a proof.
        Jwt = "jwt",
        /// An API key in `x-api-key`.
        ApiKey = "api_key",
        /// A session cookie. Reserved: no request has one yet.
        Session = "session",
        /// No credential at all.
        None = "none",
    }
}

section! {
    /// What a route does.
    pub enum Effect = "effect" {
        /// Lets pass whoever meets `require`.
        Permit = "permit",
        /// Refuses whoever does not meet `require`.
        Forbid = "forbid",
    }
}

section! {
    /// Whether a decision counts.
    pub enum Mode = "mode" {
        /// It counts.
        Enforce = "enforce",
        /// It is made and recorded, and nothing else.
        Shadow = "shadow",
    }
}

/// A condition on the request. Reserved: a policy that has one is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition(pub String);

fn default_token_types() -> Vec<NonEmpty> {
    ["JWT", "at+jwt"].map(|token_type| NonEmpty(token_type.to_owned())).to_vec()
}

impl Default for ClaimsSection {
    fn default() -> Self {
        Self { roles: Vec::new(), groups: Vec::new(), scopes: ClaimPath::single("scope") }
    }
}

impl crate::config::Read for Condition {
    fn read(
        value: &Value,
        at: &crate::config::At<'_>,
        problems: &mut crate::config::Problems,
    ) -> Option<Self> {
        // Ignoring a condition would permit what its author did not want permitted.
        at.problem(problems, "conditions are not supported by this version; without it the rule would apply more widely than written, so the policy is refused");
        String::read(value, at, problems).map(Self)
    }

    fn kind() -> String {
        "string (reserved)".to_owned()
    }

    fn schema() -> Value {
        // Nothing matches: an editor marks the key as soon as it is written.
        json!({"not": {}})
    }
}
