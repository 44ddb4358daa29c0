//! The network's operations as ONNX nodes.

use super::Axes;
use super::error::OnnxError;
use super::graph::{Attribute, Graph, Value};
use crate::architecture::{Activation, ConvRef};
use crate::error::ModelError;
use crate::program::{OperationKind, Program, ValueId};
use crate::weights::StateDict;

/// Appends every operation, and gives the name of each value: the image first, then the operations' outputs.
pub(super) fn lower<'a>(
    graph: &mut Graph<'a>,
    program: &Program,
    weights: &'a StateDict,
    axes: Axes,
) -> Result<Vec<Value>, OnnxError> {
    let stand_ins = (axes == Axes::Dynamic).then(|| stand_ins(program));
    let mut values = vec![graph.input.name.clone()];
    for operation in &program.operations {
        let inputs: Vec<&str> = operation.inputs.iter().map(|&input| values[input].as_str()).collect();
        let name = |what: &str| format!("model.{}.{what}", operation.layer);
        let output = match &operation.kind {
            OperationKind::Conv(conv) => conv_block(graph, conv, inputs[0], weights)?,
            OperationKind::Add => graph.node(&name("add"), "Add", &inputs, &[]),
            OperationKind::Concat => {
                let inputs = match &stand_ins {
                    Some(sizes) => level(graph, &name("concat"), &inputs, &operation.inputs, sizes),
                    None => inputs.into_iter().map(str::to_owned).collect(),
                };
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                graph.node(&name("concat"), "Concat", &inputs, &[("axis", Attribute::Int(1))])
            }
            OperationKind::MaxPool { size } => max_pool(graph, &name("pool"), inputs[0], *size),
            OperationKind::Upsample { scale } => upsample(graph, &name("upsample"), inputs[0], *scale),
        };
        values.push(output);
    }
    Ok(values)
}

/// The fused block: convolution with bias, activation.
fn conv_block<'a>(
    graph: &mut Graph<'a>,
    conv: &ConvRef,
    input: &str,
    weights: &'a StateDict,
) -> Result<Value, OnnxError> {
    let spec = &conv.spec;
    let values = |name: &str| weights.f32s(name).map_err(ModelError::from);
    let weight = graph
        .weights(conv.weight(), &spec.weight_shape(), values(&conv.weight())?)
        .map_err(ModelError::from)?;
    let bias =
        graph.weights(conv.bias(), &[spec.out_channels], values(&conv.bias())?).map_err(ModelError::from)?;
    let [vertical, horizontal] = spec.padding;
    let attributes = [
        ("dilations", ints(&spec.dilation)),
        ("group", Attribute::Int(spec.groups as i64)),
        ("kernel_shape", ints(&spec.kernel)),
        ("pads", ints(&[vertical, horizontal, vertical, horizontal])),
        ("strides", ints(&spec.stride)),
    ];
    let name = if conv.is_bare { conv.name.clone() } else { format!("{}.conv", conv.name) };
    let output = graph.node(&name, "Conv", &[input, &weight, &bias], &attributes);
    Ok(activation(graph, &format!("{}.act", conv.name), output, spec.activation))
}

fn activation(graph: &mut Graph<'_>, name: &str, input: Value, kind: Activation) -> Value {
    match kind {
        Activation::Silu => {
            let sigmoid = graph.node(&format!("{name}.sigmoid"), "Sigmoid", &[&input], &[]);
            graph.node(name, "Mul", &[&input, &sigmoid], &[])
        }
        Activation::Relu => graph.node(name, "Relu", &[&input], &[]),
        Activation::LeakyRelu { slope } => {
            graph.node(name, "LeakyRelu", &[&input], &[("alpha", Attribute::Float(slope))])
        }
        Activation::Identity => input,
    }
}

/// ONNX ignores the border, which is what −∞ there means.
fn max_pool(graph: &mut Graph<'_>, name: &str, input: &str, size: usize) -> Value {
    let attributes =
        [("kernel_shape", ints(&[size; 2])), ("pads", ints(&[size / 2; 4])), ("strides", ints(&[1, 1]))];
    graph.node(name, "MaxPool", &[input], &attributes)
}

/// Each pixel becomes a square: output `i` is input `floor(i / scale)`.
fn upsample(graph: &mut Graph<'_>, name: &str, input: &str, scale: usize) -> Value {
    let scale = scale as f32;
    let scales = graph.floats(&format!("{name}.scales"), &[4], vec![1.0, 1.0, scale, scale]);
    let attributes = [
        ("mode", Attribute::Text("nearest")),
        ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
        ("nearest_mode", Attribute::Text("floor")),
    ];
    // The region of interest, which only another mode reads: an empty name leaves it out where that is allowed.
    let region = match graph.opset {
        ..13 => graph.floats(&format!("{name}.region"), &[0], Vec::new()),
        _ => String::new(),
    };
    graph.node(name, "Resize", &[input, &region, &scales], &attributes)
}

/// The sides that OpenCV's importer (4.7 to 4.14) works with while it reads a graph whose image has no fixed size: no side
/// is below 1, and an enlarged map is larger than the map that it was made from, whatever the two are in an image.
fn stand_ins(program: &Program) -> Vec<[usize; 2]> {
    let mut sizes = vec![[1; 2]];
    for operation in &program.operations {
        let inputs = operation.inputs.iter().map(|&input| sizes[input]);
        let largest = inputs.reduce(larger).unwrap_or([1; 2]);
        sizes.push(operation.kind.output_size(largest));
    }
    sizes
}

fn larger(a: [usize; 2], b: [usize; 2]) -> [usize; 2] {
    std::array::from_fn(|axis| a[axis].max(b[axis]))
}

/// Multiplies the maps that the importer takes for smaller than the largest by ones of that one's shape. It then sees maps
/// of one size; the values stay what they are.
fn level(
    graph: &mut Graph<'_>,
    name: &str,
    inputs: &[&str],
    values: &[ValueId],
    sizes: &[[usize; 2]],
) -> Vec<Value> {
    let whole = values.iter().map(|&value| sizes[value]).reduce(larger).unwrap_or([1; 2]);
    let template = values.iter().position(|&value| sizes[value] == whole).unwrap_or(0);
    if values.iter().all(|&value| sizes[value] == whole) {
        return inputs.iter().map(|&input| input.to_owned()).collect();
    }
    let channel = graph.slice(&format!("{name}.channel"), inputs[template], 1, [0, 1], 1);
    // A probability is finite, so that zero times it is zero.
    let bounded = graph.node(&format!("{name}.bounded"), "Sigmoid", &[&channel], &[]);
    let ones = graph.ones(&format!("{name}.ones"), &bounded, graph.precision);
    let levelled = |(&input, &value): (&&str, &ValueId)| {
        if sizes[value] == whole {
            return input.to_owned();
        }
        graph.node(&format!("{name}.levelled"), "Mul", &[input, &ones], &[])
    };
    inputs.iter().zip(values).map(levelled).collect()
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
