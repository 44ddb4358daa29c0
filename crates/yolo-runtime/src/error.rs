//! What can be wrong with a network, an option or a buffer.

use crate::network::ValueId;

/// Why a plan could not be made or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// An operation whose numbers do not fit together.
    #[error("operation {index} ({what}): {reason}")]
    Operation {
        /// Position in the network's list.
        index: usize,
        /// Kind of the operation, with its name where it has one.
        what: String,
        /// What does not fit.
        reason: String,
    },
    /// The outputs asked for cannot be made.
    #[error("output of value {value}: {reason}")]
    Output {
        /// The value that was asked for.
        value: ValueId,
        /// Why it cannot be given.
        reason: String,
    },
    /// The network as a whole cannot be planned.
    #[error("cannot plan the network: {0}")]
    Network(String),
    /// This processor lacks the instructions that were asked for.
    #[error("this processor does not have {0}")]
    IsaUnavailable(&'static str),
    /// A name that stands for no kernel.
    #[error("`{text}` is not {expected}")]
    Parse {
        /// What was given.
        text: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A buffer of the wrong length.
    #[error("{what} holds {found} numbers, the plan needs {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Numbers that the plan needs.
        expected: usize,
        /// Numbers that were given.
        found: usize,
    },
    /// The checkpoint is not usable.
    #[error(transparent)]
    Model(#[from] yolo_model::ModelError),
    /// The threads could not be started.
    #[error("cannot start the threads: {0}")]
    Threads(String),
}

/// Result with [`RuntimeError`].
pub type Result<T> = std::result::Result<T, RuntimeError>;
