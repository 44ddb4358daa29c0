//! What can go wrong between a checkpoint and a network that runs.

use yolo_model::ModelError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, NnError>;

/// An error of a network on a device. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// The checkpoint is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor could not be read back from the device.
    #[error("the device failed to return its results: {reason}")]
    Device {
        /// What the device said.
        reason: String,
    },
}
