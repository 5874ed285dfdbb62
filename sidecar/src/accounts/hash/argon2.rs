//! Argon2 (RFC 9106), as PHC strings: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<digest>`.

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::memory::with_blocks;
use super::{HashError, MAX_MEMORY_KIB, ParseHashError, fields};

/// The most memory times passes, in KiB: a second or two.
pub(in crate::accounts) const MAX_WORK_KIB: u64 = 1024 * 1024;
/// The most lanes; they are computed one after the other.
const MAX_LANES: u32 = 64;
/// The least salt that the algorithm takes.
const MIN_SALT_BYTES: usize = 8;

pub(super) struct Argon2Hash {
    algorithm: Algorithm,
    version: Version,
    pub(super) memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
    salt: Vec<u8>,
    digest: Zeroizing<Vec<u8>>,
}

impl Argon2Hash {
    pub(super) fn parse(text: &str) -> Result<Self, ParseHashError> {
        let (kind, rest) = text.split_once("$m=").ok_or(ParseHashError::Form)?;
        // Before version 1.3 there was no field for it.
        let version = if kind.contains("$v=") { "" } else { "$v=16" };
        let whole = Zeroizing::new(format!("{kind}{version}$m={rest}"));
        let [kind, version, costs, salt, digest] = fields::fields::<5>(&whole)?;
        let [version] = fields::parameters(version, ["v"])?;
        let [memory_kib, passes, lanes] = fields::parameters(costs, ["m", "t", "p"])?;
        check(memory_kib, passes, lanes)?;
        let (salt, digest) = fields::salt_and_digest(salt, digest)?;
        if salt.len() < MIN_SALT_BYTES {
            return Err(ParseHashError::Length);
        }
        Ok(Self {
            algorithm: Algorithm::new(kind).map_err(|_| ParseHashError::Kind)?,
            version: Version::try_from(version).map_err(|_| ParseHashError::Form)?,
            memory_kib,
            passes,
            lanes,
            salt,
            digest: Zeroizing::new(digest),
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        let costs = (self.memory_kib, self.passes, self.lanes);
        let mut digest = Zeroizing::new(vec![0; self.digest.len()]);
        compute(self.algorithm, self.version, costs, (password, &self.salt), &mut digest)?;
        Ok(digest.as_slice().ct_eq(self.digest.as_slice()).into())
    }

    pub(super) fn kind(&self) -> &'static str {
        self.algorithm.as_str()
    }

    pub(super) fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    pub(super) fn cost(&self) -> String {
        format!("{} m={} t={} p={}", self.kind(), self.memory_kib, self.passes, self.lanes)
    }

    /// Whether it is argon2id of the newest version with at least this memory and these passes.
    pub(super) fn reaches(&self, memory_kib: u32, passes: u32) -> bool {
        self.algorithm == Algorithm::Argon2id
            && self.version == Version::V0x13
            && self.memory_kib >= memory_kib
            && self.passes >= passes
    }
}

fn check(memory_kib: u32, passes: u32, lanes: u32) -> Result<(), ParseHashError> {
    if memory_kib > MAX_MEMORY_KIB {
        return Err(ParseHashError::Cost("more than 256 MiB of memory (m=262144)"));
    }
    if u64::from(memory_kib).saturating_mul(u64::from(passes)) > MAX_WORK_KIB {
        return Err(ParseHashError::Cost("m times t is more than 1048576"));
    }
    if lanes > MAX_LANES {
        return Err(ParseHashError::Cost("more than 64 lanes (p=64)"));
    }
    // The least that the algorithm takes.
    let right = passes >= 1 && lanes >= 1 && memory_kib >= lanes.saturating_mul(8);
    if right { Ok(()) } else { Err(ParseHashError::Form) }
}

/// A new hash, of argon2id.
pub(super) fn make(
    password: &[u8],
    salt: &[u8; 16],
    costs: (u32, u32, u32),
) -> Result<Zeroizing<String>, HashError> {
    let mut digest = Zeroizing::new(vec![0; 32]);
    compute(Algorithm::Argon2id, Version::V0x13, costs, (password, salt), &mut digest)?;
    Ok(text(salt, &digest, costs))
}

/// A hash in text.
pub(super) fn text(
    salt: &[u8; 16],
    digest: &[u8],
    (memory_kib, passes, lanes): (u32, u32, u32),
) -> Zeroizing<String> {
    let (salt, digest) = (fields::encode(salt), Zeroizing::new(fields::encode(digest)));
    let digest = digest.as_str();
    Zeroizing::new(format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}"))
}

fn compute(
    algorithm: Algorithm,
    version: Version,
    (memory_kib, passes, lanes): (u32, u32, u32),
    (password, salt): (&[u8], &[u8]),
    digest: &mut [u8],
) -> Result<(), HashError> {
    let costs =
        Params::new(memory_kib, passes, lanes, Some(digest.len())).map_err(|_| HashError)?;
    let argon2 = Argon2::new(algorithm, version, costs);
    let count = argon2.params().block_count();
    with_blocks(count, |blocks| {
        argon2.hash_password_into_with_memory(password, salt, digest, blocks)
    })?
    .map_err(|_| HashError)
}
