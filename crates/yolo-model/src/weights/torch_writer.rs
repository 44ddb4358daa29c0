//! Writes what `torch.load` reads: a whole network as a checkpoint of its family's package, or a state dict.
//!
//! Both are pickles whose tensors lie beside them, one storage each. The same tensors give the same bytes.

use std::collections::HashSet;
use std::path::Path;

use yolo_files::AtomicFile;

use super::archive::ArchiveWriter;
use super::entry::{Content, Entry, encoded, unwritable};
use super::error::{WeightsError, WeightsErrorKind};
use super::masked::{MASK, ORIGINAL};
use super::pickle::{Value, pickle};
use super::tensor::ElementType;
use super::torch::PRUNING;
use super::torch_module::{TorchAttribute, TorchModule};
use super::{FloatFormat, HostTensor, PlainValue, StateDict, Values};

/// Numbers of the hooks that apply masks. PyTorch numbers hooks from 0 in each process, and a new one must not replace
/// these.
const FIRST_HOOK: i64 = 1 << 20;

/// The entry that holds the network.
pub(crate) const MODEL: &str = "model";

/// How tensors are written.
#[derive(Debug, Clone, Default)]
pub(crate) struct TorchFormat {
    /// Whether floating-point tensors are in half precision.
    pub(crate) half: bool,
    /// Parameters that are written as a pair of `weight_orig` and `weight_mask`, by name; the mask is 0 where the
    /// parameter is.
    pub(crate) masked: HashSet<String>,
}

/// Writes a checkpoint with these entries, where `root` takes the place of `model`, the values of `weights`, and the
/// record of its pruning as JSON.
///
/// # Errors
/// A place that cannot be written, a tensor that `weights` lacks, a value beyond half precision.
pub(crate) fn write_network(
    path: &Path,
    entries: &[(&str, PlainValue)],
    root: &TorchModule,
    weights: &StateDict,
    pruning: Option<&str>,
    format: &TorchFormat,
) -> Result<(), WeightsError> {
    let mut writer = TorchWriter::new(weights, format);
    let mut model = Some(writer.module(root, "")?);
    let mut checkpoint = Vec::new();
    for (name, value) in entries {
        let model = if *name == MODEL { model.take() } else { None };
        checkpoint.push((Value::text(*name), model.unwrap_or_else(|| plain(value))));
    }
    // Both packages read the entries that they know.
    checkpoint.extend(pruning.map(|record| (Value::text(PRUNING), Value::text(record))));
    writer.write(path, &Value::Dict(checkpoint))
}

/// Writes the tensors of `weights` in their order, and nothing else: `torch.load(…, weights_only=True)` gives the dict
/// that `load_state_dict` takes.
///
/// # Errors
/// A place that cannot be written, a value beyond half precision.
pub(crate) fn write_state_dict(
    path: &Path,
    weights: &StateDict,
    format: &TorchFormat,
) -> Result<(), WeightsError> {
    let mut writer = TorchWriter::new(weights, format);
    let mut entries = Vec::new();
    let mut tensors = weights.iter().peekable();
    while let Some((name, tensor)) = tensors.next() {
        if !format.masked.contains(name) {
            entries.push((Value::text(name), writer.tensor(tensor)));
            continue;
        }
        // A masked parameter comes behind those of its module that are not.
        let bias = name.strip_suffix(".weight").map(|module| format!("{module}.bias"));
        if let Some((bias, tensor)) = tensors.next_if(|(next, _)| bias.as_deref() == Some(*next)) {
            entries.push((Value::text(bias), writer.tensor(tensor)));
        }
        entries.push((Value::text(format!("{name}{ORIGINAL}")), writer.tensor(tensor)));
        entries.push((Value::text(format!("{name}{MASK}")), writer.mask(tensor)?));
    }
    writer.write(path, &Value::Ordered(entries))
}

/// Pickles tensors and collects their bytes.
struct TorchWriter<'a> {
    weights: &'a StateDict,
    format: &'a TorchFormat,
    storages: Vec<Entry<'a>>,
    hooks: i64,
}

impl<'a> TorchWriter<'a> {
    fn new(weights: &'a StateDict, format: &'a TorchFormat) -> Self {
        Self { weights, format, storages: Vec::new(), hooks: FIRST_HOOK }
    }

    fn write(self, path: &Path, root: &Value) -> Result<(), WeightsError> {
        self.write_archive(path, root).map_err(|error| error.in_file(path))
    }

    fn write_archive(&self, path: &Path, root: &Value) -> Result<(), WeightsError> {
        if path.is_dir() {
            return Err(WeightsError::new(WeightsErrorKind::Io, "is a folder", "name a file inside it"));
        }
        let file = AtomicFile::create(path).map_err(|error| unwritable(&error))?;
        let mut archive = ArchiveWriter::new(file);
        archive.entry("data.pkl", &pickle(root))?;
        archive.entry("byteorder", b"little")?;
        for (key, storage) in self.storages.iter().enumerate() {
            archive.entry(&format!("data/{key}"), &encoded(storage)?)?;
        }
        archive.entry("version", b"3\n")?;
        archive.finish()?.commit().map_err(|error| unwritable(&error))
    }

    /// A module whose tensors' names begin with `prefix`, which ends in a dot or is empty.
    fn module(&mut self, module: &'a TorchModule, prefix: &str) -> Result<Value, WeightsError> {
        let tensors = self.own_tensors(module, prefix)?;
        let mut children: Vec<_> =
            module.absent.iter().map(|name| (Value::text(*name), Value::None)).collect();
        for (name, child) in &module.children {
            children.push((Value::text(name), self.module(child, &format!("{prefix}{name}."))?));
        }
        let ordered = || Value::Ordered(Vec::new());
        // The attributes of `nn.Module` in PyTorch 1.8 to 1.12; newer versions add theirs on loading.
        let own = [
            ("training", Value::Bool(false)),
            ("_parameters", Value::Ordered(tensors.parameters)),
            ("_buffers", Value::Ordered(tensors.buffers)),
            ("_non_persistent_buffers_set", Value::empty_set()),
            ("_backward_hooks", ordered()),
            ("_is_full_backward_hook", Value::None),
            ("_forward_hooks", ordered()),
            ("_forward_pre_hooks", Value::Ordered(tensors.hooks)),
            ("_state_dict_hooks", ordered()),
            ("_load_state_dict_pre_hooks", ordered()),
            ("_modules", Value::Ordered(children)),
        ];
        let mut attributes: Vec<_> =
            own.into_iter().map(|(name, value)| (Value::text(name), value)).collect();
        for (name, value) in &module.attributes {
            attributes.push((Value::text(*name), self.attribute(value)));
        }
        attributes.extend(tensors.attributes);
        let object = Value::Object(module.class.to_owned(), attributes);
        Ok(if module.is_shared { Value::Shared(format!("{module:?}"), Box::new(object)) } else { object })
    }

    fn own_tensors(&mut self, module: &'a TorchModule, prefix: &str) -> Result<OwnTensors, WeightsError> {
        let mut own = OwnTensors::default();
        let mut masked = Vec::new();
        for (name, exists) in &module.parameters {
            let full = format!("{prefix}{name}");
            if self.format.masked.contains(&full) {
                masked.push((name, self.weights.require(&full)?));
                continue;
            }
            let value = if *exists { self.parameter(&full)? } else { Value::None };
            own.parameters.push((Value::text(*name), value));
        }
        for name in &module.buffers {
            let buffer = self.weights.require(&format!("{prefix}{name}"))?;
            own.buffers.push((Value::text(*name), self.tensor(buffer)));
        }
        for (name, tensor) in masked {
            let original = self.tensor(tensor);
            own.parameters.push((Value::text(format!("{name}{ORIGINAL}")), as_parameter(original)));
            let mask = self.mask(tensor)?;
            own.buffers.push((Value::text(format!("{name}{MASK}")), mask));
            let hook = vec![(Value::text("_tensor_name"), Value::text(*name))];
            // Only its name is used: it multiplies the pair before each forward pass.
            let hook = Value::Object("torch.nn.utils.prune.Identity".to_owned(), hook);
            own.hooks.push((Value::Int(self.hooks), hook));
            self.hooks += 1;
            // The product, which the reference's fusing reads, stays as it is when a network changes its precision.
            let product = self.tensor_as(tensor, ElementType::F32);
            own.attributes.push((Value::text(*name), product));
        }
        Ok(own)
    }

    fn parameter(&mut self, name: &str) -> Result<Value, WeightsError> {
        let tensor = self.weights.require(name)?;
        Ok(as_parameter(self.tensor(tensor)))
    }

    fn attribute(&mut self, attribute: &'a TorchAttribute) -> Value {
        match attribute {
            TorchAttribute::Plain(value) => plain(value),
            TorchAttribute::Tensor(tensor) => self.tensor_as(tensor, ElementType::F32),
            TorchAttribute::Tensors(tensors) => {
                Value::List(tensors.iter().map(|tensor| self.tensor(tensor)).collect())
            }
        }
    }

    fn tensor(&mut self, tensor: &'a HostTensor) -> Value {
        self.tensor_as(tensor, self.floats())
    }

    fn floats(&self) -> ElementType {
        if self.format.half { ElementType::F16 } else { ElementType::F32 }
    }

    /// Floating-point numbers as `floats`, integers as they are.
    fn tensor_as(&mut self, tensor: &'a HostTensor, floats: ElementType) -> Value {
        let element_type = match tensor.values {
            Values::F32(_) => floats,
            Values::I64(_) => ElementType::I64,
        };
        self.store(element_type, tensor.shape.clone(), Content::Tensor(tensor))
    }

    /// 1 where `tensor` is not 0, in the type of the weights.
    fn mask(&mut self, tensor: &HostTensor) -> Result<Value, WeightsError> {
        let one: &[u8] = if self.format.half { &[0x00, 0x3c] } else { &1.0_f32.to_le_bytes() };
        let zero = vec![0; one.len()];
        let bytes = tensor.f32s()?.iter().flat_map(|value| if *value == 0.0 { &zero } else { one }).copied();
        let content = Content::Bytes(bytes.collect());
        Ok(self.store(self.floats(), tensor.shape.clone(), content))
    }

    /// A tensor in a new storage.
    fn store(&mut self, element_type: ElementType, shape: Vec<usize>, content: Content<'a>) -> Value {
        let key = self.storages.len().to_string();
        let storage = match element_type {
            ElementType::F16 => "torch.HalfStorage",
            ElementType::I64 => "torch.LongStorage",
            _ => "torch.FloatStorage",
        };
        let id = Value::Tuple(vec![
            Value::text("storage"),
            Value::Global(storage.to_owned()),
            Value::text(&key),
            Value::text("cpu"),
            Value::count(shape.iter().product()),
        ]);
        let tensor = Value::call(
            "torch._utils._rebuild_tensor_v2",
            vec![
                Value::Persistent(Box::new(id)),
                Value::Int(0),
                Value::counts(&shape),
                Value::counts(&row_major(&shape)),
                Value::Bool(false),
                Value::Ordered(Vec::new()),
            ],
        );
        self.storages.push(Entry { name: key, element_type, shape, content });
        tensor
    }
}

/// Entries of a module's tables.
#[derive(Default)]
struct OwnTensors {
    parameters: Vec<(Value, Value)>,
    buffers: Vec<(Value, Value)>,
    hooks: Vec<(Value, Value)>,
    attributes: Vec<(Value, Value)>,
}

fn as_parameter(tensor: Value) -> Value {
    let arguments = vec![tensor, Value::Bool(false), Value::Ordered(Vec::new())];
    Value::call("torch._utils._rebuild_parameter", arguments)
}

/// Elements between neighbours of each dimension.
fn row_major(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

fn plain(value: &PlainValue) -> Value {
    match value {
        PlainValue::Bool(value) => Value::Bool(*value),
        PlainValue::Int(value) => Value::Int(*value),
        PlainValue::Float(value) => Value::Float(*value),
        PlainValue::Str(text) => Value::text(text),
        PlainValue::List(items) => Value::List(items.iter().map(plain).collect()),
        PlainValue::Tuple(items) => Value::Tuple(items.iter().map(plain).collect()),
        PlainValue::Dict(pairs) => {
            Value::Dict(pairs.iter().map(|(key, value)| (plain(key), plain(value))).collect())
        }
        // What another file's pickle could not be understood as, or refers to in that file.
        PlainValue::None | PlainValue::Tensor(_) | PlainValue::Other(_) => Value::None,
    }
}

impl TorchFormat {
    /// The format that holds `weights`: what was asked for, or single precision if a value needs it; then also the name
    /// of its tensor.
    pub(crate) fn fitting(asked: FloatFormat, weights: &StateDict) -> (Self, Option<String>) {
        let too_large = |(name, tensor): (&str, &HostTensor)| {
            let values = tensor.f32s().ok()?;
            let lost = values.iter().any(|v| v.is_finite() && half::f16::from_f32(*v).is_infinite());
            lost.then(|| name.to_owned())
        };
        let asks_half = asked == FloatFormat::F16;
        let obstacle = if asks_half { weights.iter().find_map(too_large) } else { None };
        (Self { half: asks_half && obstacle.is_none(), masked: HashSet::new() }, obstacle)
    }
}
