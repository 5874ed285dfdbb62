//! Where a page of a table begins, as it is handed out and comes back.
//!
//! A cursor says what it belongs to, and then a place that only its store understands; to everyone
//! else it is a text. One that is none, or that belongs to another table or another kind of store, is
//! refused: taken for a place it would begin a list somewhere in the middle, and a list
//! that looks whole and is not hides a key or a session from whoever looks for it.

use wardgate_core::base64url;

use super::{StoreError, Table};

/// Longest cursor: the longest key, as base64url, takes two thirds of it.
const MAX_CURSOR_BYTES: usize = 8 * 1024;

/// Whose place it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The key that the page before ended with.
    Embedded,
    /// The cursor of `HSCAN` or `ZSCAN`.
    Redis,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Embedded => b'e',
            Self::Redis => b'r',
        }
    }
}

/// The cursor of a place.
pub(super) fn write(kind: Kind, table: Table, place: &str) -> String {
    base64url::encode(&[&[kind.code(), table.code()], place.as_bytes()].concat())
}

/// The place of a cursor.
///
/// # Errors
///
/// [`StoreError::CursorUnknown`] when it is none of this table in such a store.
pub(super) fn read(kind: Kind, table: Table, cursor: &str) -> Result<String, StoreError> {
    let bytes = (cursor.len() <= MAX_CURSOR_BYTES).then(|| base64url::decode(cursor.as_bytes()));
    let bytes = bytes.flatten().ok_or(StoreError::CursorUnknown)?;
    let place = bytes.strip_prefix(&[kind.code(), table.code()]).map(<[u8]>::to_vec);
    let place = place.and_then(|place| String::from_utf8(place).ok());
    place.ok_or(StoreError::CursorUnknown)
}

#[cfg(test)]
mod tests {
    use wardgate_core::base64url;

    use super::{Kind, read, write};
    use crate::store::{StoreError, Table};

    #[test]
    fn a_cursor_is_read_as_it_was_written_and_where_it_was_written() {
        let longest = "k".repeat(crate::store::MAX_KEY_BYTES);
        for place in ["", "0", "usr_1", "kéy 1", &longest] {
            let cursor = write(Kind::Embedded, Table::Users, place);
            assert_eq!(read(Kind::Embedded, Table::Users, &cursor).unwrap(), place);
            for (kind, table) in [(Kind::Embedded, Table::Clients), (Kind::Redis, Table::Users)] {
                let refused = read(kind, table, &cursor);
                assert!(matches!(refused, Err(StoreError::CursorUnknown)), "{kind:?} {table:?}");
            }
        }
    }

    #[test]
    fn what_was_never_handed_out_is_no_cursor() {
        let no_text = base64url::encode(&[b'e', Table::Users.code(), 0xff]);
        let long = write(Kind::Embedded, Table::Users, &"k".repeat(8 * 1024));
        for wrong in ["", "0", "e", "usr_1", "é", "ZQo=", &no_text, &long] {
            let refused = read(Kind::Embedded, Table::Users, wrong);
            assert!(matches!(refused, Err(StoreError::CursorUnknown)), "{wrong}");
        }
    }
}
