//! Why a request is denied: one closed list with its status, title and stable code.

use core::fmt;

/// Declares the reasons: variant, code, HTTP status, title.
macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:literal, $title:literal; )+) => {
        /// Why a request was denied.
        ///
        /// Deliberately exhaustive: a new reason must be given its status, title and place in the
        /// challenge. No variant carries data, so none can carry a secret.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason { $( $(#[doc = $doc])+ $variant, )+ }

        impl Reason {
            /// All reasons, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable code: `reason` of answers, the `reason` label of metrics and audit events.
            pub const fn code(self) -> &'static str {
                match self { $( Self::$variant => $code, )+ }
            }

            /// The HTTP status of the answer.
            pub const fn status(self) -> u16 {
                match self { $( Self::$variant => $status, )+ }
            }

            /// One sentence for a person (`title` of RFC 9457 §3.1.3).
            pub const fn title(self) -> &'static str {
                match self { $( Self::$variant => $title, )+ }
            }

            /// The reason with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $( $code => Some(Self::$variant), )+ _ => None }
            }
        }
    };
}

reasons! {
    /// No credential that the route accepts was presented.
    CredentialMissing = "credential-missing", 401, "No credential was presented.";
    /// Two credentials of one kind: which one counts would be a guess.
    CredentialRepeated = "credential-repeated", 400, "A credential was presented more than once.";
    /// The credential does not have the form of its kind.
    CredentialMalformed = "credential-malformed", 401, "The credential is malformed.";

    /// The token is not a JWS in compact form with JSON objects inside (RFC 7515 §7.1).
    TokenMalformed = "token-malformed", 401, "The token is malformed.";
    /// The token is longer than the limit.
    TokenOversize = "token-oversize", 401, "The token is too long.";
    /// The `typ` of the token is not accepted from its issuer (RFC 8725 §3.11).
    TokenTypeRefused = "token-type-refused", 401, "The type of the token is not accepted.";
    /// The token has a `crit` header, and no extension is understood (RFC 7515 §4.1.11).
    TokenCriticalHeader = "token-critical-header", 401, "The token has a critical header that is not understood.";
    /// The token brings its own key (`jwk`, `jku`, `x5u`, `x5c`): an attacker's key as good as any.
    TokenKeyEmbedded = "token-key-embedded", 401, "The token carries or names its own key.";
    /// The algorithm is `none`, unknown, or not on the issuer's allow-list (RFC 8725 §3.1).
    TokenAlgorithmRefused = "token-algorithm-refused", 401, "The algorithm of the token is not accepted.";
    /// No configured issuer has the `iss` of the token.
    TokenIssuerUnknown = "token-issuer-unknown", 401, "The issuer of the token is not known.";
    /// The issuer has no key that fits the token.
    TokenKeyUnknown = "token-key-unknown", 401, "The key of the token is not known.";
    /// The signature does not verify.
    TokenSignatureInvalid = "token-signature-invalid", 401, "The signature of the token is not valid.";
    /// `exp` has passed (RFC 7519 §4.1.4).
    TokenExpired = "token-expired", 401, "The token has expired.";
    /// `nbf` has not come (RFC 7519 §4.1.5).
    TokenNotYetValid = "token-not-yet-valid", 401, "The token is not valid yet.";
    /// `iat` lies in the future (RFC 7519 §4.1.6).
    TokenIssuedInFuture = "token-issued-in-future", 401, "The token was issued in the future.";
    /// `aud` names none of the accepted audiences (RFC 7519 §4.1.3).
    TokenAudienceMismatch = "token-audience-mismatch", 401, "The token is meant for another audience.";
    /// A claim that must stand in the token is missing or of the wrong type.
    TokenClaimInvalid = "token-claim-invalid", 401, "A required claim is missing or has the wrong type.";
    /// The token, its session, subject, client or signing key was revoked.
    TokenRevoked = "token-revoked", 401, "The token was revoked.";

    /// The token is bound (RFC 7800 `cnf`) to another key or certificate than the request shows, to
    /// none that the scheme shows, or is shown as bound and is not.
    TokenBindingMismatch = "token-binding-mismatch", 401, "The token is not bound to what was shown with it.";
    /// The token is not bound, and its issuer or the route wants one that is.
    TokenBindingMissing = "token-binding-missing", 401, "The token is not bound to a key or a certificate.";
    /// The token is bound in a way that cannot be checked here: an unknown member of `cnf`, or a key
    /// where the policy has no `dpop.origins`.
    TokenBindingUnsupported = "token-binding-unsupported", 401, "The binding of the token cannot be checked.";
    /// The token is bound to a key, and no proof of it was shown (RFC 9449 §7.1).
    DpopProofMissing = "dpop-proof-missing", 401, "The proof of possession is missing.";
    /// The proof is malformed, its key or algorithm is not accepted, or its signature is not valid.
    DpopProofInvalid = "dpop-proof-invalid", 401, "The proof of possession is not valid.";
    /// The proof was made for another method, address or token.
    DpopProofMismatch = "dpop-proof-mismatch", 401, "The proof of possession is for another request.";
    /// The proof is too old, or from the future.
    DpopProofStale = "dpop-proof-stale", 401, "The proof of possession is too old or from the future.";
    /// The proof was used before.
    DpopProofReplayed = "dpop-proof-replayed", 401, "The proof of possession was used before.";
    /// The proof has no nonce of this gate, or an old one (RFC 9449 §9).
    DpopNonceRequired = "dpop-nonce-required", 401, "The proof of possession needs the nonce of this answer.";
    /// No more proofs can be remembered for now; one that cannot be remembered cannot be accepted.
    DpopProofsFull = "dpop-proofs-full", 503, "Too many proofs of possession; try again.";

    /// The API key has not the form or the checksum of one.
    ApiKeyMalformed = "api-key-malformed", 401, "The API key is malformed.";
    /// No such API key; also when the id exists and the secret is wrong, so that ids cannot be probed.
    ApiKeyUnknown = "api-key-unknown", 401, "The API key is not known.";
    /// The API key has expired.
    ApiKeyExpired = "api-key-expired", 401, "The API key has expired.";
    /// The API key is disabled for the time being.
    ApiKeyDisabled = "api-key-disabled", 401, "The API key is disabled.";
    /// The API key was revoked.
    ApiKeyRevoked = "api-key-revoked", 401, "The API key was revoked.";
    /// The API key may not be used from the address of the client.
    ApiKeyNetwork = "api-key-network", 403, "The API key may not be used from this network.";

    /// Too many failed authentications from this address.
    TooManyFailures = "too-many-failures", 429, "Too many failed authentications from this address.";

    /// More requests than a rate limit admits.
    RateLimited = "rate-limited", 429, "Too many requests; the rate limit is reached.";

    /// The path can be read in two ways, so the upstream may see another one than was authorized.
    PathAmbiguous = "path-ambiguous", 400, "The path is ambiguous.";
    /// The request has no usable method, host or path.
    RequestMalformed = "request-malformed", 400, "The request line is malformed.";

    /// No route permits the request.
    RouteMissing = "route-missing", 403, "No route permits the request.";
    /// A route forbids the request.
    Forbidden = "forbidden", 403, "A rule forbids the request.";
    /// The roles of the principal do not grant what the route requires.
    PermissionMissing = "permission-missing", 403, "The principal lacks a required permission.";
    /// The roles would grant it; the scopes of the credential do not (RFC 6750 §3.1).
    ScopeInsufficient = "scope-insufficient", 403, "The scopes of the credential do not cover the request.";

    /// The filter has no valid policy.
    PolicyInvalid = "policy-invalid", 503, "The policy is not valid.";
    /// The filter has not yet received the state that it decides from.
    NotReady = "not-ready", 503, "The gate is not ready yet.";
    /// The sidecar was not heard for longer than the filter may go on without it.
    SidecarUnreachable = "sidecar-unreachable", 503, "The sidecar cannot be reached.";
    /// What stands in the memory of the proxy is missing, changed by someone, or older than it was.
    FeedUnreadable = "feed-unreadable", 503, "The state of the gate cannot be read.";
    /// The proxy refused a call that the decision needs.
    HostFailure = "host-failure", 503, "The proxy refused a needed call.";
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.title())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_code_is_kebab_case_and_leads_back_to_its_reason() {
        for reason in Reason::ALL {
            let code = reason.code();
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
            assert_eq!(Reason::from_code(code), Some(*reason));
        }
    }
}
