//! Tensors as a file stores them, and the file that holds them: a header, then the data.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use half::f16;
use yolo_files::AtomicFile;

use super::error::{WeightsError, WeightsErrorKind};
use super::float16::narrow;
use super::header::{self, Header, METADATA_KEY, TensorInfo};
use super::tensor::ElementType;
use super::{HostTensor, Values};

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
    pub(super) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.element_type.size()
    }
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
pub(super) fn lay_out<'a>(
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
pub(super) fn encoded<'a>(entry: &'a Entry) -> Result<Cow<'a, [u8]>, WeightsError> {
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
pub(crate) fn to_halves(values: &[f32]) -> Result<Vec<f16>, WeightsError> {
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

pub(super) fn unwritable(error: &io::Error) -> WeightsError {
    let fix = "check that the folder exists, can be written, and has space left";
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be written: {error}"), fix)
}

/// Whether half precision holds exactly this number.
pub(super) fn survives(value: &f32) -> bool {
    f16::from_f32(*value).to_f32().to_bits() == value.to_bits()
}

pub(super) fn unreadable(error: &io::Error) -> WeightsError {
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be read: {error}"), "check the path")
}
