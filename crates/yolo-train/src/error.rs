//! Errors of training and validation.

use yolo_data::DataError;
use yolo_detect::DetectError;
use yolo_eval::EvalError;
use yolo_model::ModelError;

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, TrainError>;

/// An error of training or validation. Every message is one line.
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
    /// A tensor could not be read back from the device.
    #[error("the device failed to return its results: {0}")]
    Device(String),
    /// The detector failed, or does not fit the images.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A data set, an image or an annotation file is not usable.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Detections or annotations cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The model is not usable.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network cannot run on the device.
    #[error(transparent)]
    Network(#[from] yolo_nn::NnError),
    /// A hyper-parameter file is not usable.
    #[error("{place}: {reason}; configs/hyps/ has examples")]
    Hyp {
        /// File and line.
        place: String,
        /// Which key, and what is wrong with it.
        reason: String,
    },
    /// A recipe is not usable.
    #[error("{place}: {reason}; configs/recipes/ has examples")]
    Recipe {
        /// File and line.
        place: String,
        /// Which key, and what is wrong with it.
        reason: String,
    },
    /// The saved state of a run is not usable.
    #[error("{}: not the state of a run that can be resumed: {reason}; start the run again", path.display())]
    StateFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Parts of a training state are not consistent with each other.
    #[error("the training state is not consistent: {reason}")]
    State {
        /// Which part.
        reason: String,
    },
    /// A weight that was pruned is not zero any more. It is a bug, and it ends the run.
    #[error("{tensor}: {count} pruned weights are not zero in {place}; this is a bug, please report it")]
    MaskBroken {
        /// The tensor.
        tensor: String,
        /// How many weights.
        count: usize,
        /// Whose weights they are.
        place: &'static str,
    },
    /// The loss is NaN or infinite.
    #[error(
        "the loss is not finite any more; lower the learning rate (lr0) or start from other weights. The last epoch's files are intact"
    )]
    LossNotFinite,
    /// Gradients are too large for half precision, however the loss is scaled.
    #[error(
        "the gradients overflow half precision at any loss scale; train in single precision, or with a lower learning rate (lr0)"
    )]
    Overflow,
    /// The files of a reference are not usable.
    #[error("{}: not the loss of a reference: {reason}", path.display())]
    Reference {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A fused network cannot be trained.
    #[error(
        "the network is fused (no batch normalisation left) and cannot be trained; use the weights from before fusing"
    )]
    Fused,
    /// A layer to freeze does not exist.
    #[error("there is no layer {layer} to freeze; the network has layers 0 to {}", layers - 1)]
    Freeze {
        /// The layer asked for.
        layer: usize,
        /// Number of layers.
        layers: usize,
    },
    /// The teacher does not fit.
    #[error("the teacher does not fit: {reason}")]
    Teacher {
        /// In what.
        reason: String,
    },
    /// A tensor or its file is not usable.
    #[error(transparent)]
    Weights(#[from] yolo_model::weights::WeightsError),
    /// A pruning is not possible.
    #[error(transparent)]
    Prune(#[from] yolo_prune::PruneError),
}
