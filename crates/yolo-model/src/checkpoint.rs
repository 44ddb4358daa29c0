//! A detector on the host: what it looks like, its weights, and its class names.

mod torch;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::architecture::{Architecture, BATCH_NORM_EPSILON};
use crate::error::{ModelError, Result};
use crate::layout::check_tensors;
use crate::pruning::PruningRecord;
use crate::weights::{
    FloatFormat, PackOptions, Packing, PickledModule, PlainValue, StateDict, TorchCheckpoint, file_bytes,
    read_packing, read_safetensors, read_torch, write_packed, write_safetensors,
};

pub use torch::{TorchOptions, TorchSummary};

/// Keys of our metadata in a `.safetensors` file.
mod key {
    pub(super) const ARCHITECTURE: &str = "architecture";
    pub(super) const NAMES: &str = "names";
    pub(super) const STRIDE: &str = "stride";
    pub(super) const ANCHORS: &str = "anchors";
    pub(super) const PRUNING: &str = "pruning";
}

/// A detector with its weights, in plain data. Everything that does not run the network works on this:
/// fusing, pruning, summaries, files.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What the network looks like.
    pub architecture: Architecture,
    /// Its tensors, under PyTorch's names.
    pub weights: StateDict,
    /// One name per class.
    pub class_names: Vec<String>,
    /// What was pruned, how, and how much; `None` for a network that was not.
    pub pruning: Option<PruningRecord>,
}

impl Checkpoint {
    /// A detector with random weights.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] where the architecture is not consistent.
    pub fn random(architecture: Architecture, rng: &mut impl rand::Rng) -> Result<Self> {
        architecture.validate()?;
        let weights = architecture.initial_weights(rng);
        let class_names = default_names(architecture.num_classes());
        Ok(Self { architecture, weights, class_names, pruning: None })
    }

    /// Reads a `.pt` of YOLOv5, the folder that unpacking one leaves, or a `.safetensors`, packed or not; the content
    /// decides, not the name. Masks of `torch.nn.utils.prune` are multiplied in and recorded.
    ///
    /// # Errors
    /// One line that names the file, the key or tensor, and the reason.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_file(path, None)
    }

    /// [`Checkpoint::load`] for a file that may be tensors alone: then the network is `architecture` with their widths and
    /// classes. A file that describes its network is read as it is.
    ///
    /// # Errors
    /// As [`Checkpoint::load`], and tensors that do not belong to `architecture`.
    pub fn load_as(path: &Path, architecture: &Architecture) -> Result<Self> {
        Self::load_file(path, Some(architecture))
    }

    fn load_file(path: &Path, network: Option<&Architecture>) -> Result<Self> {
        let file_error = |error: ModelError| match error {
            ModelError::Weights(_) | ModelError::File { .. } => error,
            other => ModelError::File { path: path.to_owned(), reason: other.to_string() },
        };
        let checkpoint = if is_safetensors(path) {
            let (weights, metadata) = read_safetensors(path)?;
            Self::from_safetensors(weights, &metadata, network)
        } else {
            Self::from_torch(read_torch(path)?, network)
        };
        let checkpoint = checkpoint.map_err(file_error)?;
        checkpoint.check_tensors().map_err(file_error)?;
        Ok(checkpoint)
    }

    /// Writes a `.safetensors` with the architecture, names, strides, anchors and pruning record in its
    /// metadata. The file appears whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written, or a weight beyond the range of f16.
    pub fn save(&self, path: &Path, format: FloatFormat) -> Result<()> {
        Ok(write_safetensors(path, &self.weights, &self.metadata()?, format)?)
    }

    /// Writes the same file with its zeros packed (`weights/packed.rs` describes the layout); it loads as any other.
    /// The file appears whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written, or, in half precision, a weight beyond its range.
    pub fn save_packed(&self, path: &Path, options: PackOptions) -> Result<()> {
        Ok(write_packed(path, &self.weights, &self.metadata()?, options)?)
    }

    /// Bytes of the file that [`Checkpoint::save`] would write.
    ///
    /// # Errors
    /// Metadata that cannot be written.
    pub fn file_bytes(&self, format: FloatFormat) -> Result<u64> {
        Ok(file_bytes(&self.weights, &self.metadata()?, format)?)
    }

    /// What the packed file at `path` is made of, `None` for a file that is not packed.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn packing(path: &Path) -> Result<Option<Packing>> {
        if is_safetensors(path) { Ok(read_packing(path)?) } else { Ok(None) }
    }

    fn metadata(&self) -> Result<BTreeMap<String, String>> {
        let head = self.architecture.head();
        let mut metadata = BTreeMap::from([
            ("format".to_owned(), "pt".to_owned()),
            ("producer".to_owned(), concat!("yolo-prune ", env!("CARGO_PKG_VERSION")).to_owned()),
            (key::ARCHITECTURE.to_owned(), to_json(&self.architecture)?),
            (key::NAMES.to_owned(), to_json(&self.class_names)?),
            (key::STRIDE.to_owned(), to_json(&head.strides())?),
        ]);
        if let Some(anchors) = head.anchors() {
            metadata.insert(key::ANCHORS.to_owned(), to_json(&anchors)?);
        }
        if let Some(pruning) = &self.pruning {
            metadata.insert(key::PRUNING.to_owned(), to_json(pruning)?);
        }
        Ok(metadata)
    }

    fn from_safetensors(
        weights: StateDict,
        metadata: &BTreeMap<String, String>,
        network: Option<&Architecture>,
    ) -> Result<Self> {
        let Some(architecture) = metadata.get(key::ARCHITECTURE) else {
            return Self::from_plain(weights, None, None, network);
        };
        let architecture: Architecture = from_json(key::ARCHITECTURE, architecture)?;
        architecture.validate()?;
        let class_names = match metadata.get(key::NAMES) {
            Some(names) => from_json(key::NAMES, names)?,
            None => default_names(architecture.num_classes()),
        };
        let pruning = metadata.get(key::PRUNING).map(|text| from_json(key::PRUNING, text)).transpose()?;
        Ok(Self { architecture, weights, class_names, pruning })
    }

    fn from_torch(mut file: TorchCheckpoint, network: Option<&Architecture>) -> Result<Self> {
        let Some(module) = &file.module else {
            let pruning = record_of(&file);
            let plain = Self::from_plain(file.state, file.class_names, file.strides.as_deref(), network)?;
            return Ok(Self { pruning, ..plain });
        };
        let architecture = Architecture::from_module_tree(module, &file.state, file.strides.as_deref())?;
        shift_variances(module, "", &mut file.state)?;
        let pruning = record_of(&file);
        let names = file.class_names.map(|names| fitting(names, architecture.num_classes()));
        Ok(Self { pruning, ..Self::with_names(architecture, file.state, names) })
    }

    fn from_plain(
        weights: StateDict,
        names: Option<Vec<String>>,
        strides: Option<&[f32]>,
        network: Option<&Architecture>,
    ) -> Result<Self> {
        let architecture = match network {
            Some(network) => network.clone().fitted_to(&weights, strides)?,
            None => Architecture::from_state_dict(&weights, strides)?,
        };
        Ok(Self::with_names(architecture, weights, names))
    }

    fn with_names(architecture: Architecture, weights: StateDict, names: Option<Vec<String>>) -> Self {
        // In the order of the architecture, as a masked parameter comes behind those that have no mask.
        let weights = architecture.own_tensors(weights);
        let class_names = names.unwrap_or_else(|| default_names(architecture.num_classes()));
        Self { architecture, weights, class_names, pruning: None }
    }

    /// Checks that the tensors are exactly those of the architecture, with its shapes, and that the names fit.
    ///
    /// # Errors
    /// The first tensor that is missing, has another shape or does not belong there.
    pub fn check_tensors(&self) -> Result<()> {
        check_tensors(&self.architecture, &self.weights)?;
        let (names, classes) = (self.class_names.len(), self.architecture.num_classes());
        if names != classes {
            let reason = format!("it has {names} class names for {classes} classes");
            return Err(ModelError::Architecture { reason });
        }
        Ok(())
    }

    /// Checks that every value is a number, before a file is written for other programs, which take what they get.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] with the first tensor that holds NaN or an infinity.
    pub fn check_values(&self) -> Result<()> {
        for (name, tensor) in self.weights.iter() {
            let values = tensor.f32s().unwrap_or_default();
            let count = values.iter().filter(|value| !value.is_finite()).count();
            if count > 0 {
                let reason =
                    format!("{count} values are NaN or infinite, so the checkpoint is damaged; get it again");
                return Err(ModelError::Tensor { name: name.to_owned(), reason });
            }
        }
        Ok(())
    }
}

/// Makes up for another ε of batch normalisation, as release 1.0 had it: `var + ε` is what counts.
fn shift_variances(module: &PickledModule, path: &str, state: &mut StateDict) -> Result<()> {
    let epsilon = module.attribute("eps").and_then(PlainValue::as_float);
    let name = format!("{path}running_var");
    if let (Some(epsilon), true) = (epsilon, module.buffers.contains_key("running_var")) {
        if !(1e-12..=1.0).contains(&epsilon) {
            let reason = format!("its batch normalisation has the eps {epsilon}");
            return Err(ModelError::Tensor { name, reason });
        }
        let shift = epsilon - BATCH_NORM_EPSILON;
        let variances = state.get_mut(&name).filter(|_| shift.abs() > 1e-9);
        if let Some(variances) = variances.map(|tensor| tensor.f32s_mut()).transpose()? {
            variances.iter_mut().for_each(|variance| *variance = (f64::from(*variance) + shift) as f32);
        }
    }
    let mut children = module.children.iter();
    children.try_for_each(|(name, child)| shift_variances(child, &format!("{path}{name}."), state))
}

/// What a `.pt` says about a pruning: our own record, or its masks.
fn record_of(file: &TorchCheckpoint) -> Option<PruningRecord> {
    // Another program's entry of that name may be anything.
    let record =
        file.pruning.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
    if let Some(record) = record.filter(serde_json::Value::is_object) {
        return serde_json::from_value(record).ok();
    }
    let masks = &file.masks;
    if masks.pruned == 0 {
        return None;
    }
    Some(PruningRecord::Other(serde_json::json!({
        "method": "torch.nn.utils.prune",
        "amount": masks.pruned as f64 / masks.elements as f64,
        "pruned": masks.pruned,
        "tensors": masks.tensors,
    })))
}

/// As many names as the head has classes, which is what counts: files hold fewer or more of them.
fn fitting(mut names: Vec<String>, num_classes: usize) -> Vec<String> {
    let others = default_names(num_classes);
    names.truncate(num_classes);
    names.extend(others.into_iter().skip(names.len()));
    names
}

fn default_names(num_classes: usize) -> Vec<String> {
    (0..num_classes).map(|class| format!("class{class}")).collect()
}

/// A safetensors file starts with the length of its header in 8 bytes, then `{`.
fn is_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    let by_name = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    by_name || (read.is_ok() && start[8] == b'{' && !start.starts_with(b"PK"))
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| ModelError::Architecture { reason: error.to_string() })
}

fn from_json<T: serde::de::DeserializeOwned>(key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| ModelError::Architecture {
        reason: format!("its metadata key {key:?} is damaged ({error}); save the model again"),
    })
}
