//! What tables in memory that workers share have in common: a name, keyed places, sealed values.
//!
//! A proxy may give other plugins the same memory. So each value is under a MAC with the key that it
//! stands under, and places are keyed, so that nobody can choose whose neighbour he is.

use std::hash::Hasher as _;

use ring::hmac;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::secret::Secret;

/// What each value grows by.
pub(crate) const MAC_BYTES: usize = 16;

/// The name and the keys of a table.
#[derive(Debug)]
pub(crate) struct SealedTable {
    prefix: String,
    place_key: [u8; 16],
    mac_key: [u8; 16],
}

impl SealedTable {
    /// A table for `purpose` under keys from `secret`; its keys in memory begin with `prefix`. Workers
    /// with the same secret share it.
    pub(crate) fn new(secret: &Secret, purpose: &str, prefix: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        let derive = |what: &str| -> [u8; 16] {
            let tag = hmac::sign(&key, format!("{purpose}: {what}").as_bytes());
            let mut half = [0; 16];
            half.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
            half
        };
        let name = u128::from_be_bytes(derive("name"));
        Self {
            prefix: format!("{prefix}.{:08x}", name & 0xffff_ffff),
            place_key: derive("place"),
            mac_key: derive("mac"),
        }
    }

    /// What all its keys in memory begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Hashes what is to have a place: 64 bits say where, 64 are its tag there.
    pub(crate) fn place_of(&self, write: impl FnOnce(&mut SipHasher24)) -> (u64, u64) {
        let mut hasher = SipHasher24::new_with_key(&self.place_key);
        write(&mut hasher);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// Puts the MAC behind what is to stand under `key`.
    pub(crate) fn seal(&self, key: &str, mut payload: Vec<u8>) -> Vec<u8> {
        let mac = self.mac(key, &payload);
        payload.extend_from_slice(&mac);
        payload
    }

    /// What was sealed for `key`; nothing if it was not, or by somebody else.
    pub(crate) fn open<'a>(&self, key: &str, value: &'a [u8]) -> Option<&'a [u8]> {
        let (payload, mac) = value.split_last_chunk::<MAC_BYTES>()?;
        let is_ours = subtle::ConstantTimeEq::ct_eq(&self.mac(key, payload)[..], &mac[..]);
        bool::from(is_ours).then_some(payload)
    }

    /// SipHash-2-4 with 128 bits is a keyed function made for messages as short as these, ten times
    /// as fast as HMAC.
    fn mac(&self, key: &str, payload: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = SipHasher24::new_with_key(&self.mac_key);
        hasher.write(key.as_bytes());
        hasher.write_u8(0);
        hasher.write(payload);
        hasher.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::SealedTable;
    use crate::secret::Secret;

    fn table(secret: u8, purpose: &str) -> SealedTable {
        SealedTable::new(&Secret::new(vec![secret; 32]), purpose, "test")
    }

    #[test]
    fn a_value_opens_under_its_key_its_table_and_its_secret_only() {
        let sealed = table(1, "one").seal("place", b"value".to_vec());
        assert_eq!(table(1, "one").open("place", &sealed), Some(&b"value"[..]));
        assert_eq!(table(1, "one").open("other", &sealed), None);
        assert_eq!(table(1, "two").open("place", &sealed), None);
        assert_eq!(table(2, "one").open("place", &sealed), None);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(table(1, "one").open("place", &changed), None, "byte {index}");
            assert_eq!(table(1, "one").open("place", &sealed[..index]), None, "{index} bytes");
        }
    }

    #[test]
    fn tables_of_other_secrets_have_other_names_and_places() {
        let place = |table: &SealedTable| {
            table.place_of(|hasher| {
                std::hash::Hasher::write(hasher, b"somebody");
            })
        };
        let (one, other) = (table(1, "one"), table(2, "one"));
        assert_ne!(one.prefix(), other.prefix());
        assert_ne!(place(&one), place(&other));
        assert_eq!(place(&one), place(&table(1, "one")));
    }
}
