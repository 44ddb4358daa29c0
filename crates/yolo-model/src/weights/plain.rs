//! Plain data out of a pickle: numbers, text, and containers of them.

use super::error::WeightsError;
use super::pickle::{Arena, Id, Node};
use super::tensor::TensorRef;

/// How deep attributes may nest.
const MAX_DEPTH: usize = 100;
/// The memory that all attributes of a checkpoint may take, in bytes, roughly.
const MAX_BYTES: usize = 64 << 20;

/// An attribute of a module or an entry of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum PlainValue {
    /// Python's `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A double-precision number.
    Float(f64),
    /// Text.
    Str(String),
    /// A list or a set.
    List(Vec<PlainValue>),
    /// A tuple.
    Tuple(Vec<PlainValue>),
    /// Keys and values; each key occurs once, in the order of first insertion.
    Dict(Vec<(PlainValue, PlainValue)>),
    /// A tensor that is an attribute, not a parameter or buffer.
    Tensor(TensorRef),
    /// Anything else, by the dotted path of its class or a description.
    Other(String),
}

impl PlainValue {
    /// The value of a dict under a text key.
    pub fn get(&self, key: &str) -> Option<&PlainValue> {
        let Self::Dict(pairs) = self else { return None };
        pairs.iter().find(|(candidate, _)| candidate.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one; booleans are not.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is an integer or a float.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn as_slice(&self) -> Option<&[PlainValue]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The same data as JSON. What JSON cannot hold becomes text (infinities, other objects, keys) or a shape.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::None => Value::Null,
            Self::Bool(value) => Value::from(*value),
            Self::Int(value) => Value::from(*value),
            Self::Float(value) if value.is_finite() => Value::from(*value),
            Self::Float(value) => Value::from(value.to_string()),
            Self::Str(text) | Self::Other(text) => Value::from(text.as_str()),
            Self::List(items) | Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
            Self::Tensor(tensor) => Value::from(format!("tensor{:?}", tensor.shape)),
            Self::Dict(pairs) => {
                let text =
                    |key: &Self| key.as_str().map_or_else(|| key.to_json().to_string(), str::to_string);
                Value::Object(pairs.iter().map(|(key, value)| (text(key), value.to_json())).collect())
            }
        }
    }
}

impl From<bool> for PlainValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<usize> for PlainValue {
    fn from(value: usize) -> Self {
        Self::Int(value as i64)
    }
}

impl From<f64> for PlainValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for PlainValue {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

/// A pair as Python's tuple.
impl From<[usize; 2]> for PlainValue {
    fn from(pair: [usize; 2]) -> Self {
        Self::Tuple(pair.map(Self::from).to_vec())
    }
}

/// A list.
impl<T: Into<PlainValue>> From<Vec<T>> for PlainValue {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(T::into).collect())
    }
}

/// The same data; whole numbers beyond 64 bits become floats.
impl From<&serde_json::Value> for PlainValue {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                let float = || Self::Float(number.as_f64().unwrap_or(f64::NAN));
                number.as_i64().map_or_else(float, Self::Int)
            }
            Value::String(text) => Self::Str(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(pairs) => {
                let pair = |(key, value): (&String, &Value)| (Self::Str(key.clone()), Self::from(value));
                Self::Dict(pairs.iter().map(pair).collect())
            }
        }
    }
}

/// Copies plain data out of an arena, up to a total size: what is shared there is repeated here.
pub(super) struct Copier<'a> {
    arena: &'a Arena,
    bytes_left: usize,
}

impl<'a> Copier<'a> {
    pub(super) fn new(arena: &'a Arena) -> Self {
        Self { arena, bytes_left: MAX_BYTES }
    }

    /// The value behind `id`.
    pub(super) fn copy(&mut self, id: Id) -> Result<PlainValue, WeightsError> {
        self.copy_nested(id, MAX_DEPTH)
    }

    /// The text, if `id` is text.
    pub(super) fn text(&mut self, id: Id) -> Result<Option<String>, WeightsError> {
        let Some(text) = self.arena.str(id) else { return Ok(None) };
        self.spend(text.len())?;
        Ok(Some(text.to_string()))
    }

    /// The dotted path of a class, if `id` is one.
    pub(super) fn class_path(&mut self, id: Id) -> Result<Option<String>, WeightsError> {
        let Some(class) = self.arena.class(id) else { return Ok(None) };
        self.spend(class.module.len() + class.name.len())?;
        Ok(Some(class.path()))
    }

    /// Accounts for one value that is looked at.
    pub(super) fn visit(&mut self) -> Result<(), WeightsError> {
        self.spend(0)
    }

    fn copy_nested(&mut self, id: Id, depth: usize) -> Result<PlainValue, WeightsError> {
        self.visit()?;
        let Some(depth) = depth.checked_sub(1) else {
            return Err(WeightsError::hostile(format!("values nest deeper than {MAX_DEPTH}")));
        };
        let arena = self.arena;
        Ok(match arena.get(id) {
            Node::None => PlainValue::None,
            Node::Bool(value) => PlainValue::Bool(*value),
            Node::Int(value) => PlainValue::Int(*value),
            Node::Float(value) => PlainValue::Float(*value),
            Node::Str(_) => PlainValue::Str(self.text(id)?.unwrap_or_default()),
            Node::List(items) | Node::Set(items) => PlainValue::List(self.copy_all(items, depth)?),
            Node::Tuple(items) => PlainValue::Tuple(self.copy_all(items, depth)?),
            Node::Dict(pairs) => PlainValue::Dict(self.copy_pairs(pairs, depth)?),
            Node::BigInt => PlainValue::Other("int".into()),
            Node::Bytes => PlainValue::Other("bytes".into()),
            Node::Persistent(_) => PlainValue::Other("torch.storage".into()),
            Node::Class(_) => PlainValue::Other(self.class_path(id)?.unwrap_or_default()),
            // An attribute that looks like a tensor and cannot be read harms nothing unless it is asked for.
            Node::Object(object) => match TensorRef::of(arena, id) {
                Ok(Some(tensor)) => PlainValue::Tensor(tensor),
                _ => PlainValue::Other(self.class_path(object.class)?.unwrap_or_default()),
            },
        })
    }

    fn copy_all(&mut self, items: &[Id], depth: usize) -> Result<Vec<PlainValue>, WeightsError> {
        items.iter().map(|id| self.copy_nested(*id, depth)).collect()
    }

    fn copy_pairs(
        &mut self,
        pairs: &[(Id, Id)],
        depth: usize,
    ) -> Result<Vec<(PlainValue, PlainValue)>, WeightsError> {
        let mut places = std::collections::HashMap::new();
        let mut copied: Vec<(PlainValue, PlainValue)> = Vec::new();
        for (key, value) in pairs {
            let (key, value) = (self.copy_nested(*key, depth)?, self.copy_nested(*value, depth)?);
            let name = match &key {
                PlainValue::Str(text) => Some(format!("s{text}")),
                PlainValue::Int(number) => Some(format!("i{number}")),
                _ => None,
            };
            let place = name.map(|name| *places.entry(name).or_insert(copied.len()));
            match place.and_then(|place| copied.get_mut(place)) {
                Some(earlier) => earlier.1 = value,
                None => copied.push((key, value)),
            }
        }
        Ok(copied)
    }

    fn spend(&mut self, text_bytes: usize) -> Result<(), WeightsError> {
        let cost = text_bytes.saturating_add(size_of::<PlainValue>());
        let left = self.bytes_left.checked_sub(cost);
        self.bytes_left =
            left.ok_or_else(|| WeightsError::hostile("its attributes are too large for a model"))?;
        Ok(())
    }
}
