//! The network's operations as ONNX nodes.

use super::error::OnnxError;
use super::graph::{Attribute, Graph, Value};
use crate::architecture::{Activation, ConvRef};
use crate::error::ModelError;
use crate::program::{OperationKind, Program};
use crate::weights::StateDict;

/// Appends every operation, and gives the name of each value: the image first, then the operations' outputs.
pub(super) fn lower<'a>(
    graph: &mut Graph<'a>,
    program: &Program,
    weights: &'a StateDict,
) -> Result<Vec<Value>, OnnxError> {
    let mut values = vec![graph.input.name.clone()];
    for operation in &program.operations {
        let inputs: Vec<&str> = operation.inputs.iter().map(|&input| values[input].as_str()).collect();
        let name = |what: &str| format!("model.{}.{what}", operation.layer);
        let output = match &operation.kind {
            OperationKind::Conv(conv) => conv_block(graph, conv, inputs[0], weights)?,
            OperationKind::Add => graph.node(&name("add"), "Add", &inputs, &[]),
            OperationKind::Concat => {
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
    let weight = graph.weights(conv.weight(), &spec.weight_shape(), values(&conv.weight())?);
    let bias = graph.weights(conv.bias(), &[spec.out_channels], values(&conv.bias())?);
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
    // The empty name stands for the region of interest, which only another mode reads.
    graph.node(name, "Resize", &[input, "", &scales], &attributes)
}

fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
