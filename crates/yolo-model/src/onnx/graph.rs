//! An ONNX graph under construction: nodes, stored tensors, inputs and outputs.
//!
//! Field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>). A node and
//! the value that it makes have the same name.

use std::borrow::Cow;
use std::collections::HashSet;

use half::f16;

use super::wire::Message;
use super::{Dim, OnnxValue};
use crate::weights::{FloatFormat, WeightsError, to_halves};

/// ONNX's number for single precision.
const FLOAT: i64 = 1;
/// ONNX's number for half precision.
const FLOAT16: i64 = 10;
/// ONNX's number for 64-bit integers.
const INT64: i64 = 7;

/// A value of the graph, by name.
pub(crate) type Value = String;

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
    Text(&'static str),
    Ints(Vec<i64>),
}

/// A stored tensor; weights are borrowed from the checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Tensor<'a> {
    name: String,
    shape: Vec<usize>,
    pub(crate) elements: Elements<'a>,
}

/// The elements of a stored tensor in row-major order.
#[derive(Clone, Debug)]
pub(crate) enum Elements<'a> {
    F16(Vec<f16>),
    F32(Cow<'a, [f32]>),
    I64(Vec<i64>),
}

/// The graph.
#[derive(Clone, Debug)]
pub(crate) struct Graph<'a> {
    pub(super) nodes: Vec<Message>,
    pub(crate) tensors: Vec<Tensor<'a>>,
    pub(crate) input: OnnxValue,
    pub(crate) outputs: Vec<OnnxValue>,
    /// How the images, the weights, every map of the network and the outputs are stored.
    pub(crate) precision: FloatFormat,
    /// Version of the operators.
    pub(crate) opset: u32,
    /// The names that are taken.
    names: HashSet<String>,
}

impl<'a> Graph<'a> {
    /// With its input and nothing else.
    pub(crate) fn new(input: OnnxValue, opset: u32) -> Self {
        let names = HashSet::from([input.name.clone()]);
        let precision = input.precision;
        Self { nodes: Vec::new(), tensors: Vec::new(), input, outputs: Vec::new(), precision, opset, names }
    }

    /// Appends a node with one output, and gives that.
    pub(crate) fn node(
        &mut self,
        name: &str,
        operator: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> Value {
        let name = self.unique(name);
        self.push_node(&name, operator, inputs, std::slice::from_ref(&name), attributes);
        name
    }

    /// Appends a node with `outputs` outputs, and gives them: its name followed by their numbers.
    pub(crate) fn nodes(
        &mut self,
        name: &str,
        operator: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        outputs: usize,
    ) -> Vec<Value> {
        let name = self.unique(name);
        let outputs: Vec<Value> =
            (0..outputs).map(|output| self.unique(&format!("{name}.{output}"))).collect();
        self.push_node(&name, operator, inputs, &outputs, attributes);
        outputs
    }

    /// Appends a `Slice` of `input` along `axis`: every `step`-th entry from the first of `range` up to its end.
    ///
    /// OpenCV reads a `Slice`; not every version of it reads a `Split` into unequal parts.
    pub(crate) fn slice(
        &mut self,
        name: &str,
        input: &str,
        axis: i64,
        range: [usize; 2],
        step: usize,
    ) -> Value {
        let [start, end] = range.map(|place| place as i64);
        let start = self.integers(&format!("{name}.start"), &[start]);
        let end = self.integers(&format!("{name}.end"), &[end]);
        let axis = self.integers(&format!("{name}.axis"), &[axis]);
        let step = self.integers(&format!("{name}.step"), &[step as i64]);
        self.node(name, "Slice", &[input, &start, &end, &axis, &step], &[])
    }

    /// Appends a `TopK` along `axis` and returns the values, largest first, and their places.
    pub(crate) fn top_k(&mut self, name: &str, input: &str, count: usize, axis: i64) -> [Value; 2] {
        let count = self.integers(&format!("{name}.count"), &[count as i64]);
        let outputs = [self.unique(name), self.unique(&format!("{name}.places"))];
        let attributes = [("axis", Attribute::Int(axis))];
        self.push_node(name, "TopK", &[input, &count], &outputs, &attributes);
        outputs
    }

    /// Appends what makes a map of ones with the shape of the map `input`, whose values are probabilities.
    pub(crate) fn ones(&mut self, name: &str, input: &str, precision: FloatFormat) -> Value {
        let zero = self.scalar(&format!("{name}.zero"), 0.0, precision);
        let one = self.scalar(&format!("{name}.one"), 1.0, precision);
        let zeros = self.node(&format!("{name}.zeros"), "Mul", &[input, &zero], &[]);
        self.node(name, "Add", &[&zeros, &one], &[])
    }

    /// Appends a conversion, which keeps values that are in that precision already as they are.
    pub(crate) fn cast(&mut self, name: &str, input: &str, to: FloatFormat) -> Value {
        self.node(name, "Cast", &[input], &[("to", Attribute::Int(number_of(to)))])
    }

    fn push_node(
        &mut self,
        name: &str,
        operator: &'static str,
        inputs: &[&str],
        outputs: &[Value],
        attributes: &[(&'static str, Attribute)],
    ) {
        let inputs = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        let outputs = outputs.iter().fold(inputs, |node, output| node.text(2, output));
        let attributes: Vec<Message> = attributes.iter().map(|(name, value)| value.message(name)).collect();
        self.nodes.push(outputs.text(3, name).text(4, operator).messages(5, &attributes));
    }

    /// Stores weights under their own name, in the precision of the graph.
    ///
    /// # Errors
    /// In half precision, a weight beyond its range.
    pub(crate) fn weights(
        &mut self,
        name: String,
        shape: &[usize],
        values: &'a [f32],
    ) -> Result<Value, WeightsError> {
        let elements = match self.precision {
            FloatFormat::F32 => Elements::F32(Cow::Borrowed(values)),
            FloatFormat::F16 => Elements::F16(to_halves(values).map_err(|error| error.at(name.as_str()))?),
        };
        Ok(self.store(name, shape.to_vec(), elements))
    }

    /// Stores a small number.
    pub(crate) fn scalar(&mut self, name: &str, value: f32, precision: FloatFormat) -> Value {
        let elements = match precision {
            FloatFormat::F32 => Elements::F32(Cow::Owned(vec![value])),
            FloatFormat::F16 => Elements::F16(vec![f16::from_f32(value)]),
        };
        self.store(name.to_owned(), Vec::new(), elements)
    }

    /// Stores single-precision constants.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Value {
        self.store(name.to_owned(), shape.to_vec(), Elements::F32(Cow::Owned(values)))
    }

    /// Stores a vector of integers.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> Value {
        self.store(name.to_owned(), vec![values.len()], Elements::I64(values.to_vec()))
    }

    /// Stores an integer.
    pub(crate) fn integer(&mut self, name: &str, value: i64) -> Value {
        self.store(name.to_owned(), Vec::new(), Elements::I64(vec![value]))
    }

    fn store(&mut self, name: String, shape: Vec<usize>, elements: Elements<'a>) -> Value {
        let name = self.unique(&name);
        self.tensors.push(Tensor { name: name.clone(), shape, elements });
        name
    }

    /// `name`, or `name_1`, `name_2`, … where it is taken.
    fn unique(&mut self, name: &str) -> Value {
        let mut unique = name.to_owned();
        let mut number = 0;
        while !self.names.insert(unique.clone()) {
            number += 1;
            unique = format!("{name}_{number}");
        }
        unique
    }
}

impl Attribute {
    /// An `AttributeProto`.
    fn message(&self, name: &str) -> Message {
        let named = Message::default().text(1, name);
        match self {
            Self::Float(value) => named.float(2, *value).int(20, 1),
            Self::Int(value) => named.int(3, *value).int(20, 2),
            Self::Text(value) => named.text(4, value).int(20, 3),
            Self::Ints(values) => named.ints(8, values).int(20, 7),
        }
    }
}

impl Tensor<'_> {
    /// A `TensorProto` up to the length of its data, which follows.
    pub(super) fn header(&self) -> Message {
        let element_type = match self.elements {
            Elements::F16(_) => FLOAT16,
            Elements::F32(_) => FLOAT,
            Elements::I64(_) => INT64,
        };
        let shape: Vec<i64> = self.shape.iter().map(|&extent| extent as i64).collect();
        let named = Message::default().ints(1, &shape).int(2, element_type).text(8, &self.name);
        named.open(9, self.elements.bytes())
    }
}

impl Elements<'_> {
    /// Bytes of the data.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::F16(values) => 2 * values.len() as u64,
            Self::F32(values) => 4 * values.len() as u64,
            Self::I64(values) => 8 * values.len() as u64,
        }
    }
}

impl OnnxValue {
    /// A `ValueInfoProto`.
    pub(super) fn message(&self) -> Message {
        let dims: Vec<Message> = self.shape.iter().map(Dim::message).collect();
        let shape = Message::default().messages(1, &dims);
        let tensor = Message::default().int(1, number_of(self.precision)).message(2, &shape);
        Message::default().text(1, &self.name).message(2, &Message::default().message(1, &tensor))
    }
}

/// ONNX's number for a precision.
fn number_of(precision: FloatFormat) -> i64 {
    match precision {
        FloatFormat::F16 => FLOAT16,
        FloatFormat::F32 => FLOAT,
    }
}

impl Dim {
    fn message(&self) -> Message {
        match self {
            Self::Fixed(extent) => Message::default().int(1, *extent as i64),
            Self::Named(name) => Message::default().text(2, name),
        }
    }
}
