//! A token on the way to its text.

use serde_json::{Map, Value, json};
use wardgate_core::base64url;
use wardgate_core::token::Algorithm;

use super::ISSUER;
use super::signers::{self, Signer, Signers};

/// `SplitMix64`: small, and the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}

/// A way to make a signature over an input.
pub(super) type Forger = fn(&Signers, &Signer, &[u8]) -> Vec<u8>;

/// What a token will be made of.
pub(super) struct Draft {
    pub(super) now: u64,
    signer: usize,
    pub(super) unlisted: Option<Algorithm>,
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// Members put in front of the others as they are, for what no JSON value can hold.
    pub(super) raw_header: String,
    pub(super) raw_claims: String,
    /// Makes bytes of the text of the claims.
    pub(super) encode: fn(&str) -> Vec<u8>,
    /// Who signs, when it is not the signer.
    pub(super) forger: Option<Forger>,
    /// Changes to the finished text.
    pub(super) cuts: Vec<fn(String, &mut Random) -> String>,
}

impl Draft {
    /// A token that all accept.
    pub(super) fn new(now: u64, signer: usize, signers: &Signers) -> Self {
        let Signer { algorithm, unlisted, .. } = &signers.all[signer];
        let header = json!({"alg": algorithm.word(), "typ": "JWT", "kid": signers::KEY_ID});
        let claims = json!({"iss": ISSUER, "sub": "alice", "aud": "api", "exp": now + 600,
            "iat": now - 5, "roles": ["viewer"]});
        Self {
            now,
            signer,
            unlisted: *unlisted,
            header: header.as_object().unwrap().clone(),
            claims: claims.as_object().unwrap().clone(),
            raw_header: String::new(),
            raw_claims: String::new(),
            encode: |text| text.as_bytes().to_vec(),
            forger: None,
            cuts: Vec::new(),
        }
    }

    /// The token.
    pub(super) fn text(self, signers: &Signers, random: &mut Random) -> String {
        let part = |members: Map<String, Value>, raw: &str| {
            Value::Object(members).to_string().replacen('{', &format!("{{{raw}"), 1)
        };
        let header = base64url::encode(part(self.header, &self.raw_header).as_bytes());
        let claims = base64url::encode(&(self.encode)(&part(self.claims, &self.raw_claims)));
        let input = format!("{header}.{claims}");
        let signer = &signers.all[self.signer];
        let signature = match self.forger {
            None => signer.sign(input.as_bytes()),
            Some(forge) => forge(signers, signer, input.as_bytes()),
        };
        let text = format!("{input}.{}", base64url::encode(&signature));
        self.cuts.into_iter().fold(text, |text, cut| cut(text, random))
    }
}
