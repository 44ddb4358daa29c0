//! What a YOLOv5 `.pt` file, packed or not, says: the tensors, and what the pickled network knows about itself.

use std::path::Path;

use super::StateDict;
use super::container::Container;
use super::error::{WeightsError, WeightsErrorKind, printable};
use super::masked::{self, FoldedMasks};
use super::module::{PickledModule, instance, is_module, module_tree};
use super::old_head::{self, Rewritten};
use super::pickle::{Arena, Id, MAX_PICKLE_BYTES, Unpickled, unpickle};
use super::plain::{Copier, PlainValue};
use super::tensor::{TensorReader, TensorRef};

/// More classes than any detector has.
const MAX_CLASSES: usize = 1 << 20;
/// The part of a tensor's name that v5-era files keep as a buffer and that follows from anchors and strides.
const ANCHOR_GRID: &str = "anchor_grid";
/// The entry of a checkpoint that holds our record of its pruning, as JSON.
pub(super) const PRUNING: &str = "pruning";
/// What `DataParallel` puts before every name.
const PARALLEL_PREFIX: &str = "module.";

/// The content of a `.pt` file.
#[derive(Debug, Clone)]
pub struct TorchCheckpoint {
    /// All tensors of the network, under PyTorch's names and in its order.
    pub state: StateDict,
    /// The network as it was pickled; `None` if the file only has a state dict.
    pub module: Option<PickledModule>,
    /// The class names in order of the class number.
    pub class_names: Option<Vec<String>>,
    /// Pixels per cell at each level.
    pub strides: Option<Vec<f32>>,
    /// The number of classes, from the network itself, its configuration, or its names, in that order.
    pub num_classes: Option<usize>,
    /// The configuration dict the network was built from (`yaml`).
    pub config: Option<PlainValue>,
    /// The training hyper-parameters (`hyp`).
    pub hyp: Option<PlainValue>,
    /// Masks of `torch.nn.utils.prune` that are multiplied into the tensors.
    pub masks: FoldedMasks,
    /// The record of a pruning that files of ours have, as JSON.
    pub pruning: Option<String>,
    /// Whether the tensors are the exponential moving average of the training.
    pub used_ema: bool,
    /// The last finished epoch, counted from 0; −1 in a file that was stripped for release.
    pub epoch: Option<i64>,
    /// When the file was saved, as it says so.
    pub date: Option<String>,
}

/// Reads a `.pt` file, or the folder that unpacking one leaves, without running any of its code.
///
/// Accepted are a checkpoint with a whole network under `ema` (preferred) or `model`, a bare pickled network,
/// a dict that holds a state dict, and a bare state dict.
///
/// # Errors
/// If the file is not a checkpoint, is damaged, tries to run code, or holds no detection model.
pub fn read_torch(path: impl AsRef<Path>) -> Result<TorchCheckpoint, WeightsError> {
    let path = path.as_ref();
    let mut container = Container::open(path)?;
    let pickle = container.read("data.pkl", MAX_PICKLE_BYTES)?;
    let unpickled = unpickle(&pickle).map_err(|error| error.at("data.pkl").in_file(path))?;
    drop(pickle);
    read_checkpoint(&unpickled, TensorReader::new(container), path).map_err(|error| error.in_file(path))
}

/// The training hyper-parameters (`hyp`) of the `.pt` file at `path`, if the network in it has any; of one of the package
/// `ultralytics`, the arguments of the training (`train_args`).
///
/// # Errors
/// As [`read_torch`], tensors aside.
pub fn read_hyp(path: &Path) -> Result<Option<PlainValue>, WeightsError> {
    let pickle = Container::open(path)?.read("data.pkl", MAX_PICKLE_BYTES)?;
    let Unpickled { arena, root } = unpickle(&pickle).map_err(|error| error.at("data.pkl").in_file(path))?;
    let hyp = || {
        let found = find_model(&arena, root)?;
        let attributes = instance(&arena, found.id).map(|(_, attributes)| attributes);
        let hyp = attributes.and_then(|attributes| arena.lookup(attributes, "hyp"));
        let Some(hyp) = hyp.or_else(|| arena.lookup(root, "train_args")) else {
            return Ok(None);
        };
        let hyp = Copier::new(&arena).copy(hyp)?;
        Ok(Some(hyp).filter(|hyp| matches!(hyp, PlainValue::Dict(_))))
    };
    hyp().map_err(|error: WeightsError| error.in_file(path))
}

fn read_checkpoint(
    unpickled: &Unpickled,
    mut reader: TensorReader,
    path: &Path,
) -> Result<TorchCheckpoint, WeightsError> {
    let Unpickled { arena, root } = unpickled;
    let found = find_model(arena, *root)?;
    let mut checkpoint = TorchCheckpoint {
        state: StateDict::of_file(path),
        module: None,
        class_names: None,
        strides: None,
        num_classes: None,
        config: None,
        hyp: None,
        masks: FoldedMasks::default(),
        pruning: None,
        used_ema: found.is_ema,
        epoch: None,
        date: None,
    };
    let mut is_reversed = false;
    let tensors = match found.kind {
        Kind::Module => {
            let mut module = unwrap_parallel(module_tree(arena, found.id)?);
            reject_other_tasks(&module)?;
            let Rewritten { levels_reversed } = old_head::rewrite(&mut module)?;
            let tensors =
                module.state_dict()?.into_iter().map(|(name, tensor)| (name, tensor.clone())).collect();
            checkpoint.describe(&module, &mut reader)?;
            if levels_reversed && let Some(strides) = &mut checkpoint.strides {
                strides.reverse();
            }
            is_reversed = levels_reversed;
            checkpoint.module = Some(module);
            tensors
        }
        Kind::StateDict => named_tensors(arena, found.id)?,
    };
    checkpoint.describe_file(arena, *root)?;
    checkpoint.read_tensors(tensors, &mut reader)?;
    if is_reversed {
        reverse_anchors(&mut checkpoint.state);
    }
    Ok(checkpoint)
}

/// Turns the levels of the anchors around.
fn reverse_anchors(state: &mut StateDict) {
    for (_, tensor) in state.iter_mut().filter(|(name, _)| name.ends_with(".anchors")) {
        let levels = tensor.shape.first().copied().unwrap_or(0).max(1);
        if let Ok(values) = tensor.f32s_mut() {
            let per_level = (values.len() / levels).max(1);
            let reversed: Vec<f32> = values.chunks(per_level).rev().flatten().copied().collect();
            values.copy_from_slice(&reversed);
        }
    }
}

impl TorchCheckpoint {
    fn read_tensors(
        &mut self,
        tensors: Vec<(String, TensorRef)>,
        reader: &mut TensorReader,
    ) -> Result<(), WeightsError> {
        let is_parallel = tensors.iter().all(|(name, _)| name.starts_with(PARALLEL_PREFIX));
        for (name, tensor) in tensors {
            let short = name.strip_prefix(PARALLEL_PREFIX).filter(|_| is_parallel).unwrap_or(&name);
            if short.rsplit('.').next() == Some(ANCHOR_GRID) {
                continue;
            }
            let values = reader.read(&tensor).map_err(|error| error.at(short))?;
            self.state.insert(short, values);
        }
        (self.state, self.masks) = masked::fold(std::mem::take(&mut self.state))?;
        if self.state.is_empty() {
            let reason = "the model in it has no tensors";
            return Err(WeightsError::new(
                WeightsErrorKind::NotAModel,
                reason,
                "give a YOLOv5 detection model",
            ));
        }
        Ok(())
    }

    /// What the network's own attributes say.
    fn describe(&mut self, module: &PickledModule, reader: &mut TensorReader) -> Result<(), WeightsError> {
        self.class_names = module.attribute("names").and_then(class_names);
        self.strides = match module.attribute("stride") {
            Some(PlainValue::Tensor(tensor)) => {
                let values = reader.read(tensor).map_err(|error| error.at("stride"))?;
                Some(match values.values {
                    super::Values::F32(values) => values,
                    super::Values::I64(values) => values.into_iter().map(|value| value as f32).collect(),
                })
            }
            Some(value) => value.as_slice().and_then(|items| items.iter().map(number).collect()),
            None => None,
        };
        let yaml = module.attribute("yaml").or_else(|| module.attribute("md"));
        self.config = yaml.filter(|value| matches!(value, PlainValue::Dict(_))).cloned();
        self.hyp = module.attribute("hyp").filter(|value| matches!(value, PlainValue::Dict(_))).cloned();
        let stated = module.attribute("nc").or_else(|| self.config.as_ref()?.get("nc"));
        let stated = stated.and_then(PlainValue::as_int).and_then(|count| usize::try_from(count).ok());
        self.num_classes = stated.filter(|count| *count <= MAX_CLASSES);
        Ok(())
    }

    /// What the entries beside the model say.
    fn describe_file(&mut self, arena: &Arena, root: Id) -> Result<(), WeightsError> {
        let mut copier = Copier::new(arena);
        let mut entry = |key: &str| match arena.lookup(root, key) {
            Some(id) if !is_module(arena, id) => copier.copy(id).map(Some),
            _ => Ok(None),
        };
        self.epoch = entry("epoch")?.and_then(|value| value.as_int());
        self.date = entry("date")?.and_then(|value| value.as_str().map(str::to_string));
        self.pruning = entry(PRUNING)?.and_then(|value| value.as_str().map(str::to_string));
        if self.class_names.is_none() {
            self.class_names = entry("names")?.as_ref().and_then(class_names);
        }
        self.num_classes = self.num_classes.or(self.class_names.as_ref().map(Vec::len));
        Ok(())
    }
}

fn number(value: &PlainValue) -> Option<f32> {
    value.as_float().map(|value| value as f32)
}

/// Names as a list, or as a dict from the class number, in order of that number.
fn class_names(value: &PlainValue) -> Option<Vec<String>> {
    let text = |value: &PlainValue| value.as_str().map(str::to_string);
    let PlainValue::Dict(pairs) = value else {
        return value.as_slice()?.iter().map(text).collect();
    };
    if pairs.len() > MAX_CLASSES {
        return None;
    }
    let numbered: Option<Vec<_>> =
        pairs.iter().map(|(key, value)| Some((key.as_int()?, text(value)?))).collect();
    let mut numbered = numbered?;
    numbered.sort_by_key(|(class, _)| *class);
    Some(numbered.into_iter().map(|(_, name)| name).collect())
}

enum Kind {
    Module,
    StateDict,
}

struct Found {
    id: Id,
    kind: Kind,
    is_ema: bool,
}

/// Where the model is: at the top, or under one of the usual keys.
fn find_model(arena: &Arena, root: Id) -> Result<Found, WeightsError> {
    if let Some(kind) = model_kind(arena, root) {
        return Ok(Found { id: root, kind, is_ema: false });
    }
    for key in ["ema", "model", "state_dict", "model_state_dict"] {
        let Some(id) = arena.lookup(root, key) else { continue };
        if let Some(kind) = model_kind(arena, id) {
            return Ok(Found { id, kind, is_ema: key == "ema" });
        }
    }
    let Some(pairs) = arena.pairs(root) else {
        return Err(not_a_model("holds a single value that is neither a network nor a dict".into()));
    };
    let keys: Vec<_> = pairs.iter().filter_map(|(key, _)| arena.str(*key)).take(20).map(printable).collect();
    let rest = if pairs.len() > keys.len() { ", …" } else { "" };
    Err(not_a_model(format!("holds no model: its keys are [{}{rest}]", keys.join(", "))))
}

fn not_a_model(reason: String) -> WeightsError {
    let fix = "give a YOLOv5 checkpoint with a `model` entry, or a state dict";
    WeightsError::new(WeightsErrorKind::NotAModel, reason, fix)
}

fn model_kind(arena: &Arena, id: Id) -> Option<Kind> {
    if is_module(arena, id) {
        return Some(Kind::Module);
    }
    let pairs = arena.pairs(id).filter(|pairs| !pairs.is_empty())?;
    let all_tensors =
        pairs.iter().all(|(key, value)| arena.str(*key).is_some() && looks_like_tensor(arena, *value));
    all_tensors.then_some(Kind::StateDict)
}

/// A tensor that cannot be read counts, so that the user is told why instead of "no model".
fn looks_like_tensor(arena: &Arena, id: Id) -> bool {
    !matches!(TensorRef::of(arena, id), Ok(None))
}

fn named_tensors(arena: &Arena, id: Id) -> Result<Vec<(String, TensorRef)>, WeightsError> {
    let mut tensors = Vec::new();
    for (key, value) in arena.pairs(id).unwrap_or_default() {
        let name = arena.str(*key).unwrap_or_default();
        if let Some(tensor) = TensorRef::of(arena, *value).map_err(|error| error.at(name))? {
            tensors.push((name.to_string(), tensor));
        }
    }
    Ok(tensors)
}

/// The network inside the wrapper of multi-GPU training.
fn unwrap_parallel(mut module: PickledModule) -> PickledModule {
    if !matches!(module.class_name(), "DataParallel" | "DistributedDataParallel") {
        return module;
    }
    match module.children.iter().position(|(name, _)| name == "module") {
        Some(index) => module.children.swap_remove(index).1,
        None => module,
    }
}

fn reject_other_tasks(module: &PickledModule) -> Result<(), WeightsError> {
    let layers = module.child("model").map(|layers| layers.children.as_slice()).unwrap_or_default();
    let head = layers.last().map(|(_, layer)| layer.class_name());
    let task = match (module.class_name(), head) {
        ("SegmentationModel", _) | (_, Some("Segment" | "Segment26" | "YOLOESegment")) => "segmentation",
        ("ClassificationModel", _) | (_, Some("Classify")) => "classification",
        ("PoseModel", _) | (_, Some("Pose" | "Pose26")) => "pose",
        ("OBBModel", _) | (_, Some("OBB" | "OBB26")) => "rotated-box",
        ("WorldModel" | "YOLOEModel", _) | (_, Some("WorldDetect" | "YOLOEDetect")) => "open-vocabulary",
        ("RTDETRDetectionModel", _) | (_, Some("RTDETRDecoder")) => "transformer (RT-DETR)",
        _ => return Ok(()),
    };
    let reason = format!(
        "is a {task} model (`{}`), and only detection models are supported",
        printable(&module.class)
    );
    let fix = "give a detection model such as yolov5n.pt or yolo11n.pt, not one that ends in -seg, -cls, -pose or -obb";
    Err(WeightsError::new(WeightsErrorKind::NotAModel, reason, fix))
}
