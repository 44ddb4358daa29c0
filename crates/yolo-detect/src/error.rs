//! Errors of detection.

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, DetectError>;

/// An error of a detector or of an image given to it. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectError {
    /// The networks of an ensemble have different numbers of classes.
    #[error("the networks of an ensemble need the same classes; the first has {first}, another {other}")]
    EnsembleClasses {
        /// Classes of the first network.
        first: usize,
        /// Classes of another.
        other: usize,
    },
    /// A network that answers without suppression in an ensemble.
    #[error(
        "a network that answers without suppression cannot be in an ensemble; use its one-to-many branches"
    )]
    EndToEndEnsemble,
    /// An executor without a network.
    #[error("the executor has no network; add one before it becomes a detector")]
    NoNetwork,
    /// The network's output has NaN or infinite values.
    #[error(
        "the network's output is not finite; its weights are damaged (NaN or infinite), so load them again"
    )]
    NotFinite,
    /// The same in half precision, which may be the cause: numbers above 65504 are infinite there.
    #[error("the network's output is not finite in half precision; use single precision")]
    NotFiniteInHalf,
    /// The image size does not fit the network.
    #[error("the image size {size} is not a multiple of the largest stride {stride}")]
    ImageSize {
        /// Pixels.
        size: usize,
        /// Pixels per cell of the coarsest level.
        stride: usize,
    },
    /// A network for images of other channels than red, green and blue.
    #[error("the network reads images of {channels} channels, and those of files and cameras have 3")]
    Channels {
        /// What the network reads.
        channels: usize,
    },
    /// An image whose buffer does not have the size that it states, or that has no pixels.
    #[error("{what} needs {expected} bytes and has {found}; check its width and height")]
    Pixels {
        /// The image or batch, with its size.
        what: String,
        /// Bytes that its size asks for, at least 1.
        expected: usize,
        /// Bytes in the buffer.
        found: usize,
    },
    /// The device does not compute in this format.
    #[cfg(feature = "nn")]
    #[error("the device does not compute in {format}; use single precision")]
    Format {
        /// The format.
        format: yolo_nn::HalfFormat,
    },
    /// The model is not usable.
    #[error(transparent)]
    Model(#[from] yolo_model::ModelError),
    /// The network cannot be loaded on the device, or the device failed.
    #[cfg(feature = "nn")]
    #[error(transparent)]
    Nn(#[from] yolo_nn::NnError),
    /// The network could not be compiled for this processor, or could not run.
    #[error(transparent)]
    Runtime(#[from] yolo_runtime::RuntimeError),
}
