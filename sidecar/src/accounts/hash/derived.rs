//! PBKDF2 and scrypt (RFC 8018, RFC 7914), as passlib writes them.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use scrypt::Params;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{HashError, MAX_MEMORY_KIB, ParseHashError, fields};

/// The most rounds of PBKDF2: six times what OWASP asks for, a second or two.
const MAX_ROUNDS: u32 = 4_000_000;
/// The most of N × r × p of scrypt: eight times passlib's default, a second or two.
const MAX_SCRYPT_WORK: u64 = 1 << 22;

/// `$pbkdf2-sha256$29000$<salt>$<digest>`, the base64 with `.` for `+`.
pub(super) struct Pbkdf2Hash {
    is_sha512: bool,
    rounds: NonZeroU32,
    salt: Vec<u8>,
    digest: Zeroizing<Vec<u8>>,
}

impl Pbkdf2Hash {
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        let [kind, rounds, salt, digest] = fields::fields::<4>(text)?;
        let is_sha512 = kind == "pbkdf2-sha512";
        let rounds = NonZeroU32::new(fields::decimal(rounds)?).ok_or(ParseHashError::Form)?;
        if rounds.get() > MAX_ROUNDS {
            return Err(ParseHashError::Cost("more than 4000000 rounds"));
        }
        let (salt, digest) = (fields::from_passlib(salt)?, fields::from_passlib(digest)?);
        let (salt, digest) = fields::salt_and_digest(&salt, &digest)?;
        // passlib never cuts the digest.
        if digest.len() != if is_sha512 { 64 } else { 32 } {
            return Err(ParseHashError::Form);
        }
        Ok(Self { is_sha512, rounds, salt, digest: Zeroizing::new(digest) })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        let algorithm =
            if self.is_sha512 { pbkdf2::PBKDF2_HMAC_SHA512 } else { pbkdf2::PBKDF2_HMAC_SHA256 };
        pbkdf2::verify(algorithm, self.rounds, &self.salt, password, &self.digest).is_ok()
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.is_sha512 { "pbkdf2-sha512" } else { "pbkdf2-sha256" }
    }

    pub(super) fn cost(&self) -> String {
        format!("{} {}", self.kind(), self.rounds)
    }
}

/// `$scrypt$ln=16,r=8,p=1$<salt>$<digest>`.
pub(super) struct ScryptHash {
    log_n: u32,
    block_size: u32,
    parallelism: u32,
    costs: Params,
    salt: Vec<u8>,
    digest: Zeroizing<Vec<u8>>,
}

impl ScryptHash {
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        let [_, costs, salt, digest] = fields::fields::<4>(text)?;
        let [log_n, block_size, parallelism] = fields::parameters(costs, ["ln", "r", "p"])?;
        let too_much = ParseHashError::Cost("N times r times p is more than 4194304, or 256 MiB");
        let n = 1_u64.checked_shl(log_n).ok_or(too_much)?;
        let work = n.checked_mul(u64::from(block_size)).ok_or(too_much)?;
        let all = work.checked_mul(u64::from(parallelism)).ok_or(too_much)?;
        // 128 bytes of memory each, which are an eighth of a KiB.
        if all > MAX_SCRYPT_WORK || work / 8 > u64::from(MAX_MEMORY_KIB) {
            return Err(too_much);
        }
        let log = u8::try_from(log_n).ok().filter(|log| *log > 0).ok_or(ParseHashError::Form)?;
        let costs = Params::new(log, block_size, parallelism).map_err(|_| ParseHashError::Form)?;
        let (salt, digest) = fields::salt_and_digest(salt, digest)?;
        let digest = Zeroizing::new(digest);
        Ok(Self { log_n, block_size, parallelism, costs, salt, digest })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        let mut digest = Zeroizing::new(vec![0; self.digest.len()]);
        scrypt::scrypt(password, &self.salt, &self.costs, &mut digest).map_err(|_| HashError)?;
        Ok(digest.as_slice().ct_eq(self.digest.as_slice()).into())
    }

    pub(super) fn memory_kib(&self) -> u32 {
        let blocks = 1_u32.checked_shl(self.log_n).unwrap_or(u32::MAX);
        blocks.saturating_mul(self.block_size).div_ceil(8)
    }

    pub(super) fn cost(&self) -> String {
        format!("scrypt ln={} r={} p={}", self.log_n, self.block_size, self.parallelism)
    }
}
