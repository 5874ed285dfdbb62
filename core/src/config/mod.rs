//! Configuration: one declaration per section gives the checked struct, the reader that reports all
//! problems at once, the JSON Schema and the reference page.

pub mod plugin;
mod read;
pub mod section;

pub use read::{At, Bounded, NonEmpty, Problem, Problems, Read};
pub use section::{FieldDoc, SectionDoc, reference, schema_of};
