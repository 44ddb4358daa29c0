//! Everything that is needed to resume a run after it was killed, and its file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use yolo_model::weights::{FloatFormat, HostTensor, StateDict, read_safetensors, write_safetensors};
use yolo_model::{Checkpoint, PruningRecord};
use yolo_prune::{LayerMask, Mask};

use crate::ema::Ema;
use crate::error::{Result, TrainError};
use crate::loss::LossTerms;
use crate::masks::Masks;
use crate::optimizer::{Optimizer, PerParameter, Rule};
use crate::precision::LossScaler;
use crate::slim::SlimState;
use crate::train::record::EpochRecord;

/// Key of the metadata that hold all but the tensors.
const KEY: &str = "training";
/// Version of the layout.
const SCHEMA: u32 = 1;

/// A run between two batches.
#[derive(Clone, Debug)]
pub struct TrainState {
    /// The weights that are trained, in single precision.
    pub checkpoint: Checkpoint,
    /// Their average, which is validated and kept.
    pub ema: Ema,
    /// The optimiser's memory.
    pub optimizer: Optimizer,
    /// Sums of gradients since the last step.
    pub pending: PerParameter,
    /// Weights that stay zero.
    pub masks: Masks,
    /// The progress of the run.
    pub progress: Progress,
}

/// The progress of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The current epoch.
    pub epoch: usize,
    /// Batches of this epoch that are done.
    pub batch_in_epoch: usize,
    /// Batches since the start of the run.
    pub batches_seen: usize,
    /// The batch after which the optimiser last stepped.
    pub last_step: Option<usize>,
    /// Batches of this epoch that have a loss; the others had no image that could be read.
    pub losses: usize,
    /// Mean losses over the batches of this epoch.
    pub mean_loss: LossTerms,
    /// Mean distillation loss over the batches of this epoch.
    pub mean_distillation: f64,
    /// Weights of the levels in the loss; empty before the first batch.
    pub balance: Vec<f64>,
    /// Whether the first weights of the run have re-estimated batch statistics.
    pub start_reestimated: bool,
    /// The best result so far.
    pub best: Option<Best>,
    /// Epoch that patience is counted from.
    pub last_improvement: usize,
    /// mAP of every class in the last validation; empty before.
    pub class_maps: Vec<f64>,
    /// How the scales of batch normalisation are driven to zero, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slim: Option<SlimState>,
    /// The factor on the loss, in mixed precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<LossScaler>,
    /// The epochs that are done.
    pub history: Vec<EpochRecord>,
}

/// A best result.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its epoch; `None` for the first weights of the run.
    pub epoch: Option<usize>,
    /// `0.1·mAP50 + 0.9·mAP`.
    pub fitness: f64,
}

/// The content of the file's metadata.
#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    rule: Rule,
    weight_decay: f64,
    steps: u64,
    ema_updates: u64,
    /// Elements of every mask.
    mask_lengths: BTreeMap<String, usize>,
    architecture: yolo_model::Architecture,
    class_names: Vec<String>,
    pruning: Option<PruningRecord>,
    progress: Progress,
}

/// Prefixes of tensor names in the file.
mod prefix {
    pub(super) const EMA: &str = "ema/";
    pub(super) const FIRST: &str = "optimizer/first/";
    pub(super) const SECOND: &str = "optimizer/second/";
    pub(super) const PENDING: &str = "pending/";
    pub(super) const MASK: &str = "mask/";
    pub(super) const WEIGHTS: &str = "weights/";
}

impl TrainState {
    /// The state before the first batch.
    ///
    /// # Errors
    /// A mask that does not fit the checkpoint.
    pub fn new(mut checkpoint: Checkpoint, masks: Masks, rule: Rule) -> Result<Self> {
        masks.remove_from(&mut checkpoint.weights)?;
        let mean_loss = LossTerms::zero(checkpoint.architecture.head());
        let progress = Progress { mean_loss, ..Progress::default() };
        Ok(Self {
            ema: Ema::new(&checkpoint.weights),
            checkpoint,
            optimizer: Optimizer::new(rule, 0.0),
            pending: PerParameter::new(),
            masks,
            progress,
        })
    }

    /// The averaged weights as a checkpoint.
    pub fn averaged(&self) -> Checkpoint {
        let Checkpoint { architecture, class_names, pruning, .. } = &self.checkpoint;
        Checkpoint {
            architecture: architecture.clone(),
            weights: self.ema.weights.clone(),
            class_names: class_names.clone(),
            pruning: pruning.clone(),
        }
    }

    /// Checks that every masked weight is zero, in the weights and in their average.
    ///
    /// # Errors
    /// [`TrainError::MaskBroken`] where one is not.
    pub fn check_masks(&self) -> Result<()> {
        self.masks.check(&self.checkpoint.weights, "the weights")?;
        self.masks.check(&self.ema.weights, "their average")
    }

    /// Writes the state to `path`, whole or not at all.
    ///
    /// # Errors
    /// A masked weight that is not zero, or a file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.check_masks()?;
        let mut tensors = StateDict::new();
        for (name, tensor) in self.checkpoint.weights.iter() {
            tensors.insert(format!("{}{name}", prefix::WEIGHTS), tensor.clone());
        }
        for (name, tensor) in self.ema.weights.iter() {
            tensors.insert(format!("{}{name}", prefix::EMA), tensor.clone());
        }
        let flat = [
            (prefix::FIRST, &self.optimizer.first),
            (prefix::SECOND, &self.optimizer.second),
            (prefix::PENDING, &self.pending),
        ];
        for (prefix, values) in flat {
            for (name, values) in values {
                tensors
                    .insert(format!("{prefix}{name}"), HostTensor::from_f32s([values.len()], values.clone()));
            }
        }
        for (name, mask) in self.masks.layers() {
            let words: Vec<i64> = mask.words().iter().map(|word| word.cast_signed()).collect();
            tensors.insert(format!("{}{name}", prefix::MASK), HostTensor::from_i64s([words.len()], words));
        }
        let header = serde_json::to_string(&self.header()).map_err(|e| damaged(path, &e))?;
        let metadata = BTreeMap::from([(KEY.to_owned(), header)]);
        write_safetensors(path, &tensors, &metadata, FloatFormat::F32)?;
        Ok(())
    }

    fn header(&self) -> Header {
        let lengths = self.masks.layers().map(|(name, mask)| (name.to_owned(), mask.len()));
        Header {
            schema: SCHEMA,
            rule: self.optimizer.rule,
            weight_decay: self.optimizer.weight_decay,
            steps: self.optimizer.steps,
            ema_updates: self.ema.updates,
            mask_lengths: lengths.collect(),
            architecture: self.checkpoint.architecture.clone(),
            class_names: self.checkpoint.class_names.clone(),
            pruning: self.checkpoint.pruning.clone(),
            progress: self.progress.clone(),
        }
    }

    /// Reads a file written by [`TrainState::save`].
    ///
    /// # Errors
    /// A file that is not such a state, or whose masks do not hold.
    pub fn load(path: &Path) -> Result<Self> {
        let (tensors, metadata) = read_safetensors(path)?;
        let Some(header) = metadata.get(KEY) else {
            return Err(damaged(path, &"it is not the state of a training run"));
        };
        let header: Header = serde_json::from_str(header).map_err(|e| damaged(path, &e))?;
        if header.schema != SCHEMA {
            return Err(damaged(path, &format!("its layout is version {}, not {SCHEMA}", header.schema)));
        }
        header.architecture.validate()?;
        let mut parts = Parts::default();
        for (name, tensor) in tensors {
            parts.take(&name, tensor, &header.mask_lengths).map_err(|reason| damaged(path, &reason))?;
        }
        let Header { architecture, class_names, pruning, .. } = header;
        let checkpoint = Checkpoint { architecture, weights: parts.weights, class_names, pruning };
        checkpoint.check_tensors()?;
        let state = Self {
            ema: Ema { weights: parts.ema, updates: header.ema_updates },
            optimizer: Optimizer {
                rule: header.rule,
                weight_decay: header.weight_decay,
                // It follows from the network, and is set as the run continues.
                fast: Vec::new(),
                first: parts.first,
                second: parts.second,
                steps: header.steps,
            },
            pending: parts.pending,
            masks: Masks::from_layers(parts.masks),
            progress: header.progress,
            checkpoint,
        };
        state.averaged().check_tensors()?;
        state.check_masks()?;
        Ok(state)
    }
}

/// The tensors of a file by what they are.
#[derive(Default)]
struct Parts {
    weights: StateDict,
    ema: StateDict,
    first: PerParameter,
    second: PerParameter,
    pending: PerParameter,
    masks: Vec<LayerMask>,
}

impl Parts {
    fn take(
        &mut self,
        name: &str,
        tensor: HostTensor,
        mask_lengths: &BTreeMap<String, usize>,
    ) -> std::result::Result<(), String> {
        let unfit = |e: yolo_model::weights::WeightsError| e.to_string();
        if let Some(name) = name.strip_prefix(prefix::WEIGHTS) {
            self.weights.insert(name, tensor);
        } else if let Some(name) = name.strip_prefix(prefix::EMA) {
            self.ema.insert(name, tensor);
        } else if let Some(tensor_name) = name.strip_prefix(prefix::MASK) {
            let words = tensor.i64s().map_err(unfit)?.iter().map(|word| word.cast_unsigned()).collect();
            let length = mask_lengths.get(tensor_name).copied().unwrap_or(0);
            let mask = Mask::from_words(words, length);
            let mask = mask.ok_or_else(|| format!("{name} does not have {length} bits"))?;
            self.masks.push(LayerMask { tensor: tensor_name.to_owned(), mask });
        } else {
            let lists = [
                (prefix::FIRST, &mut self.first),
                (prefix::SECOND, &mut self.second),
                (prefix::PENDING, &mut self.pending),
            ];
            for (prefix, list) in lists {
                if let Some(name) = name.strip_prefix(prefix) {
                    list.insert(name.to_owned(), tensor.f32s().map_err(unfit)?.to_vec());
                    return Ok(());
                }
            }
            return Err(format!("{name} is not part of the state of a training run"));
        }
        Ok(())
    }
}

fn damaged(path: &Path, reason: &dyn std::fmt::Display) -> TrainError {
    TrainError::StateFile { path: path.to_owned(), reason: reason.to_string() }
}
