//! Nothing: the manifest is what this crate is for.
