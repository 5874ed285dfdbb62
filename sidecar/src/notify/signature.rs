//! How a receiver knows that a notice is ours.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

/// The header of the signature.
pub const SIGNATURE_HEADER: &str = "wardgate-signature";

/// `t=<seconds since the epoch>,v1=<hex>`: HMAC-SHA-256 of `<seconds>.<id>.<body>`. The time is part
/// of it, so that what somebody recorded is not taken again later.
pub fn sign(secret: &Secret, now: UnixSeconds, id: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{}.{id}.", now.0).as_bytes());
    context.update(body);
    let tag = context.sign();
    let mut text = format!("t={},v1=", now.0);
    for byte in tag.as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::sign;
    use wardgate_core::secret::Secret;
    use wardgate_core::time::UnixSeconds;

    #[test]
    fn the_signature_is_of_time_id_and_body() {
        let secret = Secret::new(b"0123456789abcdef0123456789abcdef".to_vec());
        let signed =
            |now, id: &str, body: &str| sign(&secret, UnixSeconds(now), id, body.as_bytes());
        // Computed with Python: hmac.new(key, b"1000.n1.{}", "sha256").hexdigest()
        let expected = "t=1000,v1=f0bc61b817f3b41a9f776efa06db0a0296177ea44bdfeb55bce77c7c9e9c0aea";
        assert_eq!(signed(1000, "n1", "{}"), expected);
        assert_ne!(signed(1001, "n1", "{}")[7..], expected[7..]);
        assert_ne!(signed(1000, "n2", "{}"), expected);
        assert_ne!(signed(1000, "n1", "{ }"), expected);
    }
}
