//! The parts of `detect`: what it looks at and what it writes.

pub(crate) mod download;
pub(crate) mod output;
pub(crate) mod sources;
