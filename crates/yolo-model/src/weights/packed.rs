//! Packed files: a pruned tensor as a bit mask and the values that are left.
//!
//! The container is safetensors. A tensor `NAME` with zeros is stored as
//!
//! | entry | type | elements |
//! |---|---|---|
//! | `NAME.mask` | U8 | `⌈n / 8⌉`: a bit per element in row-major order, the first in the lowest bit; the bits behind the last are 0 |
//! | `NAME.values` | F16, F32 or I8 | the elements whose bit is 1, in order; none of them is `+0.0` |
//! | `NAME.scale` | F32 | with I8 only: one per output channel; an element is its value times its channel's scale |
//!
//! and its shape in the metadata key `packed`. A tensor that would not become smaller stays plain. `−0.0` is a value,
//! so that packing without rounding gives every bit back; [`read_safetensors`](super::read_safetensors) unpacks by
//! itself, so a packed file goes wherever a plain one does.

mod quantize;
mod read;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entry::{Content, Entry, survives, to_halves, write_entries};
use super::error::{WeightsError, WeightsErrorKind};
use super::tensor::ElementType;
use super::{HostTensor, StateDict, Values};
use quantize::Quantized;
pub(super) use read::{Packed, Role};
pub use read::{Packing, read_packing};

/// The metadata key with the shapes of packed tensors.
pub(super) const METADATA_KEY: &str = "packed";
/// Version of the layout.
const VERSION: u32 = 1;
const MASK: &str = ".mask";
const VALUES: &str = ".values";
const SCALE: &str = ".scale";
/// About what an entry takes in the header beside its name.
const ENTRY_BYTES: usize = 80;

/// The content of the metadata key `packed`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    /// Shapes of the packed tensors by name.
    tensors: BTreeMap<String, Vec<usize>>,
}

/// How values are stored. Without either flag nothing is rounded: a tensor is F16 where that holds all of its values
/// exactly, else F32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackOptions {
    /// Weights of convolutions (four dimensions) as I8, symmetric, with a scale per output channel: the largest
    /// magnitude of channel `c` is `127 · s_c`. An element is off by at most `s_c / 2`; one below `s_c / 2` becomes
    /// `±s_c`, never zero, and is off by less than `s_c`. Tensors that are not finite stay as they are.
    pub int8: bool,
    /// Everything else as F16, rounded to nearest; what would round to zero becomes the smallest number of its sign.
    pub half: bool,
}

/// Writes `state` to `path` with pruned tensors packed. The file appears whole or not at all.
///
/// # Errors
/// A place that cannot be written; with [`PackOptions::half`], a finite value beyond the range of half precision.
pub fn write_packed(
    path: impl AsRef<Path>,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
    options: PackOptions,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    write_inner(path, state, metadata, options).map_err(|error| error.in_file(path))
}

fn write_inner(
    path: &Path,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
    options: PackOptions,
) -> Result<(), WeightsError> {
    let mut record = Record { version: VERSION, ..Record::default() };
    let mut entries = Vec::new();
    for (name, tensor) in state.iter() {
        let stored = stored(name, tensor, options).map_err(|error| error.at(name))?;
        let is_free = ![MASK, VALUES, SCALE].iter().any(|suffix| state.contains(&format!("{name}{suffix}")));
        match stored {
            Stored::Packed(parts) if is_free => {
                record.tensors.insert(name.to_owned(), tensor.shape.clone());
                entries.extend(parts);
            }
            // Another tensor has the name of a part; such files come from elsewhere.
            Stored::Packed(_) => entries.push(plain(name, tensor, options)?),
            Stored::Plain(entry) => entries.push(entry),
        }
    }
    let mut metadata = metadata.clone();
    let json = serde_json::to_string(&record).map_err(|error| {
        let reason = format!("the record of packed tensors cannot be written: {error}");
        WeightsError::new(WeightsErrorKind::Format, reason, "report this as a bug")
    })?;
    metadata.insert(METADATA_KEY.to_owned(), json);
    write_entries(path, entries, &metadata)
}

enum Stored<'a> {
    Plain(Entry<'a>),
    Packed(Vec<Entry<'a>>),
}

/// A tensor in the form that takes least.
fn stored<'a>(name: &str, tensor: &'a HostTensor, options: PackOptions) -> Result<Stored<'a>, WeightsError> {
    let Values::F32(values) = &tensor.values else {
        return Ok(Stored::Plain(plain(name, tensor, options)?));
    };
    let element_type = float_type(values, options);
    let plain_bytes = values.len() * element_type.size();
    let overhead = |extra: usize| extra * (ENTRY_BYTES + name.len()) + name.len();
    if options.int8
        && let Some(quantized) = Quantized::of(tensor, values)
    {
        let parts = [quantized.mask.len(), quantized.values.len(), 4 * quantized.scales.len()];
        if parts.iter().sum::<usize>() + overhead(2) < plain_bytes {
            return Ok(Stored::Packed(quantized.entries(name)));
        }
    }
    let kept: Vec<f32> = values.iter().copied().filter(is_kept).collect();
    let bytes = values.len().div_ceil(8) + kept.len() * element_type.size();
    if bytes + overhead(1) >= plain_bytes {
        return Ok(Stored::Plain(plain(name, tensor, options)?));
    }
    let mask = bits(values.iter().map(is_kept));
    let kept = floats(&kept, element_type)?;
    Ok(Stored::Packed(vec![
        part(name, MASK, ElementType::U8, mask.len(), mask),
        part(name, VALUES, element_type, kept.len() / element_type.size(), kept),
    ]))
}

/// A tensor with all of its elements.
fn plain<'a>(name: &str, tensor: &'a HostTensor, options: PackOptions) -> Result<Entry<'a>, WeightsError> {
    let (name, shape) = (name.to_owned(), tensor.shape.clone());
    Ok(match &tensor.values {
        Values::I64(_) => {
            Entry { name, element_type: ElementType::I64, shape, content: Content::Tensor(tensor) }
        }
        Values::F32(values) => {
            let element_type = float_type(values, options);
            let bytes = floats(values, element_type).map_err(|error| error.at(name.as_str()))?;
            Entry { name, element_type, shape, content: Content::Bytes(bytes) }
        }
    })
}

fn part(
    name: &str,
    suffix: &str,
    element_type: ElementType,
    elements: usize,
    bytes: Vec<u8>,
) -> Entry<'static> {
    Entry {
        name: format!("{name}{suffix}"),
        element_type,
        shape: vec![elements],
        content: Content::Bytes(bytes),
    }
}

/// Whether an element is stored: everything but `+0.0`.
fn is_kept(value: &f32) -> bool {
    value.to_bits() != 0
}

fn float_type(values: &[f32], options: PackOptions) -> ElementType {
    if options.half || values.iter().all(survives) { ElementType::F16 } else { ElementType::F32 }
}

/// Little-endian F16 or F32; what is not zero stays so.
fn floats(values: &[f32], element_type: ElementType) -> Result<Vec<u8>, WeightsError> {
    if element_type == ElementType::F32 {
        return Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect());
    }
    let halves = to_halves(values)?.into_iter().zip(values);
    let nonzero = halves.map(|(half, value)| match half.to_bits() & 0x7fff {
        0 if *value != 0.0 => half.to_bits() | 1,
        _ => half.to_bits(),
    });
    Ok(nonzero.flat_map(u16::to_le_bytes).collect())
}

/// Bits in bytes, the first in the lowest bit.
fn bits(bits: impl ExactSizeIterator<Item = bool>) -> Vec<u8> {
    let mut bytes = vec![0_u8; bits.len().div_ceil(8)];
    for (index, bit) in bits.enumerate() {
        bytes[index / 8] |= u8::from(bit) << (index % 8);
    }
    bytes
}
