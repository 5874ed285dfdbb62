//! Files of many lines: read line by line in bounded memory, with the problems of each line by its
//! number, and progress for a person.

mod batch;
mod lines;
mod problems;
mod progress;
mod records;

pub(super) use batch::{Batch, in_batches};
pub(super) use lines::TextLines;
pub(super) use problems::Problems;
pub(super) use progress::Progress;
pub(super) use records::{Columns, MAX_LINE_BYTES, Records};
