//! What an entry of the log says.

use wardgate_core::time::UnixSeconds;

use crate::store::Table;

/// The first byte of an entry; another layout has another.
const LAYOUT: u8 = 1;
/// The end of an entry that has none.
const NEVER: u64 = u64::MAX;

/// A key of a table has this value now. Applied again, or to a table that was read later, it does
/// no harm as long as what follows it in the log is applied too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change<'a> {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: &'a str,
    /// The value; `None` when it was removed.
    pub value: Option<&'a [u8]>,
    /// When the entry is no more; `None` for never.
    pub expires_at: Option<UnixSeconds>,
}

/// An entry of the log is of another version or damaged: its reader must read the tables anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an entry of the log is of another version, or damaged")]
pub struct DecodeChangeError;

impl<'a> Change<'a> {
    /// The entry is this now.
    pub fn put(
        table: Table,
        key: &'a str,
        value: &'a [u8],
        expires_at: Option<UnixSeconds>,
    ) -> Self {
        Self { table, key, value: Some(value), expires_at }
    }

    /// The entry is no more.
    pub fn deleted(table: Table, key: &'a str) -> Self {
        Self { table, key, value: None, expires_at: None }
    }

    /// As it stands in the log: layout, table, whether there is a value, end, length of the key, key,
    /// value.
    pub fn encode(&self) -> Vec<u8> {
        let end = self.expires_at.map_or(NEVER, |end| end.0);
        let length = u32::try_from(self.key.len()).unwrap_or(u32::MAX);
        let mut bytes = vec![LAYOUT, self.table.code(), u8::from(self.value.is_some())];
        bytes.extend_from_slice(&end.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(self.key.as_bytes());
        bytes.extend_from_slice(self.value.unwrap_or_default());
        bytes
    }

    /// Reads an entry of the log.
    ///
    /// # Errors
    ///
    /// [`DecodeChangeError`] when it is none of this layout or of an unknown table.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeChangeError> {
        Self::parts(bytes).ok_or(DecodeChangeError)
    }

    fn parts(bytes: &'a [u8]) -> Option<Self> {
        let ([layout, table, present], rest) = bytes.split_first_chunk()?;
        let (end, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (key, value) = rest.split_at_checked(length)?;
        let value = match present {
            0 if value.is_empty() => None,
            1 => Some(value),
            _ => return None,
        };
        let end = Some(u64::from_be_bytes(*end)).filter(|end| *end != NEVER);
        (*layout == LAYOUT).then_some(Self {
            table: Table::from_code(*table)?,
            key: core::str::from_utf8(key).ok()?,
            value,
            expires_at: end.map(UnixSeconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Change;
    use crate::store::Table;
    use wardgate_core::time::UnixSeconds;

    #[test]
    fn what_was_encoded_is_decoded_and_every_cut_is_refused_or_another_value() {
        let put = Change::put(Table::Revocations, "kéy", b"v", Some(UnixSeconds(7)));
        for change in
            [put, Change::deleted(Table::ApiKeys, "k"), Change::put(Table::Roles, "r", b"", None)]
        {
            let bytes = change.encode();
            assert_eq!(Change::decode(&bytes), Ok(change));
            for cut in 0..bytes.len() {
                assert_ne!(Change::decode(&bytes[..cut]), Ok(change));
            }
        }
        for (place, byte) in [(0, 2), (1, 99), (2, 2), (15, 0xff)] {
            let mut bytes = put.encode();
            bytes[place] = byte;
            assert!(Change::decode(&bytes).is_err(), "{place}");
        }
    }

    #[test]
    fn numbers_of_tables_are_their_own() {
        let found: Vec<_> = Table::ALL.iter().map(|table| Table::from_code(table.code())).collect();
        assert_eq!(found, Table::ALL.map(Some));
    }
}
