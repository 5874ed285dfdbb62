//! What a denied client is told: problem details (RFC 9457), the challenge (RFC 6750 §3, RFC 9449
//! §7.1, RFC 9110 §11.6.1) and the gRPC status.

use serde_json::json;

use crate::gate::intake::Scheme;
use crate::reason::Reason;

/// An answer that the proxy sends in place of the upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The body; for gRPC the message.
    pub body: Vec<u8>,
    /// Status for a gRPC client, or -1 if the request was none.
    pub grpc_status: i32,
    /// Short text for the proxy's access log.
    pub details: &'static str,
}

/// What a challenge can offer to a client without a good credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Offer<'a> {
    /// The `realm`.
    pub realm: &'a str,
    /// Whether the route takes a bearer token.
    pub bearer: bool,
    /// Accepted algorithms of proofs with spaces between, where the route takes a token with one.
    pub dpop: Option<&'a str>,
    /// How the request shows a token: an error belongs to the challenge of that scheme.
    pub shown: Option<Scheme>,
    /// Whether the route takes an API key.
    pub api_key: bool,
    /// Scopes that would do, if known (RFC 6750 §3).
    pub scope: Option<&'a str>,
}

impl<'a> Offer<'a> {
    /// Nothing is offered.
    pub const fn none(realm: &'a str) -> Self {
        Self { realm, bearer: false, dpop: None, shown: None, api_key: false, scope: None }
    }
}

/// The answer to a denied request.
pub fn deny(reason: Reason, offer: Offer<'_>, grpc: bool) -> Answer {
    let mut headers = vec![("cache-control", "no-store".to_owned())];
    headers.extend(challenges(reason, offer).into_iter().map(|text| ("www-authenticate", text)));
    if matches!(reason.status(), 429 | 503) {
        headers.push(("retry-after", "1".to_owned()));
    }
    let body = if grpc {
        format!("{}: {}", reason.code(), reason.title())
    } else {
        headers.push(("content-type", "application/problem+json".to_owned()));
        problem(reason)
    };
    Answer {
        status: reason.status(),
        headers,
        body: body.into_bytes(),
        grpc_status: if grpc { grpc_status(reason) } else { -1 },
        details: reason.code(),
    }
}

fn problem(reason: Reason) -> String {
    json!({
        "type": "about:blank",
        "title": reason.title(),
        "status": reason.status(),
        "reason": reason.code(),
    })
    .to_string()
}

/// The challenges of a 401, and of a 403 for want of scope.
fn challenges(reason: Reason, offer: Offer<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let realm = quoted(offer.realm);
    let error = token_error(reason);
    let applies = reason.status() == 401 || error.is_some();
    let is_about_dpop = offer.shown == Some(Scheme::Dpop) && offer.dpop.is_some();
    if offer.bearer && applies {
        let mut text = format!("Bearer realm=\"{realm}\"");
        append_error(&mut text, error.filter(|_| !is_about_dpop), reason, offer);
        found.push(text);
    }
    if let Some(algorithms) = offer.dpop.filter(|_| applies) {
        let mut text = format!("DPoP realm=\"{realm}\"");
        append_error(&mut text, error.filter(|_| is_about_dpop), reason, offer);
        text.push_str(&format!(", algs=\"{}\"", quoted(algorithms)));
        found.push(text);
    }
    if offer.api_key && reason.status() == 401 {
        found.push(format!("ApiKey realm=\"{realm}\", header=\"x-api-key\""));
    }
    found
}

fn append_error(text: &mut String, error: Option<&str>, reason: Reason, offer: Offer<'_>) {
    let Some(error) = error else { return };
    let description = quoted(reason.title());
    text.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
    if let Some(scope) = offer.scope.filter(|_| reason == Reason::ScopeInsufficient) {
        text.push_str(&format!(", scope=\"{}\"", quoted(scope)));
    }
}

/// The `error` of a challenge for a token (RFC 6750 §3.1, RFC 9449 §7.1 and §9); none when no
/// credential was shown, so that a client learns nothing that it did not ask for.
fn token_error(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::CredentialMalformed
        | Reason::TokenMalformed
        | Reason::TokenOversize
        | Reason::TokenTypeRefused
        | Reason::TokenCriticalHeader
        | Reason::TokenKeyEmbedded
        | Reason::TokenAlgorithmRefused
        | Reason::TokenIssuerUnknown
        | Reason::TokenKeyUnknown
        | Reason::TokenSignatureInvalid
        | Reason::TokenExpired
        | Reason::TokenNotYetValid
        | Reason::TokenIssuedInFuture
        | Reason::TokenAudienceMismatch
        | Reason::TokenClaimInvalid
        | Reason::TokenRevoked
        | Reason::TokenBindingMismatch
        | Reason::TokenBindingMissing
        | Reason::TokenBindingUnsupported => Some("invalid_token"),
        Reason::DpopProofMissing
        | Reason::DpopProofInvalid
        | Reason::DpopProofMismatch
        | Reason::DpopProofStale
        | Reason::DpopProofReplayed => Some("invalid_dpop_proof"),
        Reason::DpopNonceRequired => Some("use_dpop_nonce"),
        Reason::CredentialRepeated => Some("invalid_request"),
        Reason::PermissionMissing | Reason::ScopeInsufficient => Some("insufficient_scope"),
        Reason::CredentialMissing
        | Reason::DpopProofsFull
        | Reason::ApiKeyMalformed
        | Reason::ApiKeyUnknown
        | Reason::ApiKeyExpired
        | Reason::ApiKeyDisabled
        | Reason::ApiKeyRevoked
        | Reason::ApiKeyNetwork
        | Reason::TooManyFailures
        | Reason::RateLimited
        | Reason::PathAmbiguous
        | Reason::RequestMalformed
        | Reason::RouteMissing
        | Reason::Forbidden
        | Reason::PolicyInvalid
        | Reason::NotReady
        | Reason::SidecarUnreachable
        | Reason::FeedUnreadable
        | Reason::HostFailure => None,
    }
}

/// The gRPC status that says the same (`google.rpc.Code`).
fn grpc_status(reason: Reason) -> i32 {
    match reason.status() {
        400 => 3,  // INVALID_ARGUMENT
        401 => 16, // UNAUTHENTICATED
        429 => 8,  // RESOURCE_EXHAUSTED
        503 => 14, // UNAVAILABLE
        _ => 7,    // PERMISSION_DENIED
    }
}

/// `text` for a quoted string (RFC 9110 §5.6.4): what could end the string or the header is left
/// out, since a realm or scope comes from a configuration that may be generated.
fn quoted(text: &str) -> String {
    text.chars()
        .filter(|letter| matches!(letter, ' '..='~') && !matches!(letter, '"' | '\\'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Offer, deny};
    use crate::gate::intake::Scheme;
    use crate::reason::Reason;

    const OFFER: Offer<'static> = Offer { bearer: true, ..Offer::none("wardgate") };

    #[track_caller]
    fn challenge(reason: Reason, offer: Offer<'_>, expected: &[&str]) {
        let answer = deny(reason, offer, false);
        let found: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name == "www-authenticate")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_missing_credential_is_challenged_without_an_error() {
        challenge(Reason::CredentialMissing, OFFER, &["Bearer realm=\"wardgate\""]);
    }

    #[test]
    fn a_bad_token_is_challenged_with_invalid_token() {
        challenge(
            Reason::TokenExpired,
            OFFER,
            &["Bearer realm=\"wardgate\", error=\"invalid_token\", \
               error_description=\"The token has expired.\""],
        );
    }

    #[test]
    fn missing_scope_names_the_scope() {
        challenge(
            Reason::ScopeInsufficient,
            Offer { scope: Some("invoices"), ..OFFER },
            &["Bearer realm=\"wardgate\", error=\"insufficient_scope\", error_description=\"The \
               scopes of the credential do not cover the request.\", scope=\"invoices\""],
        );
    }

    #[test]
    fn a_route_for_api_keys_challenges_for_one() {
        let offer = Offer { bearer: false, api_key: true, ..OFFER };
        challenge(
            Reason::CredentialMissing,
            offer,
            &["ApiKey realm=\"wardgate\", header=\"x-api-key\""],
        );
    }

    #[test]
    fn a_token_with_a_proof_is_challenged_by_its_own_scheme() {
        let offer = Offer { dpop: Some("ES256 EdDSA"), ..OFFER };
        let (bearer, dpop) =
            ("Bearer realm=\"wardgate\"", "DPoP realm=\"wardgate\", algs=\"ES256 EdDSA\"");
        challenge(Reason::CredentialMissing, offer, &[bearer, dpop]);
        let shown = Offer { shown: Some(Scheme::Bearer), ..offer };
        let mismatch = "error=\"invalid_token\", error_description=\"The token is not bound to \
                        what was shown with it.\"";
        challenge(Reason::TokenBindingMismatch, shown, &[&format!("{bearer}, {mismatch}"), dpop]);
        let shown = Offer { shown: Some(Scheme::Dpop), ..offer };
        challenge(
            Reason::DpopNonceRequired,
            shown,
            &[
                bearer,
                "DPoP realm=\"wardgate\", error=\"use_dpop_nonce\", error_description=\"The proof \
                 of possession needs the nonce of this answer.\", algs=\"ES256 EdDSA\"",
            ],
        );
        challenge(
            Reason::DpopProofReplayed,
            shown,
            &[
                bearer,
                "DPoP realm=\"wardgate\", error=\"invalid_dpop_proof\", error_description=\"The \
                 proof of possession was used before.\", algs=\"ES256 EdDSA\"",
            ],
        );
    }

    #[test]
    fn a_denial_without_remedy_has_no_challenge() {
        challenge(Reason::Forbidden, OFFER, &[]);
        challenge(Reason::SidecarUnreachable, OFFER, &[]);
    }

    #[test]
    fn a_realm_cannot_break_the_header() {
        let offer = Offer { realm: "a\"\r\nb\\", ..OFFER };
        challenge(Reason::CredentialMissing, offer, &["Bearer realm=\"ab\""]);
    }

    #[test]
    fn the_body_is_problem_details_with_the_stable_code() {
        let answer = deny(Reason::RouteMissing, OFFER, false);
        assert_eq!(answer.status, 403);
        assert_eq!(
            String::from_utf8_lossy(&answer.body),
            r#"{"type":"about:blank","title":"No route permits the request.","status":403,"reason":"route-missing"}"#
        );
        assert_eq!(answer.grpc_status, -1);
    }

    #[test]
    fn a_grpc_client_gets_a_grpc_status() {
        for (reason, status) in [
            (Reason::CredentialMissing, 16),
            (Reason::Forbidden, 7),
            (Reason::NotReady, 14),
            (Reason::TooManyFailures, 8),
            (Reason::PathAmbiguous, 3),
        ] {
            assert_eq!(deny(reason, OFFER, true).grpc_status, status, "{reason:?}");
        }
    }
}
