//! Why an ONNX file could not be written.

use std::path::PathBuf;

use crate::error::ModelError;

/// An error of an export. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// An option is out of range.
    #[error("{reason}")]
    Options {
        /// Which one, and what is possible.
        reason: String,
    },
    /// The model is larger than a protobuf message can be.
    #[error("the model takes {bytes} bytes and an ONNX file holds at most {limit}; export a smaller network")]
    TooLarge {
        /// What it takes, at least.
        bytes: u64,
        /// What there is.
        limit: u64,
    },
    /// The checkpoint is not consistent.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file could not be written.
    #[error(
        "{}: cannot be written: {source}; check that the folder exists, can be written, and has space left",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}
