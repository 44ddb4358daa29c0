//! The JSON header of a safetensors file: names, element types, shapes, and where the data lies.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::weights::element_count;
use crate::weights::error::{WeightsError, WeightsErrorKind};
use crate::weights::tensor::ElementType;

/// The name under which the header keeps its free-form part.
pub(in crate::weights) const METADATA_KEY: &str = "__metadata__";
/// The longest header that the format allows.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// One tensor's entry.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(in crate::weights) struct TensorInfo {
    pub(in crate::weights) dtype: String,
    pub(in crate::weights) shape: Vec<usize>,
    /// Start and end in bytes, from the end of the header.
    pub(in crate::weights) data_offsets: (usize, usize),
}

impl TensorInfo {
    pub(in crate::weights) fn element_type(&self) -> Result<ElementType, WeightsError> {
        Ok(match self.dtype.as_str() {
            "F16" => ElementType::F16,
            "BF16" => ElementType::BF16,
            "F32" => ElementType::F32,
            "F64" => ElementType::F64,
            "I8" => ElementType::I8,
            "I16" => ElementType::I16,
            "I32" => ElementType::I32,
            "I64" => ElementType::I64,
            "U8" => ElementType::U8,
            "U16" => ElementType::U16,
            "U32" => ElementType::U32,
            "U64" => ElementType::U64,
            "BOOL" => ElementType::Bool,
            other => {
                let reason = format!("the tensor has the unsupported element type `{other}`");
                return Err(WeightsError::new(WeightsErrorKind::Type, reason, "save it as F16 or F32"));
            }
        })
    }

    /// Its part of the data behind a header that was checked.
    pub(in crate::weights) fn bytes_in<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let (start, end) = self.data_offsets;
        data.get(start..end).unwrap_or_default()
    }

    fn check(&self) -> Result<(), WeightsError> {
        let (start, end) = self.data_offsets;
        let needed =
            element_count(&self.shape).and_then(|count| count.checked_mul(self.element_type().ok()?.size()));
        self.element_type()?;
        if needed.is_none() || end.checked_sub(start) != needed {
            let reason =
                format!("{} elements of shape {:?} do not fill bytes {start}..{end}", self.dtype, self.shape);
            return Err(WeightsError::damaged(reason));
        }
        Ok(())
    }
}

/// The name of an element type in a header.
pub(in crate::weights) fn dtype(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::F16 => "F16",
        ElementType::BF16 => "BF16",
        ElementType::F32 => "F32",
        ElementType::F64 => "F64",
        ElementType::I8 => "I8",
        ElementType::I16 => "I16",
        ElementType::I32 => "I32",
        ElementType::I64 => "I64",
        ElementType::U8 => "U8",
        ElementType::U16 => "U16",
        ElementType::U32 => "U32",
        ElementType::U64 => "U64",
        ElementType::Bool => "BOOL",
    }
}

/// The whole header, in the order of the file.
#[derive(Debug)]
pub(in crate::weights) struct Header {
    pub(in crate::weights) metadata: BTreeMap<String, String>,
    pub(in crate::weights) tensors: IndexMap<String, TensorInfo>,
}

impl Header {
    /// The header as it starts a file: its length, then JSON padded to a multiple of eight bytes.
    pub(in crate::weights) fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        let mut json = serde_json::to_vec(self).map_err(|error| {
            let reason = format!("the header cannot be written: {error}");
            WeightsError::new(WeightsErrorKind::Format, reason, "report this as a bug")
        })?;
        json.resize(json.len().next_multiple_of(8), b' ');
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut json);
        Ok(bytes)
    }

    /// The header and the data behind it.
    pub(in crate::weights) fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), WeightsError> {
        let (length, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| {
            WeightsError::damaged(format!("is {} bytes, too short for a safetensors file", bytes.len()))
        })?;
        let length = u64::from_le_bytes(*length);
        if rest.first().is_some_and(|byte| *byte != b'{') {
            let reason = "is not a safetensors file";
            return Err(WeightsError::new(WeightsErrorKind::Format, reason, "give a .safetensors file"));
        }
        if length > MAX_HEADER_BYTES {
            return Err(WeightsError::damaged(format!("the safetensors header claims {length} bytes")));
        }
        let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        let (json, data) = split.ok_or_else(|| {
            let reason = format!("is truncated: {} bytes, less than its header of {length}", bytes.len());
            WeightsError::damaged(reason)
        })?;
        let header: Self = serde_json::from_slice(json)
            .map_err(|error| WeightsError::damaged(format!("the safetensors header is invalid: {error}")))?;
        header.check(data.len())?;
        Ok((header, data))
    }

    /// Every byte of the data has to belong to exactly one tensor.
    fn check(&self, data_bytes: usize) -> Result<(), WeightsError> {
        for (name, info) in &self.tensors {
            info.check().map_err(|error| error.at(name.as_str()))?;
        }
        let mut in_data_order: Vec<_> = self.tensors.iter().collect();
        in_data_order.sort_by_key(|(_, info)| info.data_offsets);
        let mut expected = 0;
        for (name, info) in in_data_order {
            let (start, end) = info.data_offsets;
            if start != expected {
                let problem =
                    if start < expected { "overlaps another one" } else { "leaves a gap before it" };
                let reason = format!("the tensor at bytes {start}..{end} {problem}");
                return Err(WeightsError::damaged(reason).at(name.as_str()));
            }
            expected = end;
        }
        if expected != data_bytes {
            let state =
                if data_bytes < expected { "is truncated" } else { "has bytes after its last tensor" };
            let reason = format!("{state}: {data_bytes} bytes of data where the header needs {expected}");
            return Err(WeightsError::damaged(reason));
        }
        Ok(())
    }
}

impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, &self.metadata)?;
        }
        for (name, info) in &self.tensors {
            map.serialize_entry(name, info)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Keeps the order of the file and refuses a name that occurs twice, which a plain map would hide.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut metadata = None;
        let mut tensors = IndexMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let is_duplicate = if name == METADATA_KEY {
                metadata.replace(map.next_value()?).is_some()
            } else {
                tensors.insert(name.clone(), map.next_value()?).is_some()
            };
            if is_duplicate {
                return Err(de::Error::custom(format_args!("`{name}` occurs twice")));
            }
        }
        Ok(Header { metadata: metadata.unwrap_or_default(), tensors })
    }
}
