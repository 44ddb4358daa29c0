//! Errors of measurements.

use yolo_data::DataError;
use yolo_detect::DetectError;
use yolo_model::ModelError;
use yolo_nn::NnError;
use yolo_prune::PruneError;
use yolo_runtime::RuntimeError;
use yolo_train::TrainError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, MeasureError>;

/// An error of a measurement. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// A peer without a program.
    #[error("the command of the peer is empty; it takes a program with its arguments")]
    NoPeer,
    /// Another program cannot be started, does not answer as it should, or computes another network.
    #[error("{command}: {reason}")]
    Peer {
        /// How it was started.
        command: String,
        /// What is wrong.
        reason: String,
    },
    /// A line of a peer that is not a figure.
    #[error("{line}")]
    PeerFigure {
        /// What it printed.
        line: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Files for a peer cannot be written.
    #[error("a folder for the peer")]
    PeerFolder(#[source] std::io::Error),
    /// The model is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network could not be compiled for this processor, or could not run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The network cannot be loaded on the device, or the device failed.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The detector failed.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A picture cannot be encoded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The weights cannot be counted, or times do not fit them.
    #[error(transparent)]
    Prune(#[from] PruneError),
    /// A stock network cannot be made.
    #[error(transparent)]
    Train(#[from] TrainError),
}
