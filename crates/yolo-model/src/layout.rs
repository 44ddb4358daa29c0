//! What pruning and execution need to know of a network, whatever it is: a detector that is described by its layers, or
//! a program that was put together by hand.

use std::collections::HashMap;
use std::fmt::Debug;

use crate::architecture::{Architecture, ConvRef, TensorSpec};
use crate::checkpoint::Checkpoint;
use crate::error::{ModelError, Result};
use crate::fuse::FusedCheckpoint;
use crate::heads::{Family, LevelChannels};
use crate::program::Program;
use crate::pruning::PruningRecord;
use crate::weights::StateDict;

/// Input and output channels of convolutions, by name.
pub type Widths = HashMap<String, [usize; 2]>;

/// Side in pixels of the image that a detector's operations are counted for, as YOLOv5 reports them.
const DETECTOR_IMAGE: usize = 640;

/// A network without its weights: what it computes, and which tensors it has.
pub trait Layout: Debug + Send + Sync {
    /// The network as single operations.
    ///
    /// # Panics
    /// On a network that [`Layout::validate`] rejects.
    fn program(&self) -> Program;

    /// Every convolution, in the order of the state dict.
    fn convs(&self) -> Vec<ConvRef>;

    /// Every tensor of the state dict, in its order.
    fn tensors(&self) -> Vec<TensorSpec>;

    /// Whether batch normalisation has been folded into the convolutions, which then have a bias.
    fn is_fused(&self) -> bool;

    /// `[height, width]` of the image that operations are counted for.
    fn image_size(&self) -> [usize; 2];

    /// `[height, width]` of the image whose operations are counted and then scaled to [`Layout::image_size`].
    fn profiled_size(&self) -> [usize; 2] {
        self.image_size()
    }

    /// The same network with other numbers of channels in the convolutions that `widths` names.
    fn with_widths(&self, widths: &Widths) -> Box<dyn Layout>;

    /// Checks that the widths agree along every edge.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with the place and the two numbers that disagree.
    fn validate(&self) -> Result<()>;

    /// Number of parameters; buffers such as running statistics do not count.
    fn n_parameters(&self) -> usize {
        let parameters = self.tensors().into_iter().filter(|tensor| tensor.is_parameter);
        parameters.map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }

    /// Billions of floating-point operations for an image of [`Layout::image_size`], two per multiply-accumulate.
    fn gflops(&self) -> f64 {
        let counts = self.program().multiply_adds_per_layer(self.profiled_size(), self.is_fused());
        let scale = self.gigaflops_per_multiply_add();
        counts.into_iter().map(|count| count as f64 * scale).sum()
    }

    /// Billions of operations for an image of [`Layout::image_size`] per multiply-accumulate of the profiled one.
    fn gigaflops_per_multiply_add(&self) -> f64 {
        let ([height, width], profiled) = (self.image_size(), self.profiled_size());
        let vertical = height as f64 / profiled[0] as f64;
        let horizontal = width as f64 / profiled[1] as f64;
        2.0 * (vertical * horizontal / 1e9)
    }
}

/// The meaning of the channels of an output `[N, C, H, W]`, whose values are logits.
#[derive(Clone, Debug, PartialEq)]
pub enum Answers {
    /// Each cell answers one question; the channels are the possible answers, with the probabilities of a softmax.
    OneOf,
    /// Each channel answers a separate question: the logistic function is the probability of yes.
    YesNo,
    /// The channels are those of a level of a detector's head.
    Detections(LevelChannels),
}

/// A network with its weights.
pub trait Model {
    /// What it computes.
    fn layout(&self) -> &dyn Layout;

    /// Its tensors by name.
    fn weights(&self) -> &StateDict;

    /// What was pruned, how, and how much; `None` for a network that was not.
    fn pruning(&self) -> Option<&PruningRecord>;

    /// The meaning of its output number `output`.
    fn answers(&self, output: usize) -> Answers;

    /// Checks that the tensors are exactly those of the layout, with its shapes.
    ///
    /// # Errors
    /// The first tensor that is missing, has another shape or does not belong there.
    fn check_tensors(&self) -> Result<()> {
        check_tensors(self.layout(), self.weights())
    }
}

/// A network with weights that can be changed, so that a pruned one can be made of it.
pub trait Prunable: Model + Clone {
    /// Its tensors by name, to change their values.
    fn weights_mut(&mut self) -> &mut StateDict;

    /// Sets what was pruned.
    fn set_pruning(&mut self, record: Option<PruningRecord>);

    /// The same network with other numbers of channels in the convolutions that `widths` names, and the tensors that
    /// fit them.
    #[must_use]
    fn with_widths(&self, widths: &Widths, weights: StateDict) -> Self;
}

impl Layout for Architecture {
    fn program(&self) -> Program {
        Self::program(self)
    }

    fn convs(&self) -> Vec<ConvRef> {
        Self::convs(self)
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        Self::tensors(self)
    }

    fn is_fused(&self) -> bool {
        self.fused
    }

    fn image_size(&self) -> [usize; 2] {
        [DETECTOR_IMAGE; 2]
    }

    /// YOLOv5 profiles an image of one stride. Attention does not grow with the pixels, so the other family does not.
    fn profiled_size(&self) -> [usize; 2] {
        match self.family() {
            Family::Yolov5 => [self.max_stride(); 2],
            Family::Ultralytics => self.image_size(),
        }
    }

    fn gflops(&self) -> f64 {
        let scale = self.gigaflops_per_multiply_add();
        self.profile().into_iter().map(|count| count as f64 * scale).sum()
    }

    fn with_widths(&self, widths: &Widths) -> Box<dyn Layout> {
        Box::new(self.resized(widths))
    }

    fn validate(&self) -> Result<()> {
        Self::validate(self)
    }
}

impl Model for Checkpoint {
    fn layout(&self) -> &dyn Layout {
        &self.architecture
    }

    fn weights(&self) -> &StateDict {
        &self.weights
    }

    fn pruning(&self) -> Option<&PruningRecord> {
        self.pruning.as_ref()
    }

    fn answers(&self, output: usize) -> Answers {
        Answers::Detections(self.architecture.head().level(output))
    }

    fn check_tensors(&self) -> Result<()> {
        Self::check_tensors(self)
    }
}

impl Model for FusedCheckpoint<'_> {
    fn layout(&self) -> &dyn Layout {
        &self.architecture
    }

    fn weights(&self) -> &StateDict {
        &self.weights
    }

    fn pruning(&self) -> Option<&PruningRecord> {
        self.pruning.as_ref()
    }

    fn answers(&self, output: usize) -> Answers {
        (**self).answers(output)
    }

    fn check_tensors(&self) -> Result<()> {
        (**self).check_tensors()
    }
}

impl Prunable for Checkpoint {
    fn weights_mut(&mut self) -> &mut StateDict {
        &mut self.weights
    }

    fn set_pruning(&mut self, record: Option<PruningRecord>) {
        self.pruning = record;
    }

    fn with_widths(&self, widths: &Widths, weights: StateDict) -> Self {
        Self {
            architecture: self.architecture.resized(widths),
            weights,
            class_names: self.class_names.clone(),
            pruning: self.pruning.clone(),
        }
    }
}

/// Checks that `weights` are exactly the tensors of `layout`, with its shapes.
///
/// # Errors
/// The first tensor that is missing, has another shape or does not belong there.
pub(crate) fn check_tensors(layout: &dyn Layout, weights: &StateDict) -> Result<()> {
    let expected = layout.tensors();
    for spec in &expected {
        let tensor = weights.require(&spec.name)?;
        if tensor.shape != spec.shape {
            let reason = format!("has shape {:?} but the network needs {:?}", tensor.shape, spec.shape);
            return Err(ModelError::Tensor { name: spec.name.clone(), reason });
        }
    }
    if weights.len() > expected.len() {
        let known: std::collections::HashSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
        let stray = weights.iter().find(|(name, _)| !known.contains(name));
        if let Some((name, _)) = stray {
            let reason = "does not belong to the network that the file describes".to_owned();
            return Err(ModelError::Tensor { name: name.to_owned(), reason });
        }
    }
    Ok(())
}
