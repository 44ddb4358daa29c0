//! The project's own weights files: safetensors, written whole or not at all.
//!
//! The header is written here and not by the `safetensors` crate, whose hash map would give the metadata of the
//! same model in another order each time. Names are listed in the order of the [`StateDict`], and a reader that
//! keeps the header's order gets it back; the data is laid out so that each tensor is aligned to its elements.

mod header;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use half::f16;

use super::error::{WeightsError, WeightsErrorKind};
use super::float16::narrow;
use super::{HostTensor, StateDict, Values};
use header::{Header, METADATA_KEY, TensorInfo};

type NamedTensor<'a> = (&'a str, &'a HostTensor);

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
        let survives = |value: &f32| f16::from_f32(*value).to_f32().to_bits() == value.to_bits();
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
    write_inner(path, state, metadata, format).map_err(|error| error.in_file(path))
}

fn write_inner(
    path: &Path,
    state: &StateDict,
    metadata: &BTreeMap<String, String>,
    format: FloatFormat,
) -> Result<(), WeightsError> {
    let (header, tensors) = lay_out(state, metadata, format)?;
    if path.is_dir() {
        return Err(WeightsError::new(WeightsErrorKind::Io, "is a folder", "name a file inside it"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The process's umask applies, as for any new file; without this only the owner could read it.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.prefix(".yolo-weights-").tempfile_in(folder).map_err(|error| unwritable(&error))?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    writer.write_all(&header.to_bytes()?).map_err(|error| unwritable(&error))?;
    for (name, tensor) in tensors {
        write_tensor(&mut writer, name, tensor, format)?;
    }
    let file = writer.into_inner().map_err(|error| unwritable(error.error()))?;
    file.as_file().sync_all().map_err(|error| unwritable(&error))?;
    file.persist(path).map_err(|error| unwritable(&error.error))?;
    Ok(())
}

/// The header, and the tensors in the order of their data: larger elements first, which aligns all of them.
fn lay_out<'a>(
    state: &'a StateDict,
    metadata: &BTreeMap<String, String>,
    format: FloatFormat,
) -> Result<(Header, Vec<NamedTensor<'a>>), WeightsError> {
    let (mut tensors, floats): (Vec<_>, Vec<_>) =
        state.iter().partition(|(_, tensor)| matches!(tensor.values, Values::I64(_)));
    tensors.extend(floats);
    let mut header = Header { metadata: metadata.clone(), tensors: Default::default() };
    for name in state.names() {
        if name == METADATA_KEY {
            let reason = "a tensor has the name that safetensors reserves for metadata";
            return Err(WeightsError::new(WeightsErrorKind::Format, reason, "rename it").at(name));
        }
        header.tensors.insert(name.to_string(), TensorInfo::default());
    }
    let mut start = 0;
    for (name, tensor) in &tensors {
        let (dtype, size) = match (&tensor.values, format) {
            (Values::I64(_), _) => ("I64", 8),
            (Values::F32(_), FloatFormat::F16) => ("F16", 2),
            (Values::F32(_), FloatFormat::F32) => ("F32", 4),
        };
        let end = start + tensor.values.len() * size;
        let info =
            TensorInfo { dtype: dtype.into(), shape: tensor.shape.clone(), data_offsets: (start, end) };
        header.tensors.insert((*name).to_string(), info);
        start = end;
    }
    Ok((header, tensors))
}

fn write_tensor(
    writer: &mut impl Write,
    name: &str,
    tensor: &HostTensor,
    format: FloatFormat,
) -> Result<(), WeightsError> {
    let bytes: Vec<u8> = match (&tensor.values, format) {
        (Values::I64(values), _) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        (Values::F32(values), FloatFormat::F32) => {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        (Values::F32(values), FloatFormat::F16) => {
            let halves = narrow(values);
            let lost =
                values.iter().zip(&halves).find(|(value, half)| value.is_finite() && half.is_infinite());
            if let Some((value, _)) = lost {
                let reason = format!("the value {value} is too large for half precision (at most 65504)");
                return Err(WeightsError::new(WeightsErrorKind::Type, reason, "write in F32").at(name));
            }
            halves.iter().flat_map(|half| half.to_le_bytes()).collect()
        }
    };
    writer.write_all(&bytes).map_err(|error| unwritable(&error))
}

fn unwritable(error: &io::Error) -> WeightsError {
    let fix = "check that the folder exists, can be written, and has space left";
    WeightsError::new(WeightsErrorKind::Io, format!("cannot be written: {error}"), fix)
}

/// Reads the tensors, in the order of the header, and the metadata of the file at `path`.
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
    let unreadable = |error: io::Error| {
        WeightsError::new(WeightsErrorKind::Io, format!("cannot be read: {error}"), "check the path")
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(unreadable)?;
    let (header, data) = Header::parse(&bytes)?;
    let mut state = StateDict::of_file(path);
    for (name, info) in header.tensors {
        let (start, end) = info.data_offsets;
        let stored = data.get(start..end).unwrap_or_default();
        let values = info.element_type()?.decode(stored).map_err(|error| error.at(name.as_str()))?;
        state.insert(name, HostTensor { shape: info.shape, values });
    }
    Ok((state, header.metadata))
}
