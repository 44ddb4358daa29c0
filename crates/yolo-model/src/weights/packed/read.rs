//! Packed tensors out of a file, and the account of what a packed file is made of. Nothing in the file is believed.

use std::collections::HashSet;
use std::path::Path;

use super::{MASK, METADATA_KEY, Record, SCALE, VALUES, VERSION};
use crate::weights::entry::unreadable;
use crate::weights::error::{WeightsError, WeightsErrorKind};
use crate::weights::header::{Header, TensorInfo};
use crate::weights::tensor::ElementType;
use crate::weights::{HostTensor, Values, element_count};

/// What an entry of a file is.
pub(in crate::weights) enum Role<'a> {
    /// The mask of the packed tensor of this name.
    Mask(&'a str),
    /// Another part of a packed tensor.
    Other,
}

/// The packed tensors of a file.
pub(in crate::weights) struct Packed {
    record: Record,
    other_parts: HashSet<String>,
}

impl Packed {
    /// Takes the record of packed tensors out of `header`; an empty one if there is none. Every packed tensor has a
    /// mask and values, and is not there plainly as well.
    pub(in crate::weights) fn of(header: &mut Header) -> Result<Self, WeightsError> {
        let record = match header.metadata.remove(METADATA_KEY) {
            None => Record::default(),
            Some(text) => record(&text)?,
        };
        let mut other_parts = HashSet::new();
        for name in record.tensors.keys() {
            if header.tensors.contains_key(name) {
                return Err(WeightsError::damaged("is there twice, packed and plain").at(name.as_str()));
            }
            for suffix in [MASK, VALUES] {
                if !header.tensors.contains_key(&format!("{name}{suffix}")) {
                    let reason = format!("is packed, but there is no {name}{suffix}");
                    return Err(WeightsError::damaged(reason).at(name.as_str()));
                }
            }
            other_parts.extend([VALUES, SCALE].map(|suffix| format!("{name}{suffix}")));
        }
        Ok(Self { record, other_parts })
    }

    /// What the entry `name` is; `None` for a separate tensor.
    pub(in crate::weights) fn role(&self, name: &str) -> Option<Role<'_>> {
        if self.other_parts.contains(name) {
            return Some(Role::Other);
        }
        let (name, _) = self.record.tensors.get_key_value(name.strip_suffix(MASK)?)?;
        Some(Role::Mask(name))
    }

    /// The packed tensor `name` with all of its elements. Errors do not name it.
    pub(in crate::weights) fn unpack(
        &self,
        name: &str,
        header: &Header,
        data: &[u8],
    ) -> Result<HostTensor, WeightsError> {
        let shape = self.record.tensors.get(name).cloned().unwrap_or_default();
        let part = |suffix: &str| header.tensors.get(&format!("{name}{suffix}"));
        let absent = || WeightsError::damaged("a part of the packed tensor is missing");
        let (mask, values) = (part(MASK).ok_or_else(absent)?, part(VALUES).ok_or_else(absent)?);
        let mask = checked_mask(mask, &shape, data)?;
        let kept: usize = mask.iter().map(|byte| byte.count_ones() as usize).sum();
        if values.shape != [kept] {
            let reason =
                format!("its mask keeps {kept} elements, but its values have shape {:?}", values.shape);
            return Err(WeightsError::damaged(reason));
        }
        let values = match (values.element_type()?, part(SCALE)) {
            (ElementType::F16 | ElementType::F32, None) => {
                let decoded = values.element_type()?.decode(values.bytes_in(data))?;
                let Values::F32(decoded) = decoded else { return Err(absent()) };
                scattered(mask, element_count(&shape).unwrap_or(0), decoded)?
            }
            (ElementType::I8, Some(scale)) => {
                let integers: Vec<i8> = values.bytes_in(data).iter().map(|byte| byte.cast_signed()).collect();
                dequantized(mask, &shape, &integers, &scales(scale, &shape, data)?)?
            }
            (_, scale) => {
                let scale = if scale.is_some() { "with" } else { "without" };
                let reason =
                    format!("its values are {} {scale} a scale, which is not a packed form", values.dtype);
                return Err(WeightsError::damaged(reason));
            }
        };
        Ok(HostTensor { shape, values: Values::F32(values) })
    }
}

fn record(text: &str) -> Result<Record, WeightsError> {
    let record: Record = serde_json::from_str(text).map_err(|error| {
        WeightsError::damaged(format!("its metadata key \"{METADATA_KEY}\" is invalid ({error})"))
    })?;
    if record.version != VERSION {
        let reason =
            format!("is packed in version {} of the layout, this program reads {VERSION}", record.version);
        let fix = "read or unpack it with the program that packed it";
        return Err(WeightsError::new(WeightsErrorKind::Format, reason, fix));
    }
    Ok(record)
}

/// The mask of a tensor of `shape`: as many bits as elements, and none behind them.
fn checked_mask<'a>(mask: &TensorInfo, shape: &[usize], data: &'a [u8]) -> Result<&'a [u8], WeightsError> {
    let bytes = mask.bytes_in(data);
    let count = element_count(shape).filter(|count| count.div_ceil(8) == bytes.len());
    let count = count.filter(|_| mask.dtype == "U8" && mask.shape == [bytes.len()]).ok_or_else(|| {
        let (dtype, found) = (&mask.dtype, &mask.shape);
        WeightsError::damaged(format!(
            "its mask is {dtype} {found:?}, which is not a bit per element of {shape:?}"
        ))
    })?;
    let used = count % 8;
    if used > 0 && bytes.last().is_some_and(|last| last >> used != 0) {
        return Err(WeightsError::damaged("its mask has bits behind its last element"));
    }
    Ok(bytes)
}

/// One scale per output channel.
fn scales(info: &TensorInfo, shape: &[usize], data: &[u8]) -> Result<Vec<f32>, WeightsError> {
    let is_sound = info.dtype == "F32" && shape.first().is_some_and(|channels| info.shape == [*channels]);
    match ElementType::F32.decode(info.bytes_in(data))? {
        Values::F32(scales) if is_sound && scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0) => {
            Ok(scales)
        }
        _ => {
            let (dtype, found) = (&info.dtype, &info.shape);
            let reason = format!(
                "its scale is {dtype} {found:?}, which is not a number from 0 per channel of {shape:?}"
            );
            Err(WeightsError::damaged(reason))
        }
    }
}

fn is_set(mask: &[u8], index: usize) -> bool {
    mask.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// `values` where the mask has a bit, zeros elsewhere.
fn scattered(mask: &[u8], count: usize, values: Vec<f32>) -> Result<Vec<f32>, WeightsError> {
    if values.iter().any(|value| value.to_bits() == 0) {
        return Err(stored_zero());
    }
    let mut dense = vec![0.0; count];
    let places = dense.iter_mut().enumerate().filter(|(index, _)| is_set(mask, *index));
    for ((_, place), value) in places.zip(values) {
        *place = value;
    }
    Ok(dense)
}

/// Integers times the scale of their channel where the mask has a bit, zeros elsewhere.
fn dequantized(
    mask: &[u8],
    shape: &[usize],
    integers: &[i8],
    scales: &[f32],
) -> Result<Vec<f32>, WeightsError> {
    let count = element_count(shape).unwrap_or(0);
    let per_channel = count.checked_div(scales.len()).unwrap_or(0).max(1);
    let mut dense = vec![0.0; count];
    let places = dense.iter_mut().enumerate().filter(|(index, _)| is_set(mask, *index));
    for ((index, place), integer) in places.zip(integers) {
        *place = f32::from(*integer) * scales.get(index / per_channel).copied().unwrap_or(0.0);
        if *place == 0.0 {
            return Err(stored_zero());
        }
    }
    Ok(dense)
}

fn stored_zero() -> WeightsError {
    WeightsError::damaged("one of its values is zero, which only its mask may say")
}

/// What a packed file is made of, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// Tensors that are packed.
    pub tensors: usize,
    /// Elements of the packed tensors.
    pub elements: usize,
    /// Those that are stored.
    pub kept: usize,
    /// Bytes of the masks.
    pub mask_bytes: usize,
    /// Bytes of the values of packed tensors that are F16.
    pub f16_bytes: usize,
    /// Bytes of those that are F32.
    pub f32_bytes: usize,
    /// Bytes of those that are I8.
    pub i8_bytes: usize,
    /// Bytes of the scales.
    pub scale_bytes: usize,
    /// Bytes of the tensors that are not packed.
    pub plain_bytes: usize,
    /// Bytes of the header: names, shapes, metadata.
    pub header_bytes: usize,
}

/// The account of the file at `path`, `None` if nothing in it was packed.
///
/// # Errors
/// If the file cannot be read or its header contradicts itself.
pub fn read_packing(path: impl AsRef<Path>) -> Result<Option<Packing>, WeightsError> {
    let path = path.as_ref();
    let account = || {
        let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
        let (mut header, data) = Header::parse(&bytes)?;
        if !header.metadata.contains_key(METADATA_KEY) {
            return Ok(None);
        }
        let packed = Packed::of(&mut header)?;
        Ok(Some(packed.account(&header, bytes.len() - data.len())))
    };
    account().map_err(|error: WeightsError| error.in_file(path))
}

impl Packed {
    fn account(&self, header: &Header, header_bytes: usize) -> Packing {
        let shapes = self.record.tensors.values();
        let mut account = Packing {
            tensors: self.record.tensors.len(),
            elements: shapes.filter_map(|shape| element_count(shape)).fold(0, usize::saturating_add),
            header_bytes,
            ..Packing::default()
        };
        for (name, info) in &header.tensors {
            let bytes = info.data_offsets.1.saturating_sub(info.data_offsets.0);
            let is_values = name.ends_with(VALUES);
            let kind = match self.role(name) {
                None => &mut account.plain_bytes,
                Some(Role::Mask(_)) => &mut account.mask_bytes,
                Some(Role::Other) if !is_values => &mut account.scale_bytes,
                Some(Role::Other) => {
                    account.kept += info.shape.iter().product::<usize>();
                    match info.dtype.as_str() {
                        "I8" => &mut account.i8_bytes,
                        "F16" => &mut account.f16_bytes,
                        _ => &mut account.f32_bytes,
                    }
                }
            };
            *kind += bytes;
        }
        account
    }
}
