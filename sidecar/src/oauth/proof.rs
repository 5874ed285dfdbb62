//! The key that a client proves to have (RFC 9449 §5): its new tokens are bound to it.

use wardgate_core::dpop::{self, DEFAULT_ALGORITHMS, Expected, HttpUri, NonceRule, VerifiedProof};
use wardgate_core::token::SoftwareSignatures;

use super::used::use_once;
use super::{OAuthError, OAuthRequest, TokenService};
use crate::config::DpopNonce;

/// How long a proof may be used. It is remembered for that long, so that it is taken once.
const MAX_AGE_SECONDS: u64 = 300;
/// By how much the clock of a client may be ahead.
const CLOCK_SKEW_SECONDS: u64 = 60;

/// An access token that must be presented together with the proof.
pub(super) struct Bound<'a> {
    /// The token.
    pub(super) token: &'a str,
    /// The key that it is bound to.
    pub(super) thumbprint: &'a str,
}

impl TokenService {
    /// The thumbprint of the key that a request to `path` proves its sender to have; nothing if it
    /// brings no proof.
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidDpopProof`] for a proof that is wrong or was used before,
    /// [`OAuthError::UseDpopNonce`] for one that only needs another nonce.
    pub(super) async fn proof(
        &self,
        request: &OAuthRequest,
        path: &str,
        bound: Option<&Bound<'_>>,
    ) -> Result<Option<String>, OAuthError> {
        let mut values = request.headers.get_all("dpop").iter();
        let proof = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(proof), None) => proof.as_bytes(),
            (Some(_), Some(_)) => {
                return Err(OAuthError::InvalidDpopProof(
                    "there is more than one proof".to_owned(),
                ));
            }
        };
        let verified = self.verify_proof(proof, path, bound)?;
        // Unique for one key, not for all: whoever sees an id must not be able to use it up for
        // another.
        let parts = [verified.thumbprint(), verified.token_id()];
        let until = verified.valid_until().plus(1);
        if !use_once(&**self.desk.store(), "dpop-proof", &parts, until).await? {
            return Err(OAuthError::InvalidDpopProof("the proof was used before".to_owned()));
        }
        Ok(Some(verified.thumbprint().to_owned()))
    }

    fn verify_proof(
        &self,
        proof: &[u8],
        path: &str,
        bound: Option<&Bound<'_>>,
    ) -> Result<VerifiedProof, OAuthError> {
        let uri = HttpUri::parse(&self.endpoint(path)).map_err(OAuthError::server)?;
        let expected = Expected {
            method: "POST",
            uris: &[uri],
            access_token: bound.map(|bound| bound.token.as_bytes()),
            thumbprint: bound.map(|bound| bound.thumbprint),
            algorithms: DEFAULT_ALGORITHMS,
            max_age_seconds: MAX_AGE_SECONDS,
            clock_skew_seconds: CLOCK_SKEW_SECONDS,
            nonce: match self.section.dpop_nonce {
                DpopNonce::Ignored => NonceRule::Ignored,
                DpopNonce::Optional => NonceRule::Optional(&self.nonces),
                DpopNonce::Required => NonceRule::Required(&self.nonces),
            },
            now: self.clock.now(),
        };
        dpop::verify(proof, &expected, &SoftwareSignatures).map_err(|error| {
            if error.wants_nonce() {
                OAuthError::UseDpopNonce
            } else {
                OAuthError::InvalidDpopProof(error.to_string())
            }
        })
    }

    /// The nonce that a client is to put into its next proof; nothing where they are ignored.
    pub fn dpop_nonce(&self) -> Option<String> {
        match self.section.dpop_nonce {
            DpopNonce::Ignored => None,
            DpopNonce::Optional | DpopNonce::Required => {
                Some(self.nonces.current(self.clock.now()))
            }
        }
    }
}
