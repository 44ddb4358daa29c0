//! Tensors inside a `.pt` file: how the pickle describes them, and how their bytes become numbers.

use std::collections::HashMap;
use std::rc::Rc;

use super::container::Container;
use super::error::{WeightsError, WeightsErrorKind};
use super::pickle::{Arena, Class, Id, Node, Object};
use super::{HostTensor, Values, element_count};

/// More dimensions than any tensor of a detector has.
const MAX_RANK: usize = 32;
/// How many calls may wrap the one that rebuilds a tensor: a parameter, a subclass.
const MAX_WRAPPERS: usize = 8;

/// The element type of a tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the types.
pub enum ElementType {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
}

impl ElementType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// The type of a `torch.FloatStorage` and its relatives.
    fn of_storage(class: &Class) -> Option<Self> {
        let name = class.module.starts_with("torch").then_some(class.name.as_str())?;
        Some(match name {
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Little-endian bytes as numbers; trailing bytes that make no whole element are ignored.
    ///
    /// # Errors
    /// If an unsigned 64-bit number does not fit into a signed one.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<Values, WeightsError> {
        Ok(match self {
            Self::F16 => Values::F32(super::float16::widen(bytes)),
            Self::BF16 => floats(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            Self::F32 => floats(bytes, f32::from_le_bytes),
            Self::F64 => floats(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::I8 => ints(bytes, |b| i64::from(i8::from_le_bytes(b))),
            Self::I16 => ints(bytes, |b| i64::from(i16::from_le_bytes(b))),
            Self::I32 => ints(bytes, |b| i64::from(i32::from_le_bytes(b))),
            Self::I64 => ints(bytes, i64::from_le_bytes),
            Self::U8 => ints(bytes, |b| i64::from(u8::from_le_bytes(b))),
            Self::U16 => ints(bytes, |b| i64::from(u16::from_le_bytes(b))),
            Self::U32 => ints(bytes, |b| i64::from(u32::from_le_bytes(b))),
            Self::Bool => ints(bytes, |[b]| i64::from(b != 0)),
            Self::U64 => {
                let (chunks, _) = bytes.as_chunks::<8>();
                let values: Result<_, _> =
                    chunks.iter().map(|b| i64::try_from(u64::from_le_bytes(*b))).collect();
                let too_large = "holds an unsigned number beyond 2^63 - 1";
                Values::I64(values.map_err(|_| {
                    WeightsError::new(WeightsErrorKind::Type, too_large, "save the tensor as int64")
                })?)
            }
        })
    }
}

fn floats<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Values {
    Values::F32(bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect())
}

fn ints<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> i64) -> Values {
    Values::I64(bytes.as_chunks::<N>().0.iter().map(|chunk| convert(*chunk)).collect())
}

/// A view into a storage of a `.pt` file. Its bounds have been checked against the storage's stated length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRef {
    /// Extent of each dimension, slowest first.
    pub shape: Vec<usize>,
    /// The element type in the file.
    pub element_type: ElementType,
    storage: String,
    storage_elements: usize,
    offset: usize,
    strides: Vec<usize>,
}

impl TensorRef {
    /// How many elements the tensor has.
    pub fn element_count(&self) -> usize {
        element_count(&self.shape).unwrap_or(usize::MAX)
    }

    /// The tensor `id` stands for, or `None` if it is something else.
    ///
    /// # Errors
    /// If it is a tensor whose description makes no sense or is of an unsupported kind.
    pub(super) fn of(arena: &Arena, id: Id) -> Result<Option<Self>, WeightsError> {
        let Some(args) = rebuild_call(arena, id, MAX_WRAPPERS)? else { return Ok(None) };
        let [storage, offset, shape, strides, ..] = args else {
            return Err(WeightsError::damaged("a tensor is described by too few values"));
        };
        let StorageRef { element_type, key: storage, elements: storage_elements, first } =
            storage_ref(arena, *storage)?;
        let tensor = Self {
            shape: extents(arena, *shape, "shape")?,
            element_type,
            storage,
            storage_elements,
            offset: first.saturating_add(extent(arena, *offset, "offset")?),
            strides: extents(arena, *strides, "strides")?,
        };
        tensor.check_bounds()?;
        Ok(Some(tensor))
    }

    fn check_bounds(&self) -> Result<(), WeightsError> {
        if self.shape.len() != self.strides.len() || self.shape.len() > MAX_RANK {
            let (shape, strides) = (self.shape.len(), self.strides.len());
            return Err(WeightsError::damaged(format!(
                "a tensor has {shape} dimensions and {strides} strides"
            )));
        }
        let end = self.end().filter(|end| *end <= self.storage_elements);
        if end.is_none() || element_count(&self.shape).is_none() {
            return Err(WeightsError::damaged(format!(
                "a tensor of shape {:?}, strides {:?}, offset {} does not fit into its storage of {} elements",
                self.shape, self.strides, self.offset, self.storage_elements
            )));
        }
        Ok(())
    }

    /// One past the last element of the storage that the tensor uses.
    fn end(&self) -> Option<usize> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |last, (extent, stride)| {
            last.checked_add(extent.checked_sub(1)?.checked_mul(*stride)?)
        });
        last?.checked_add(1)
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(extent, stride)| {
            let fits = *extent == 1 || *stride == expected;
            expected *= extent;
            fits
        })
    }

    /// The tensor's elements as contiguous bytes, out of the whole storage.
    fn gather(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let size = self.element_type.size();
        let count = self.element_count();
        if count == 0 {
            return Some(Vec::new());
        }
        if self.is_contiguous() {
            let start = self.offset.checked_mul(size)?;
            return storage.get(start..start.checked_add(count.checked_mul(size)?)?).map(<[u8]>::to_vec);
        }
        let mut bytes = Vec::with_capacity(count.checked_mul(size)?);
        let mut index = vec![0_usize; self.shape.len()];
        let mut element = self.offset;
        for _ in 0..count {
            let start = element.checked_mul(size)?;
            bytes.extend_from_slice(storage.get(start..start.checked_add(size)?)?);
            for (axis, at) in index.iter_mut().enumerate().rev() {
                let (extent, stride) = (self.shape.get(axis)?, self.strides.get(axis)?);
                *at += 1;
                element = element.wrapping_add(*stride);
                if *at < *extent {
                    break;
                }
                // Wrapping twice over cancels out: the sum of what remains is in bounds.
                element = element.wrapping_sub(extent.wrapping_mul(*stride));
                *at = 0;
            }
        }
        Some(bytes)
    }
}

/// The arguments of `_rebuild_tensor_v2` behind `id`, through the wrappers of parameters and subclasses.
fn rebuild_call(arena: &Arena, id: Id, wrappers: usize) -> Result<Option<&[Id]>, WeightsError> {
    let Node::Object(Object { class, args, .. }) = arena.get(id) else { return Ok(None) };
    let Some(class) = arena.class(*class) else { return Ok(None) };
    let args = arena.sequence(*args).unwrap_or_default();
    if wrappers == 0 {
        return Err(WeightsError::hostile("a tensor is wrapped too many times"));
    }
    match (class.module.as_str(), class.name.as_str(), args) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", args) => Ok(Some(args)),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", [inner, ..]) => {
            rebuild_call(arena, *inner, wrappers - 1)
        }
        ("torch._tensor", "_rebuild_from_type_v2", [function, _, inner, ..])
            if arena.class(*function).is_some_and(|class| class.is("torch._utils", "_rebuild_tensor_v2")) =>
        {
            Ok(arena.sequence(*inner))
        }
        ("torch._utils" | "torch._tensor", name, _) if name.starts_with("_rebuild") => {
            let reason = format!("a tensor of an unsupported kind (`{name}`: sparse, quantised, or nested)");
            Err(WeightsError::new(WeightsErrorKind::Format, reason, "save dense floating-point tensors"))
        }
        _ => Ok(None),
    }
}

/// Bytes of an element of a storage of that class.
pub(super) fn storage_width(class: &Class) -> Option<usize> {
    ElementType::of_storage(class).map(ElementType::size)
}

/// The storage that a persistent id names.
struct StorageRef {
    element_type: ElementType,
    /// Number of its entry.
    key: String,
    elements: usize,
    /// The element at which a view of it begins, in files before torch 1.6.
    first: usize,
}

fn storage_ref(arena: &Arena, id: Id) -> Result<StorageRef, WeightsError> {
    let Node::Persistent(tuple) = arena.get(id) else {
        return Err(WeightsError::damaged("a tensor refers to no storage"));
    };
    let Some([_, class, key, _, length, view @ ..]) = arena.sequence(*tuple) else {
        return Err(WeightsError::damaged("a storage is described by too few values"));
    };
    let class = arena.class(*class).ok_or_else(|| WeightsError::damaged("a storage has no type"))?;
    let element_type = ElementType::of_storage(class).ok_or_else(|| {
        let reason = format!("a tensor has the unsupported element type `{}`", class.path());
        WeightsError::new(WeightsErrorKind::Type, reason, "save floating-point or integer tensors")
    })?;
    let key = arena.str(*key).ok_or_else(|| WeightsError::damaged("a storage has no key"))?;
    let first = match view.first().and_then(|view| arena.sequence(*view)) {
        Some([_, first, ..]) => extent(arena, *first, "view offset")?,
        _ => 0,
    };
    let elements = extent(arena, *length, "storage length")?;
    Ok(StorageRef { element_type, key: key.to_string(), elements, first })
}

fn extents(arena: &Arena, id: Id, what: &str) -> Result<Vec<usize>, WeightsError> {
    let items = arena.sequence(id).filter(|items| items.len() <= MAX_RANK);
    let items =
        items.ok_or_else(|| WeightsError::damaged(format!("a tensor's {what} is not a short list")))?;
    items.iter().map(|id| extent(arena, *id, what)).collect()
}

fn extent(arena: &Arena, id: Id, what: &str) -> Result<usize, WeightsError> {
    let value = match arena.get(id) {
        Node::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    };
    value.ok_or_else(|| WeightsError::damaged(format!("a tensor's {what} is not a number of at least 0")))
}

/// Reads tensors of one archive, each storage once, up to a total that the size of the file justifies.
pub(super) struct TensorReader {
    container: Container,
    storages: HashMap<String, Rc<Vec<u8>>>,
    elements_left: usize,
}

impl TensorReader {
    pub(super) fn new(container: Container) -> Self {
        // A sound file has at most one element per byte; tensors shared under several names and expanded
        // views need more, which the factor and the constant allow for.
        let allowed = container.file_bytes().saturating_mul(4).saturating_add(1 << 20).min(1 << 31);
        let elements_left = usize::try_from(allowed).unwrap_or(usize::MAX);
        Self { container, storages: HashMap::new(), elements_left }
    }

    /// The values of `tensor`.
    pub(super) fn read(&mut self, tensor: &TensorRef) -> Result<HostTensor, WeightsError> {
        let left = self.elements_left.checked_sub(tensor.element_count());
        self.elements_left = left.ok_or_else(|| {
            WeightsError::hostile("the tensors claim far more elements than the file can hold")
        })?;
        let entry = format!("data/{}", tensor.storage);
        let storage = self.storage(&entry)?;
        let needed = tensor.storage_elements.checked_mul(tensor.element_type.size());
        if needed.is_none_or(|needed| storage.len() < needed) {
            let reason = format!(
                "the storage has {} bytes where {} elements of {:?} are expected",
                storage.len(),
                tensor.storage_elements,
                tensor.element_type
            );
            return Err(WeightsError::damaged(reason).at(entry));
        }
        let bytes = tensor.gather(&storage);
        let bytes = bytes.ok_or_else(|| WeightsError::damaged("a tensor exceeds its storage").at(entry))?;
        Ok(HostTensor { shape: tensor.shape.clone(), values: tensor.element_type.decode(&bytes)? })
    }

    fn storage(&mut self, entry: &str) -> Result<Rc<Vec<u8>>, WeightsError> {
        if let Some(storage) = self.storages.get(entry) {
            return Ok(Rc::clone(storage));
        }
        let limit = self.container.file_bytes();
        let storage = Rc::new(self.container.read(entry, limit)?);
        self.storages.insert(entry.to_string(), Rc::clone(&storage));
        Ok(storage)
    }
}
