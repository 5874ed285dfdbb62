//! Pieces of the tables, for filters that load them.

use axum::body::Bytes;
use wardgate_core::feed::bucket::{BucketKey, ImageId, Place};
use wardgate_core::feed::{Layout, Table};
use wardgate_core::wire::feed::PIECE_BYTES;

use super::mirror::{Mirror, Place as LogPlace};
use super::{Feed, State};
use crate::store::LogPosition;

/// A question for buckets.
#[derive(Clone, Copy, Debug)]
pub struct BucketsQuestion {
    /// The table.
    pub table: Table,
    /// How the filter lays it out.
    pub layout: Layout,
    /// The first bucket of the piece.
    pub first: u32,
    /// The loading that the buckets are sealed for.
    pub image: ImageId,
    /// Where the loading began.
    pub cursor: LogPosition,
}

/// Why there is no piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PieceError {
    /// The mirror is not as far as the cursor yet, or the store is silent: ask again.
    #[error("the sidecar is not as far as the cursor")]
    Behind,
    /// The cursor is of another log, or too old for the changes since then to be told: begin anew.
    #[error("the cursor is of another log, or too old: begin the loading anew")]
    Foreign,
}

impl Feed {
    /// A piece of the buckets of a table, sealed for one loading.
    ///
    /// # Errors
    ///
    /// [`PieceError`] when the mirror cannot speak for the cursor.
    pub fn buckets(
        &self,
        key: &BucketKey,
        question: &BucketsQuestion,
    ) -> Result<Bytes, PieceError> {
        let BucketsQuestion { table, layout, first, image, cursor } = *question;
        let (mut next, mut bytes, mut buckets) = (first, 4_usize, Vec::new());
        let state = self.state();
        let mirror = state.at(&cursor)?.table(table);
        while next < layout.buckets() {
            let bucket = mirror.bucket(layout, next);
            // The length before it and the MAC behind it.
            let length = bucket.len().saturating_add(4 + 16);
            bytes = bytes.saturating_add(length);
            if bytes > PIECE_BYTES && !buckets.is_empty() {
                break;
            }
            buckets.push(bucket);
            next = next.saturating_add(1);
        }
        // Sealed without the lock: this is most of the work.
        drop(state);
        let mut piece = Vec::with_capacity(bytes);
        piece.extend_from_slice(&next.to_be_bytes());
        for (index, bucket) in (first..).zip(buckets) {
            let sealed = key.seal(&Place { image, table, index }, bucket);
            let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
            piece.extend_from_slice(&length.to_be_bytes());
            piece.extend_from_slice(&sealed);
        }
        Ok(Bytes::from(piece))
    }
}

impl State {
    /// The mirror, if it can speak for this place of the log.
    fn at(&self, cursor: &LogPosition) -> Result<&Mirror, PieceError> {
        let (mirror, _) = self.current().map_err(|_| PieceError::Behind)?;
        match mirror.place(cursor) {
            LogPlace::Here(_) => Ok(mirror),
            LogPlace::Elsewhere if cursor.sequence > mirror.head().sequence => {
                Err(PieceError::Behind)
            }
            // Older than the recent changes: what happened since then will not be told one by one.
            LogPlace::Elsewhere | LogPlace::Foreign => Err(PieceError::Foreign),
        }
    }
}
