//! Reads as much of an ONNX file as the tests look at.

use std::collections::BTreeMap;

/// The content of a protobuf field.
#[derive(Clone, Copy, Debug)]
enum Content<'a> {
    Int(u64),
    Bytes(&'a [u8]),
}

/// A message's fields in order; anything that does not fit panics.
struct Fields<'a>(Vec<(u64, Content<'a>)>);

impl<'a> Fields<'a> {
    fn of(mut bytes: &'a [u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let content = match tag & 7 {
                0 => Content::Int(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    Content::Bytes(bytes.split_off(..length).unwrap())
                }
                5 => Content::Bytes(bytes.split_off(..4).unwrap()),
                other => panic!("wire type {other}"),
            };
            fields.push((tag >> 3, content));
        }
        Self(fields)
    }

    fn ints(&self, field: u64) -> Vec<i64> {
        let int = |content: &Content<'a>| match content {
            Content::Int(value) => *value as i64,
            Content::Bytes(_) => panic!("field {field} is not an integer"),
        };
        self.0.iter().filter(|(number, _)| *number == field).map(|(_, content)| int(content)).collect()
    }

    fn bytes(&self, field: u64) -> Vec<&'a [u8]> {
        let bytes = |content: &Content<'a>| match content {
            Content::Bytes(bytes) => *bytes,
            Content::Int(_) => panic!("field {field} is an integer"),
        };
        self.0.iter().filter(|(number, _)| *number == field).map(|(_, content)| bytes(content)).collect()
    }

    fn texts(&self, field: u64) -> Vec<String> {
        self.bytes(field).into_iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect()
    }

    fn text(&self, field: u64) -> String {
        let [text] = &self.texts(field)[..] else { panic!("field {field} is not there once") };
        text.clone()
    }

    fn message(&self, field: u64) -> Fields<'a> {
        let [message] = self.bytes(field)[..] else { panic!("field {field} is not there once") };
        Fields::of(message)
    }

    fn messages(&self, field: u64) -> Vec<Fields<'a>> {
        self.bytes(field).into_iter().map(Fields::of).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first().unwrap();
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than ten bytes")
}

/// A node.
pub(crate) struct Node {
    pub(crate) operator: String,
    pub(crate) name: String,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    /// Attributes that are lists of integers.
    pub(crate) ints: BTreeMap<String, Vec<i64>>,
}

/// A stored tensor.
pub(crate) struct Tensor {
    pub(crate) shape: Vec<i64>,
    /// 1 is single precision, 7 are 64-bit integers, 10 is half precision.
    pub(crate) element_type: i64,
    pub(crate) data: Vec<u8>,
}

/// A model.
pub(crate) struct Model {
    pub(crate) ir_version: i64,
    pub(crate) opset: i64,
    pub(crate) producer: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    /// Names with shapes, as in `images [1, 3, 640, 640]`.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
}

impl Model {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let model = Fields::of(bytes);
        let graph = model.message(7);
        let entry = |entry: Fields<'_>| (entry.text(1), entry.text(2));
        let tensors: Vec<_> = graph.messages(5).into_iter().map(tensor).collect();
        let count = tensors.len();
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        assert_eq!(tensors.len(), count, "two tensors have the same name");
        Self {
            ir_version: model.ints(1)[0],
            opset: model.message(8).ints(2)[0],
            producer: model.text(2),
            metadata: model.messages(14).into_iter().map(entry).collect(),
            nodes: graph.messages(1).into_iter().map(node).collect(),
            tensors,
            inputs: graph.messages(11).iter().map(value).collect(),
            outputs: graph.messages(12).iter().map(value).collect(),
        }
    }

    /// How many nodes compute `operator`.
    pub(crate) fn count(&self, operator: &str) -> usize {
        self.nodes.iter().filter(|node| node.operator == operator).count()
    }

    /// The node called `name`.
    pub(crate) fn node(&self, name: &str) -> &Node {
        self.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }
}

fn node(fields: Fields<'_>) -> Node {
    let attribute = |attribute: Fields<'_>| (attribute.text(1), attribute.ints(8));
    Node {
        operator: fields.text(4),
        name: fields.text(3),
        inputs: fields.texts(1),
        outputs: fields.texts(2),
        ints: fields.messages(5).into_iter().map(attribute).filter(|(_, ints)| !ints.is_empty()).collect(),
    }
}

fn tensor(fields: Fields<'_>) -> (String, Tensor) {
    let tensor =
        Tensor { shape: fields.ints(1), element_type: fields.ints(2)[0], data: fields.bytes(9)[0].to_vec() };
    let size = match tensor.element_type {
        1 => 4,
        10 => 2,
        _ => 8,
    };
    assert_eq!(tensor.data.len() as i64, size * tensor.shape.iter().product::<i64>(), "{}", fields.text(8));
    (fields.text(8), tensor)
}

fn value(fields: &Fields<'_>) -> String {
    let tensor = fields.message(2).message(1);
    let precision = match tensor.ints(1)[..] {
        [1] => "",
        [10] => " float16",
        _ => panic!("element type {:?}", tensor.ints(1)),
    };
    let dim = |dim: Fields<'_>| match dim.ints(1)[..] {
        [extent] => extent.to_string(),
        _ => dim.text(2),
    };
    let shape: Vec<String> = tensor.message(2).messages(1).into_iter().map(dim).collect();
    format!("{} [{}]{precision}", fields.text(1), shape.join(", "))
}
