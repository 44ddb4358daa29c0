//! What can go wrong when a model meets data.

use yolo_data::DataError;
use yolo_model::ModelError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, TrainError>;

/// An error of validation. Every message is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Model and data set do not have the same classes.
    #[error(
        "the model has {model} classes and the data set {data}; use the weights and the data yaml that belong together"
    )]
    Classes {
        /// Classes of the model.
        model: usize,
        /// Classes of the data set.
        data: usize,
    },
    /// Every image failed to decode.
    #[error("none of the {count} images could be decoded; the first: {first}")]
    NoImages {
        /// How many there are.
        count: usize,
        /// What was wrong with the first.
        first: String,
    },
    /// The network returned something that is not a number.
    #[error(
        "the network's output is not finite; its weights are damaged (NaN or infinite), so load them again"
    )]
    NotFinite,
    /// The image size does not fit the network.
    #[error("the image size {size} is not a multiple of the largest stride {stride}")]
    ImageSize {
        /// Pixels.
        size: usize,
        /// Pixels per cell of the coarsest level.
        stride: usize,
    },
    /// A tensor could not be read back from the device.
    #[error("the device failed to return its results: {0}")]
    Device(String),
    /// A data set, an image or an annotation file is not usable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
}
