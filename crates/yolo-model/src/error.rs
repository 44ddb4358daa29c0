//! What can go wrong between a file and a network.

use std::path::PathBuf;

use crate::weights::WeightsError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;

/// An error in a model's description or weights. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The layers do not form a detector.
    #[error("not a usable network: {reason}")]
    Architecture {
        /// Which layer, and what is wrong with it.
        reason: String,
    },
    /// A model yaml could not be understood.
    #[error("model yaml: {reason}")]
    Yaml {
        /// Which key or line, and what it should be.
        reason: String,
    },
    /// The tensors do not fit the architecture.
    #[error("{name}: {reason}")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A weights file could not be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Something is wrong with a file as a whole.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}
