//! The project's own weights files: safetensors, written whole or not at all.
//!
//! The header is written here and not by the `safetensors` crate, whose hash map would give the metadata of the
//! same model in another order each time. Names are listed in the order of the [`StateDict`], and a reader that
//! keeps the header's order gets it back; the data is laid out so that each tensor is aligned to its elements.

pub(super) mod header;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use half::f16;
use yolo_files::AtomicFile;

use super::error::{WeightsError, WeightsErrorKind};
use super::float16::narrow;
use super::packed::{Packed, Role};
use super::tensor::ElementType;
use super::{HostTensor, StateDict, Values};
use header::{Header, METADATA_KEY, TensorInfo};

/// How floating-point tensors are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FloatFormat {
    /// Half precision, rounded to nearest, ties to even: the format of released YOLOv5 files.
    F16,
    /// Single precision, exact.
    F32,
}

impl FloatFormat {
    /// The smallest format that changes no bit of `state`: half precision for what came from a released
    /// file, single precision for what was computed since.
    pub fn lossless_for(state: &StateDict) -> Self {
        let mut floats = state.iter().filter_map(|(_, tensor)| tensor.f32s().ok()).flatten();
        if floats.all(survives) { Self::F16 } else { Self::F32 }
    }
}

/// Whether half precision holds exactly this number.
pub(super) fn survives(value: &f32) -> bool {
    f16::from_f32(*value).to_f32().to_bits() == value.to_bits()
}

/// Writes `state` to `path`, with integers as I64.
///
/// The file is written beside its place and then moved there, so a failure leaves what was there before.
///
/// # Errors
/// If the place cannot be written, or if a finite value would become infinite in half precision.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
    format: FloatFormat,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    write_entries(path, entries(state, format), metadata).map_err(|error| error.in_file(path))
}

/// Bytes of the file that [`write_safetensors`] would write.
///
/// # Errors
/// A tensor with a name that the format reserves.
pub(crate) fn file_bytes(
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
    format: FloatFormat,
) -> Result<u64, WeightsError> {
    let (header, entries) = lay_out(entries(state, format), metadata)?;
    let data: usize = entries.iter().map(Entry::bytes).sum();
    Ok((header.to_bytes()?.len() + data) as u64)
}

/// A tensor as it is stored.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) element_type: ElementType,
    pub(super) shape: Vec<usize>,
    pub(super) content: Content<'a>,
}

/// Where the bytes of an [`Entry`] come from.
pub(super) enum Content<'a> {
    /// A tensor that is encoded while it is written, as F16, F32 or I64.
    Tensor(&'a HostTensor),
    /// As many bytes as shape and element type need.
    Bytes(Vec<u8>),
}

impl Entry<'_> {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element_type.size()
    }
}

/// The tensors of `state` as they are stored plainly.
fn entries(state: &StateDict, format: FloatFormat) -> Vec<Entry<'_>> {
    let entry = |(name, tensor)| -> Entry<'_> {
        let tensor: &HostTensor = tensor;
        let element_type = match (&tensor.values, format) {
            (Values::I64(_), _) => ElementType::I64,
            (Values::F32(_), FloatFormat::F16) => ElementType::F16,
            (Values::F32(_), FloatFormat::F32) => ElementType::F32,
        };
        let (shape, content) = (tensor.shape.clone(), Content::Tensor(tensor));
        Entry { name: String::from(name), element_type, shape, content }
    };
    state.iter().map(entry).collect()
}

/// Writes `entries` to `path`; the file appears whole or not at all. Errors do not name it.
pub(super) fn write_entries(
    path: &Path,
    entries: Vec<Entry>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let (header, entries) = lay_out(entries, metadata)?;
    if path.is_dir() {
        return Err(WeightsError::new(WeightsErrorKind::Io, "is a folder", "name a file inside it"));
    }
    let mut file = AtomicFile::create(path).map_err(|error| unwritable(&error))?;
    file.write_all(&header.to_bytes()?).map_err(|error| unwritable(&error))?;
    for entry in &entries {
        file.write_all(&encoded(entry)?).map_err(|error| unwritable(&error))?;
    }
    file.commit().map_err(|error| unwritable(&error))
}

/// The header, and the tensors in the order of their data: larger elements first, which aligns all of them.
fn lay_out<'a>(
    mut entries: Vec<Entry<'a>>,
    metadata: &BTreeMap<String, String>,
) -> Result<(Header, Vec<Entry<'a>>), WeightsError> {
    let mut header = Header { metadata: metadata.clone(), tensors: Default::default() };
    for Entry { name, .. } in &entries {
        if name == METADATA_KEY {
            let reason = "a tensor has the name that safetensors reserves for metadata";
            return Err(WeightsError::new(WeightsErrorKind::Format, reason, "rename it").at(name));
        }
        header.tensors.insert(name.clone(), TensorInfo::default());
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.element_type.size()));
    let mut start = 0;
    for entry in &entries {
        let end = start + entry.bytes();
        let dtype = header::dtype(entry.element_type).to_owned();
        let info = TensorInfo { dtype, shape: entry.shape.clone(), data_offsets: (start, end) };
        header.tensors.insert(entry.name.clone(), info);
        start = end;
    }
    Ok((header, entries))
}

/// The bytes of an entry.
fn encoded<'a>(entry: &'a Entry) -> Result<Cow<'a, [u8]>, WeightsError> {
    let tensor = match &entry.content {
        Content::Bytes(bytes) => return Ok(Cow::Borrowed(bytes)),
        Content::Tensor(tensor) => tensor,
    };
    Ok(Cow::Owned(match &tensor.values {
        Values::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Values::F32(values) if entry.element_type == ElementType::F16 => {
            let halves = to_halves(values).map_err(|error| error.at(entry.name.as_str()))?;
            halves.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
        Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }))
}

/// The nearest half-precision numbers. Errors name no tensor.
pub(super) fn to_halves(values: &[f32]) -> Result<Vec<f16>, WeightsError> {
    let halves = narrow(values);
    let lost = values.iter().zip(&halves).find(|(value, half)| value.is_finite() && half.is_infinite());
    match lost {
        None => Ok(halves),
        Some((value, _)) => {
            let reason = format!("the value {value} is too large for half precision (at most 65504)");
            Err(WeightsError::new(WeightsErrorKind::Type, reason, "write in F32"))
        }
    }
}

fn unwritable(error: &io::Error) -> WeightsError {
    let fix = "check that the folder exists, can be written, and has space left";
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be written: {error}"), fix)
}

/// Reads the tensors, in the order of the header, and the metadata of the file at `path`. Tensors that were packed
/// (see [`write_packed`](super::write_packed)) come as what they were.
///
/// # Errors
/// If the file cannot be read, is truncated, or has a header that contradicts itself.
pub fn read_safetensors(
    path: impl AsRef<Path>,
) -> Result<(StateDict, BTreeMap<String, String>), WeightsError> {
    let path = path.as_ref();
    read_inner(path).map_err(|error| error.in_file(path))
}

fn read_inner(path: &Path) -> Result<(StateDict, BTreeMap<String, String>), WeightsError> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(|error| unreadable(&error))?;
    let (mut header, data) = Header::parse(&bytes)?;
    let packed = Packed::of(&mut header)?;
    let mut state = StateDict::of_file(path);
    for (name, info) in &header.tensors {
        let tensor = match packed.role(name) {
            None => HostTensor { shape: info.shape.clone(), values: decoded(name, info, data)? },
            Some(Role::Mask(original)) => {
                state.insert(original, packed.unpack(original, &header, data).map_err(|e| e.at(original))?);
                continue;
            }
            Some(Role::Other) => continue,
        };
        state.insert(name.clone(), tensor);
    }
    Ok((state, header.metadata))
}

fn decoded(name: &str, info: &TensorInfo, data: &[u8]) -> Result<Values, WeightsError> {
    info.element_type()?.decode(info.bytes_in(data)).map_err(|error| error.at(name))
}

pub(super) fn unreadable(error: &io::Error) -> WeightsError {
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be read: {error}"), "check the path")
}
