//! The judge in this process: the crate jsonwebtoken.

use jsonwebtoken::{Validation, decode};
use serde_json::{Map, Value};

use super::signers::Signer;
use super::{AUDIENCES, Answer, ISSUER, SKEW};

/// What jsonwebtoken says of `token`, set up to be as strict as it can be.
pub(super) fn ask(token: &str, signer: &Signer) -> Answer {
    let mut validation = Validation {
        algorithms: signer.allowed.iter().map(|(_, theirs)| *theirs).collect(),
        leeway: SKEW,
        validate_nbf: true,
        ..Validation::default()
    };
    validation.set_audience(&AUDIENCES);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    decode::<Map<String, Value>>(token, &signer.theirs, &validation).ok().map(|data| data.claims)
}
