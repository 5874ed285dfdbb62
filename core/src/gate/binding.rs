//! Whether a token is shown by whom it is bound to: by the key of a proof (RFC 9449) or by the
//! certificate of the connection (RFC 8705).
//!
//! Judged on every request: the cache keeps what a token is bound to, never that this was proved.

use std::rc::Rc;

use serde_json::Value;

use crate::base64url;
use crate::dpop::{self, DpopError, Expected, NonceRule, Nonces, VerifiedProof};
use crate::policy::{DpopRules, NonceMode};
use crate::reason::Reason;
use crate::time::UnixSeconds;
use crate::token::VerifiedToken;

use super::intake::{Presented, Scheme};
use super::replays::Refusal;
use super::state::seconds;
use super::{Case, Edge, Gate};

/// What a token is bound to (`cnf`, RFC 7800).
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Confirmation {
    /// To the key with this thumbprint, the certificate with this digest, or both.
    To {
        /// `jkt`: base64url of 32 bytes.
        thumbprint: Option<String>,
        /// `x5t#S256`, in hexadecimal.
        certificate: Option<String>,
    },
    /// To something that is not known here. Nobody can show that he has it.
    Unsupported,
}

impl Confirmation {
    /// Memory that it takes at most.
    pub(super) const BYTES: usize = size_of::<Self>() + 256;

    /// What `token` is bound to; `None` if it is not.
    pub(super) fn of_token(token: &VerifiedToken) -> Option<Rc<Self>> {
        let confirmation = token.claims().get("cnf")?;
        Some(Rc::new(Self::read(confirmation).unwrap_or(Self::Unsupported)))
    }

    /// Members that are not known are ignored where one that is known binds the token (RFC 7800
    /// §3.1). Alone they bind it to nobody.
    fn read(confirmation: &Value) -> Option<Self> {
        let digest = |name: &str| match confirmation.get(name) {
            None => Some(None),
            Some(value) => {
                let text = value.as_str()?;
                let digest = base64url::decode(text.as_bytes())?;
                (digest.len() == 32).then_some(Some((text, digest)))
            }
        };
        let (thumbprint, certificate) = (digest("jkt")?, digest("x5t#S256")?);
        if thumbprint.is_none() && certificate.is_none() {
            return None;
        }
        let hexadecimal = |digest: Vec<u8>| -> String {
            let digits = digest.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
            digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect()
        };
        Some(Self::To {
            thumbprint: thumbprint.map(|(text, _)| text.to_owned()),
            certificate: certificate.map(|(_, digest)| hexadecimal(digest)),
        })
    }
}

/// A token as the request shows it.
#[derive(Clone, Copy)]
pub(super) struct Shown<'a> {
    pub(super) scheme: Scheme,
    pub(super) token: &'a [u8],
}

/// A new nonce for the client, if it showed one that will soon be too old.
type NewNonce = Option<String>;

impl Gate {
    /// Judges whether a token that is bound to `confirmation` is shown by whom it is bound to.
    pub(super) fn judge_binding(
        &mut self,
        confirmation: Option<&Confirmation>,
        must_be_bound: bool,
        shown: Shown<'_>,
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Result<NewNonce, Reason> {
        let (thumbprint, certificate) = match confirmation {
            Some(Confirmation::To { thumbprint, certificate }) => (thumbprint, certificate),
            Some(Confirmation::Unsupported) => return Err(Reason::TokenBindingUnsupported),
            None if must_be_bound => return Err(Reason::TokenBindingMissing),
            None => (&None, &None),
        };
        if let Some(certificate) = certificate
            && !edge.peer_certificate_digest().eq_ignore_ascii_case(certificate.as_bytes())
        {
            return Err(Reason::TokenBindingMismatch);
        }
        match (thumbprint, shown.scheme) {
            (Some(thumbprint), Scheme::Dpop) => {
                self.judge_proof(thumbprint, shown.token, case, edge)
            }
            (None, Scheme::Bearer) => Ok(None),
            // A thief who leaves the proof out (RFC 9449 §7.2), and a client that believes a token
            // to be bound that anybody could use (RFC 9449 §7.1).
            (Some(_), Scheme::Bearer) | (None, Scheme::Dpop) => Err(Reason::TokenBindingMismatch),
        }
    }

    fn judge_proof(
        &mut self,
        thumbprint: &str,
        token: &[u8],
        case: &Case<'_>,
        edge: &dyn Edge,
    ) -> Result<NewNonce, Reason> {
        let policy = Rc::clone(&self.policy);
        let rules = policy.dpop().ok_or(Reason::TokenBindingUnsupported)?;
        let proof = match case.intake.dpop {
            Presented::Once(proof) => proof,
            Presented::Absent => return Err(Reason::DpopProofMissing),
            // RFC 9449 §4.3: which of two counts would be a guess.
            Presented::Repeated => return Err(Reason::CredentialRepeated),
        };
        let now = seconds(case.request.now_nanoseconds);
        let nonces = self.nonces_for(rules, edge)?;
        let uris = rules.uris(case.intake.authority, case.path);
        let expected = Expected {
            method: case.intake.method,
            uris: &uris,
            access_token: Some(token),
            thumbprint: Some(thumbprint),
            algorithms: &rules.algorithms,
            max_age_seconds: rules.max_age_seconds,
            clock_skew_seconds: rules.clock_skew_seconds,
            nonce: nonce_rule(rules, nonces.as_deref()),
            now,
        };
        let verified = self.limit_failures(edge, |_| {
            dpop::verify(proof, &expected, edge).map_err(|error| reason_of(error).into())
        });
        let proof = verified.map_err(|refused| refused.reason)?;
        // Last: a proof that is refused is not used up.
        self.replays.take(&proof, now, edge.shared_memory()).map_err(|refusal| match refusal {
            Refusal::Replayed => Reason::DpopProofReplayed,
            Refusal::Forgotten => Reason::DpopProofStale,
            Refusal::Full => Reason::DpopProofsFull,
            Refusal::Unreadable => Reason::FeedUnreadable,
        })?;
        Ok(nonces.and_then(|nonces| new_nonce(&proof, &nonces, now)))
    }

    /// The nonce to try again with.
    pub(super) fn nonce_for_another_try(
        &mut self,
        now_nanoseconds: u64,
        edge: &dyn Edge,
    ) -> Option<String> {
        let nonces = self.nonces.of_process(edge.shared_memory())?;
        Some(nonces.current(seconds(now_nanoseconds)))
    }

    fn nonces_for(
        &mut self,
        rules: &DpopRules,
        edge: &dyn Edge,
    ) -> Result<Option<Rc<Nonces>>, Reason> {
        match rules.nonce {
            NonceMode::Ignored => Ok(None),
            NonceMode::Optional | NonceMode::Required => {
                let nonces = self.nonces.of_process(edge.shared_memory());
                nonces.map(Some).ok_or(Reason::FeedUnreadable)
            }
        }
    }
}

fn nonce_rule<'a>(rules: &DpopRules, nonces: Option<&'a Nonces>) -> NonceRule<'a> {
    match (rules.nonce, nonces) {
        (NonceMode::Required, Some(nonces)) => NonceRule::Required(nonces),
        (NonceMode::Optional, Some(nonces)) => NonceRule::Optional(nonces),
        (NonceMode::Ignored | NonceMode::Optional | NonceMode::Required, _) => NonceRule::Ignored,
    }
}

/// A client that was given the next one with an answer needs no failed try for it (RFC 9449 §8.2).
fn new_nonce(proof: &VerifiedProof, nonces: &Nonces, now: UnixSeconds) -> NewNonce {
    let current = nonces.current(now);
    (proof.nonce() != Some(&current)).then_some(current)
}

fn reason_of(error: DpopError) -> Reason {
    match error {
        DpopError::Oversize
        | DpopError::Malformed
        | DpopError::TypeRefused
        | DpopError::AlgorithmRefused
        | DpopError::HeaderRefused
        | DpopError::KeyRefused(_)
        | DpopError::KeyTooLong
        | DpopError::ClaimInvalid
        | DpopError::SignatureInvalid => Reason::DpopProofInvalid,
        DpopError::MethodMismatch | DpopError::UriMismatch | DpopError::TokenHashMismatch => {
            Reason::DpopProofMismatch
        }
        DpopError::TooOld | DpopError::IssuedInFuture => Reason::DpopProofStale,
        DpopError::KeyMismatch => Reason::TokenBindingMismatch,
        DpopError::NonceMissing | DpopError::NonceRefused => Reason::DpopNonceRequired,
    }
}

#[cfg(test)]
mod tests;
