//! Values as a pickle of protocol 2, with the opcodes that every reader of PyTorch's files knows.
//!
//! Texts and names of classes are memoised at their first use, as Python does it; nothing else is shared. The same value
//! always gives the same bytes.

use std::collections::HashMap;

/// A value of Python, to be pickled.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A class or function by its dotted path.
    Global(String),
    /// A function called with arguments.
    Call(Box<Value>, Vec<Value>),
    /// A `collections.OrderedDict`.
    Ordered(Vec<(Value, Value)>),
    /// An object by the path of its class and its attributes.
    Object(String, Vec<(Value, Value)>),
    /// A reference to what lies outside of the pickle.
    Persistent(Box<Value>),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The function at `path` called with `arguments`.
    pub(crate) fn call(path: &str, arguments: Vec<Value>) -> Self {
        Self::Call(Box::new(Self::Global(path.to_owned())), arguments)
    }

    /// An empty set; its name is Python 2's, which protocol 2 has and every reader maps.
    pub(crate) fn empty_set() -> Self {
        Self::call("__builtin__.set", vec![Self::List(Vec::new())])
    }

    /// A whole number that is an extent or a count.
    pub(crate) fn count(count: usize) -> Self {
        Self::Int(count as i64)
    }

    /// A tuple of counts.
    pub(crate) fn counts(counts: &[usize]) -> Self {
        Self::Tuple(counts.iter().map(|count| Self::count(*count)).collect())
    }
}

/// The bytes of `value` as a pickle.
pub(crate) fn pickle(value: &Value) -> Vec<u8> {
    let mut writer = Writer { bytes: vec![0x80, 2], memo: HashMap::new() };
    writer.value(value);
    writer.bytes.push(b'.');
    writer.bytes
}

struct Writer {
    bytes: Vec<u8>,
    /// Numbers of the texts and classes written so far, by the bytes that write them.
    memo: HashMap<Vec<u8>, u32>,
}

impl Writer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.op(b"N"),
            Value::Bool(true) => self.op(&[0x88]),
            Value::Bool(false) => self.op(&[0x89]),
            Value::Int(value) => self.int(*value),
            Value::Float(value) => {
                self.op(b"G");
                self.op(&value.to_be_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::List(items) => self.list(items),
            Value::Tuple(items) => self.tuple(items),
            Value::Dict(pairs) => {
                self.op(b"}");
                self.pairs(pairs);
            }
            Value::Global(path) => self.global(path),
            Value::Call(function, arguments) => {
                self.value(function);
                self.tuple(arguments);
                self.op(b"R");
            }
            Value::Ordered(pairs) => {
                self.global("collections.OrderedDict");
                self.op(b")R");
                self.pairs(pairs);
            }
            Value::Object(class, attributes) => {
                self.global(class);
                self.op(&[b')', 0x81, b'}']);
                self.pairs(attributes);
                self.op(b"b");
            }
            Value::Persistent(id) => {
                self.value(id);
                self.op(b"Q");
            }
        }
    }

    fn op(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn int(&mut self, value: i64) {
        if let Ok(value) = u8::try_from(value) {
            self.op(&[b'K', value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.op(b"M");
            self.op(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.op(b"J");
            self.op(&value.to_le_bytes());
        } else {
            self.op(&[0x8a, 8]);
            self.op(&value.to_le_bytes());
        }
    }

    fn text(&mut self, text: &str) {
        let mut code = vec![b'X'];
        // No name or attribute of a network comes near 4 GB.
        code.extend_from_slice(&(text.len() as u32).to_le_bytes());
        code.extend_from_slice(text.as_bytes());
        self.memoised(code);
    }

    fn global(&mut self, path: &str) {
        let (module, name) = path.rsplit_once('.').unwrap_or(("builtins", path));
        self.memoised(format!("c{module}\n{name}\n").into_bytes());
    }

    /// Writes what `code` writes, or where it was written before.
    fn memoised(&mut self, code: Vec<u8>) {
        let (number, [short, long]) = match self.memo.get(&code) {
            Some(&number) => (number, [b'h', b'j']),
            None => {
                self.op(&code);
                let number = self.memo.len() as u32;
                self.memo.insert(code, number);
                (number, [b'q', b'r'])
            }
        };
        match u8::try_from(number) {
            Ok(number) => self.op(&[short, number]),
            Err(_) => {
                self.op(&[long]);
                self.op(&number.to_le_bytes());
            }
        }
    }

    fn list(&mut self, items: &[Value]) {
        self.op(b"]");
        if !items.is_empty() {
            self.op(b"(");
            items.iter().for_each(|item| self.value(item));
            self.op(b"e");
        }
    }

    fn tuple(&mut self, items: &[Value]) {
        match items.len() {
            0 => self.op(b")"),
            n @ 1..=3 => {
                items.iter().for_each(|item| self.value(item));
                self.op(&[0x84 + n as u8]);
            }
            _ => {
                self.op(b"(");
                items.iter().for_each(|item| self.value(item));
                self.op(b"t");
            }
        }
    }

    fn pairs(&mut self, pairs: &[(Value, Value)]) {
        if pairs.is_empty() {
            return;
        }
        self.op(b"(");
        for (key, value) in pairs {
            self.value(key);
            self.value(value);
        }
        self.op(b"u");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Node, unpickle};
    use super::*;

    #[test]
    fn numbers_take_the_shortest_opcode_and_come_back() {
        for (value, bytes) in [(0, 3), (255, 3), (256, 4), (65_535, 4), (65_536, 6), (-1, 6), (1 << 40, 11)] {
            let pickled = pickle(&Value::Int(value));
            assert_eq!(pickled.len(), bytes + 2, "{value}");
            let read = unpickle(&pickled).unwrap();
            assert!(matches!(read.arena.get(read.root), Node::Int(read) if *read == value), "{value}");
        }
        let read = unpickle(&pickle(&Value::Float(0.1))).unwrap();
        assert!(matches!(read.arena.get(read.root), Node::Float(read) if *read == 0.1));
    }

    /// By hand: PROTO 2, a tuple of the same text twice, and STOP.
    #[test]
    fn texts_are_written_once() {
        let twice = Value::Tuple(vec![Value::text("ab"), Value::text("ab")]);
        assert_eq!(pickle(&twice), b"\x80\x02X\x02\0\0\0abq\0h\0\x86.");
        let many: Vec<Value> = (0..300).map(|n| Value::text(n.to_string())).collect();
        let read = unpickle(&pickle(&Value::List([many.clone(), many].concat()))).unwrap();
        let items = read.arena.sequence(read.root).unwrap();
        assert_eq!((items.len(), read.arena.str(items[299])), (600, Some("299")));
        assert_eq!(items[299], items[599], "beyond the numbers of one byte");
    }

    #[test]
    fn containers_and_objects_come_back() {
        let pair = |key: &str, value| (Value::text(key), value);
        let object = Value::Object("models.common.Concat".into(), vec![pair("d", Value::Int(1))]);
        let value = Value::Dict(vec![
            pair("none", Value::None),
            pair("ordered", Value::Ordered(vec![pair("a", Value::Bool(true))])),
            pair("set", Value::empty_set()),
            pair("object", object),
        ]);
        let read = unpickle(&pickle(&value)).unwrap();
        let (arena, root) = (&read.arena, read.root);
        assert!(matches!(arena.get(arena.lookup(root, "none").unwrap()), Node::None));
        assert!(arena.lookup(arena.lookup(root, "ordered").unwrap(), "a").is_some());
        assert!(
            matches!(arena.get(arena.lookup(root, "set").unwrap()), Node::Set(items) if items.is_empty())
        );
        let Node::Object(object) = arena.get(arena.lookup(root, "object").unwrap()) else { panic!() };
        let attributes = arena.attributes(object).unwrap();
        assert!(matches!(arena.get(arena.lookup(attributes, "d").unwrap()), Node::Int(1)));
    }
}
