//! The project's own weights files: safetensors, written whole or not at all.
//!
//! The header is written here and not by the `safetensors` crate, whose hash map would give the metadata of the
//! same model in another order each time. Names are listed in the order of the [`StateDict`], and a reader that
//! keeps the header's order gets it back; the data is laid out so that each tensor is aligned to its elements.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::entry::{Content, Entry, lay_out, survives, unreadable, write_entries};
use super::error::WeightsError;
use super::header::{Header, TensorInfo};
use super::packed::{Packed, Role};
use super::tensor::ElementType;
use super::{HostTensor, StateDict, Values};

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
