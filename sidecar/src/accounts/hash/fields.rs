//! The pieces of a hash in text: fields between `$`, parameters, and the three spellings of base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::{MAX_PART_BYTES, MIN_DIGEST_BYTES, ParseHashError};

/// The fields after the first `$`; as many as are expected.
pub(super) fn fields<const COUNT: usize>(text: &str) -> Result<[&str; COUNT], ParseHashError> {
    let fields: Vec<&str> = text.strip_prefix('$').unwrap_or_default().split('$').collect();
    fields.try_into().map_err(|_| ParseHashError::Form)
}

/// The values of `a=1,b=2`, exactly these names in this order.
pub(super) fn parameters<const COUNT: usize>(
    text: &str,
    names: [&str; COUNT],
) -> Result<[u32; COUNT], ParseHashError> {
    let mut values = [0; COUNT];
    let mut given = text.split(',');
    for (value, name) in values.iter_mut().zip(names) {
        let (found, number) = given.next().and_then(|it| it.split_once('=')).unwrap_or_default();
        if found != name {
            return Err(ParseHashError::Form);
        }
        *value = decimal(number)?;
    }
    given.next().map_or(Ok(values), |_| Err(ParseHashError::Form))
}

/// A number as it is written by everyone: digits, no sign, no zero before them.
pub(super) fn decimal(text: &str) -> Result<u32, ParseHashError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(ParseHashError::Form);
    }
    // More than fits is a cost that nobody can pay.
    text.parse().map_err(|_| ParseHashError::Cost("a number has more than 32 bits"))
}

/// A salt and a digest in base64 without padding.
pub(super) fn salt_and_digest(
    salt: &str,
    digest: &str,
) -> Result<(Vec<u8>, Vec<u8>), ParseHashError> {
    let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| ParseHashError::Form);
    let (salt, digest) = (decode(salt)?, decode(digest)?);
    let right = (1..=MAX_PART_BYTES).contains(&salt.len())
        && (MIN_DIGEST_BYTES..=MAX_PART_BYTES).contains(&digest.len());
    if right { Ok((salt, digest)) } else { Err(ParseHashError::Length) }
}

/// passlib's alphabet, which has `.` for `+`, as the usual one.
pub(super) fn from_passlib(text: &str) -> Result<String, ParseHashError> {
    if text.contains('+') { Err(ParseHashError::Form) } else { Ok(text.replace('.', "+")) }
}

/// Bytes in base64 without padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}
