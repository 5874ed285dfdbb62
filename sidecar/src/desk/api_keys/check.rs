//! What may stand in an API key.

use std::collections::BTreeMap;
use std::net::IpAddr;

use wardgate_core::feed::encode_api_key;
use wardgate_core::wire::{ApiKeyRecord, RateLimitRecord};

use super::ApiKeyError;

/// Longest name of a key, and of each role and scope.
const MAX_NAME_BYTES: usize = 128;
/// Letters of an id.
const ID_LETTERS: usize = 12;
/// Roles or scopes of one key; the record travels to every filter.
const MAX_LIST: usize = 100;
/// Networks of one key: a filter compares the address with each, one after the other.
const MAX_NETWORKS: usize = 64;
/// Longest issuer and subject of an owner.
const MAX_OWNER_BYTES: usize = 1024;
/// Longest description: a sentence or two.
const MAX_DESCRIPTION_BYTES: usize = 1024;
/// Members of the metadata, and their length: a ticket, a team, a cost centre. It is kept with each
/// key and read with each key.
const MAX_METADATA: usize = 32;
const MAX_METADATA_NAME_BYTES: usize = 64;
const MAX_METADATA_VALUE_BYTES: usize = 512;
/// Most requests in a period, and the longest period: beyond, a counter in microseconds overflows
/// and nobody means it.
const MAX_REQUESTS: u64 = 1_000_000_000;
const MAX_PERIOD_SECONDS: u64 = 31 * 86_400;
/// The longest life of a key, a grace or a schedule: a hundred years are a mistake in the unit.
pub(super) const MAX_SECONDS: u64 = 100 * 366 * 86_400;
/// A record is a piece of a bucket that a filter decodes whole; longer ones make all in it dear.
const MAX_RECORD_BYTES: usize = 16 * 1024;

/// The name of a new key.
pub(super) fn name(name: &str) -> Result<(), ApiKeyError> {
    if !is_name(name) {
        return Err(ApiKeyError::Invalid(
            "`name` is not 1 to 128 letters, digits and `_.:-`, beginning with a letter or digit",
        ));
    }
    // An id that is made later could be this name, and commands take either.
    if is_like_id(name) {
        return Err(ApiKeyError::Invalid(
            "`name` has the form of an id (12 letters and digits); use another length or a `-`",
        ));
    }
    Ok(())
}

/// Everything of a record that its owner chooses, and that it is not too long altogether.
pub(super) fn record(record: &ApiKeyRecord) -> Result<(), ApiKeyError> {
    if !record.roles.iter().all(|role| is_name(role)) {
        return Err(ApiKeyError::Invalid("each of `roles` is a name as it stands in the policy"));
    }
    if !record.scopes.iter().flatten().all(|scope| is_scope(scope)) {
        return Err(ApiKeyError::Invalid("each of `scopes` is 1 to 128 letters, digits and signs"));
    }
    let scopes = record.scopes.as_ref().map_or(0, Vec::len);
    if record.roles.len() > MAX_LIST || scopes > MAX_LIST {
        return Err(ApiKeyError::Invalid("more than 100 `roles` or `scopes`"));
    }
    // A subject means nothing without its issuer, and the other way round.
    if record.issuer.is_some() != record.subject.is_some() {
        return Err(ApiKeyError::Invalid("`issuer` and `subject` go together"));
    }
    let mut owner = record.issuer.iter().chain(&record.subject);
    if owner.any(|text| text.is_empty() || text.len() > MAX_OWNER_BYTES) {
        return Err(ApiKeyError::Invalid("`issuer` and `subject` are 1 to 1024 bytes"));
    }
    if record.networks.len() > MAX_NETWORKS {
        return Err(ApiKeyError::Invalid("more than 64 `networks`"));
    }
    if !record.networks.iter().all(|text| is_network(text)) {
        return Err(ApiKeyError::Invalid(
            "each of `networks` is an address or a network as 10.0.0.0/8 or 2001:db8::/32, \
             with no bit set beyond its length",
        ));
    }
    record.rate_limit.map_or(Ok(()), rate_limit)?;
    let long = encode_api_key(record).map_or(true, |bytes| bytes.len() > MAX_RECORD_BYTES);
    if long {
        return Err(ApiKeyError::Invalid("the key is longer than 16 KiB altogether"));
    }
    Ok(())
}

fn rate_limit(limit: RateLimitRecord) -> Result<(), ApiKeyError> {
    let right = (1..=MAX_REQUESTS).contains(&limit.requests)
        && (1..=MAX_PERIOD_SECONDS).contains(&limit.period_seconds);
    if right {
        return Ok(());
    }
    Err(ApiKeyError::Invalid(
        "`rate_limit` is 1 to 1000000000 requests in 1 to 2678400 seconds (31 days)",
    ))
}

/// What is kept with the key.
pub(super) fn notes(
    description: Option<&str>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), ApiKeyError> {
    if description.is_some_and(|text| text.len() > MAX_DESCRIPTION_BYTES) {
        return Err(ApiKeyError::Invalid("`description` is longer than 1024 bytes"));
    }
    let right = |(name, value): (&String, &String)| {
        (1..=MAX_METADATA_NAME_BYTES).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_graphic())
            && value.len() <= MAX_METADATA_VALUE_BYTES
    };
    if metadata.len() > MAX_METADATA || !metadata.iter().all(right) {
        return Err(ApiKeyError::Invalid(
            "`metadata` is at most 32 names of 1 to 64 letters, digits and signs, with texts of at \
             most 512 bytes",
        ));
    }
    Ok(())
}

/// A length of time from now on.
pub(super) fn lifetime(seconds: u64) -> Result<u64, ApiKeyError> {
    if (1..=MAX_SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    Err(ApiKeyError::Invalid("`expires_in_seconds` is at least 1 and at most 100 years"))
}

/// Whether it could be the id of a key.
fn is_like_id(text: &str) -> bool {
    text.len() == ID_LETTERS && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// As names of the policy: they stand in header lists and in bindings.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
}

fn is_scope(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// An address, or a network in CIDR form. Bits beyond the length are refused: `10.0.0.5/8` is
/// likelier a mistake for one address than a way to write ten million.
fn is_network(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let (Ok(address), Ok(length)) = (address.parse::<IpAddr>(), length.parse::<u32>()) else {
        return false;
    };
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128_u32),
    };
    let host_bits = width.checked_sub(length);
    let host =
        host_bits.map(|host_bits| 1_u128.checked_shl(host_bits).map(|it| it.wrapping_sub(1)));
    // A shift by all bits leaves none: the whole address is of the host.
    let no_host_bits = host.is_some_and(|mask| bits & mask.unwrap_or(u128::MAX) == 0);
    digits && no_host_bits
}

#[cfg(test)]
mod tests {
    use super::is_network;

    #[test]
    fn a_network_has_no_bits_beyond_its_length() {
        for right in
            ["10.0.0.0/8", "10.0.0.5", "0.0.0.0/0", "::/0", "2001:db8::/32", "::1", "10.0.0.5/32"]
        {
            assert!(is_network(right), "{right}");
        }
        for wrong in [
            "",
            "10.0.0.5/8",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "2001:db8::1/32",
            "10.0.0/8",
            "host/8",
            "10.0.0.0/8/8",
            "010.0.0.1",
        ] {
            assert!(!is_network(wrong), "{wrong}");
        }
    }
}
