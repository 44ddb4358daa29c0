//! The files of a run: `weights/last.safetensors`, `weights/best.safetensors`, `weights/state.safetensors` and
//! `results.csv`. Each appears whole or not at all, and they are consistent at whatever moment a run is killed.

use std::path::{Path, PathBuf};

use yolo_model::Checkpoint;
use yolo_model::weights::FloatFormat;

use crate::error::Result;
use crate::masks::Masks;
use crate::train::record::results_csv;
use crate::train::state::TrainState;

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Path of the state within the folder.
    pub const STATE: &str = "weights/state.safetensors";

    /// The folder `root`, created with a folder for weights.
    ///
    /// # Errors
    /// A folder that cannot be created.
    pub fn create(root: &Path) -> Result<Self> {
        let weights = root.join("weights");
        std::fs::create_dir_all(&weights).map_err(|e| yolo_data::DataError::io(&weights, e))?;
        Ok(Self::open(root))
    }

    /// The existing folder `root` of an earlier run.
    pub fn open(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The averaged weights after the last epoch.
    pub fn last(&self) -> PathBuf {
        self.root.join("weights/last.safetensors")
    }

    /// The averaged weights of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.root.join("weights/best.safetensors")
    }

    /// The state from which a killed run is resumed; deleted when the run is done.
    pub fn state(&self) -> PathBuf {
        self.root.join(Self::STATE)
    }

    /// The table of epochs.
    pub fn results(&self) -> PathBuf {
        self.root.join("results.csv")
    }

    /// Writes the averaged weights of `state` as the last, as the best if `is_best`, and as those of the epoch
    /// if `keep_epoch`; then the table; then the state. A run that is killed in between repeats the epoch and
    /// writes the same files again.
    ///
    /// # Errors
    /// A masked weight that is not zero, or a file that cannot be written.
    pub fn save_epoch(&self, state: &TrainState, is_best: bool, keep_epoch: Option<usize>) -> Result<()> {
        let averaged = half_precision(&state.averaged(), &state.masks)?;
        if is_best {
            averaged.save(&self.best(), FloatFormat::F16)?;
        }
        if let Some(epoch) = keep_epoch {
            let file = self.root.join(format!("weights/epoch{epoch}.safetensors"));
            averaged.save(&file, FloatFormat::F16)?;
        }
        averaged.save(&self.last(), FloatFormat::F16)?;
        self.save_table(state)?;
        state.save(&self.state())
    }

    /// Writes the table of epochs.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save_table(&self, state: &TrainState) -> Result<()> {
        let table = results_csv(&state.progress.history, state.checkpoint.architecture.head().loss_terms());
        let written = yolo_files::write(self.results(), table);
        Ok(written.map_err(|e| yolo_data::DataError::io(self.results(), e))?)
    }
}

/// The checkpoint with every weight rounded to half precision, and exactly the zeros that it had.
///
/// A weight below half of the smallest number of half precision becomes that number, not zero: it was not
/// pruned, and the count of zeros is a promise.
///
/// # Errors
/// A masked weight that is not zero afterwards.
pub fn half_precision(checkpoint: &Checkpoint, masks: &Masks) -> Result<Checkpoint> {
    let smallest = half::f16::from_bits(1).to_f32();
    let mut rounded = checkpoint.clone();
    for (_, tensor) in rounded.weights.iter_mut() {
        for value in tensor.f32s_mut().into_iter().flatten() {
            let half = half::f16::from_f32(*value).to_f32();
            *value = if half == 0.0 && *value != 0.0 { smallest.copysign(*value) } else { half };
        }
    }
    masks.check(&rounded.weights, "the weights in half precision")?;
    Ok(rounded)
}
