//! Named tensors on the host, and the files they live in.
//!
//! [`read_torch`] reads what PyTorch's `torch.save` wrote, without running any of it;
//! [`crate::Checkpoint::save_torch`] and [`crate::Checkpoint::save_state_dict`] write what `torch.load` reads.
//! [`read_safetensors`] and [`write_safetensors`] are the project's own files, [`write_packed`] the same without zeros.
//! All give a [`StateDict`]: names and values, no backend, no device, and no knowledge of which network the names belong
//! to.

mod archive;
mod container;
mod entry;
mod error;
mod float16;
mod header;
mod legacy;
mod masked;
mod module;
mod old_head;
mod packed;
mod pickle;
mod plain;
mod safetensors;
mod tensor;
mod torch;
mod torch_module;
mod torch_writer;
mod unpacked;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

pub(crate) use entry::to_halves;
pub use error::{WeightsError, WeightsErrorKind};
pub use masked::FoldedMasks;
pub use module::PickledModule;
pub use packed::{PackOptions, Packing, read_packing, write_packed};
pub use plain::PlainValue;
pub(crate) use safetensors::file_bytes;
pub use safetensors::{FloatFormat, read_safetensors, write_safetensors};
pub use tensor::{ElementType, TensorRef};
pub use torch::{TorchCheckpoint, read_hyp, read_torch};
pub use torch_module::{TorchAttribute, TorchModule};
pub(crate) use torch_writer::{MODEL, TorchFormat, write_network, write_state_dict};
pub use unpacked::unpacked_bytes;

/// The elements of a tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Any floating-point tensor of a file, widened or rounded to single precision.
    F32(Vec<f32>),
    /// Any integer or boolean tensor of a file.
    I64(Vec<i64>),
}

impl Values {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense tensor in host memory, row-major; a scalar has an empty shape and one element.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Extent of each dimension, slowest first.
    pub shape: Vec<usize>,
    /// As many elements as the product of `shape`.
    pub values: Values,
}

impl HostTensor {
    /// A single-precision tensor.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `shape`.
    pub fn from_f32s(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        let shape = shape.into();
        assert_eq!(element_count(&shape), Some(values.len()), "elements of shape {shape:?}");
        Self { shape, values: Values::F32(values) }
    }

    /// An integer tensor.
    ///
    /// # Panics
    /// If `values` does not have as many elements as `shape`.
    pub fn from_i64s(shape: impl Into<Vec<usize>>, values: Vec<i64>) -> Self {
        let shape = shape.into();
        assert_eq!(element_count(&shape), Some(values.len()), "elements of shape {shape:?}");
        Self { shape, values: Values::I64(values) }
    }

    /// How many elements the tensor has.
    pub fn element_count(&self) -> usize {
        self.values.len()
    }

    /// The elements of a floating-point tensor.
    ///
    /// # Errors
    /// If the tensor holds integers. The error names no tensor; [`StateDict::f32s`] does.
    pub fn f32s(&self) -> Result<&[f32], WeightsError> {
        match &self.values {
            Values::F32(values) => Ok(values),
            Values::I64(_) => Err(wrong_type(&self.shape, "integers", "floating-point")),
        }
    }

    /// The elements of a floating-point tensor, to change them in place.
    ///
    /// # Errors
    /// If the tensor holds integers.
    pub fn f32s_mut(&mut self) -> Result<&mut [f32], WeightsError> {
        if let Values::F32(values) = &mut self.values {
            return Ok(values);
        }
        Err(wrong_type(&self.shape, "integers", "floating-point"))
    }

    /// The elements of an integer tensor.
    ///
    /// # Errors
    /// If the tensor holds floating-point numbers.
    pub fn i64s(&self) -> Result<&[i64], WeightsError> {
        match &self.values {
            Values::I64(values) => Ok(values),
            Values::F32(_) => Err(wrong_type(&self.shape, "floating-point numbers", "integer")),
        }
    }
}

fn wrong_type(shape: &[usize], found: &str, expected: &str) -> WeightsError {
    let reason = format!("holds {found} of shape {shape:?} where {expected} values are needed");
    WeightsError::new(WeightsErrorKind::Type, reason, "use the weights of a YOLOv5 detection model")
}

/// The number of elements of `shape`, `None` where it does not fit.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent))
}

/// Tensors by name, in the order of the file they came from.
#[derive(Debug, Clone, Default)]
pub struct StateDict {
    origin: Option<PathBuf>,
    tensors: IndexMap<String, HostTensor>,
}

impl StateDict {
    /// An empty dictionary that belongs to no file.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty dictionary whose errors name `path`.
    pub fn of_file(path: &Path) -> Self {
        Self { origin: Some(path.to_path_buf()), tensors: IndexMap::new() }
    }

    /// The file the tensors came from.
    pub fn origin(&self) -> Option<&Path> {
        self.origin.as_deref()
    }

    /// The tensor called `name`.
    pub fn get(&self, name: &str) -> Option<&HostTensor> {
        self.tensors.get(name)
    }

    /// The tensor called `name`, to change it in place.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut HostTensor> {
        self.tensors.get_mut(name)
    }

    /// The tensor called `name`, which has to be there.
    ///
    /// # Errors
    /// If it is not; the error names the file and the key.
    pub fn require(&self, name: &str) -> Result<&HostTensor, WeightsError> {
        self.get(name).ok_or_else(|| {
            let reason = format!("no such tensor among {}", self.len());
            let fix = "use weights that belong to this network's configuration";
            self.name_file(WeightsError::new(WeightsErrorKind::Missing, reason, fix).at(name))
        })
    }

    /// The elements of the floating-point tensor called `name`, row-major.
    ///
    /// # Errors
    /// If it is absent or holds integers; the error names the file and the key.
    pub fn f32s(&self, name: &str) -> Result<&[f32], WeightsError> {
        self.require(name)?.f32s().map_err(|error| self.name_file(error.at(name)))
    }

    /// Adds a tensor at the end, or replaces the one of that name in its place and returns the old one.
    pub fn insert(&mut self, name: impl Into<String>, tensor: HostTensor) -> Option<HostTensor> {
        self.tensors.insert(name.into(), tensor)
    }

    /// Takes the tensor called `name` out; the order of the others stays.
    pub fn remove(&mut self, name: &str) -> Option<HostTensor> {
        self.tensors.shift_remove(name)
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HostTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Names and tensors in order, to change them in place.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut HostTensor)> {
        self.tensors.iter_mut().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Removes every tensor whose name `keep` refuses; the order of the others stays.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.tensors.retain(|name, _| keep(name));
    }

    /// Whether a tensor is called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether it has no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    fn name_file(&self, error: WeightsError) -> WeightsError {
        match &self.origin {
            Some(path) => error.in_file(path),
            None => error,
        }
    }
}

/// Two dictionaries are equal if they hold equal tensors under equal names, whatever order or file they have.
impl PartialEq for StateDict {
    fn eq(&self, other: &Self) -> bool {
        self.tensors == other.tensors
    }
}

impl IntoIterator for StateDict {
    type Item = (String, HostTensor);
    type IntoIter = indexmap::map::IntoIter<String, HostTensor>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

impl FromIterator<(String, HostTensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, HostTensor)>>(tensors: I) -> Self {
        Self { origin: None, tensors: tensors.into_iter().collect() }
    }
}
