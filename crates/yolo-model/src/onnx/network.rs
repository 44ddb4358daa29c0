//! The network's operations as ONNX nodes.

use super::error::OnnxError;
use super::graph::{Attribute, Graph, Value};
use super::splits::Splits;
use super::{Axes, activation, attention, maps};
use crate::architecture::{BATCH_NORM_EPSILON, ConvRef, NormRef, TransposedRef};
use crate::error::ModelError;
use crate::program::{OperationKind, PoolSpec, Program, ValueId};
use crate::weights::StateDict;

/// Appends every operation, and gives the name of each value: the image first, then the operations' outputs.
pub(super) fn lower<'a>(
    graph: &mut Graph<'a>,
    program: &Program,
    weights: &'a StateDict,
    axes: Axes,
) -> Result<Vec<Value>, OnnxError> {
    let stand_ins = (axes == Axes::Dynamic).then(|| stand_ins(program));
    let sizes = match axes {
        Axes::Fixed { size, .. } => Some(program.sizes(size)),
        Axes::Dynamic => None,
    };
    let mut values = vec![graph.input.name.clone()];
    let mut splits = Splits::new(program);
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
            OperationKind::MaxPool { size } => {
                maps::pool(graph, &name("pool"), inputs[0], &PoolSpec::same(*size))
            }
            OperationKind::Upsample { scale } => maps::upsample(graph, &name("upsample"), inputs[0], *scale),
            OperationKind::Norm(norm) => self::norm(graph, norm, inputs[0], weights)?,
            OperationKind::Transposed(transposed) => self::transposed(graph, transposed, inputs[0], weights)?,
            OperationKind::Attention(spec) => {
                let value = operation.inputs[0];
                let size = sizes.as_ref().map(|sizes| sizes[value]);
                let channels = program.channels[value];
                attention::lower(graph, &name("attention"), inputs[0], (*spec, channels), size)
            }
            // A graph has no gradients.
            OperationKind::Detach => inputs[0].to_owned(),
            OperationKind::Pool(spec) => maps::pool(graph, &name("pool"), inputs[0], spec),
            OperationKind::ZeroPad { sides } => maps::zero_pad(graph, &name("pad"), inputs[0], *sides),
            OperationKind::SpaceToDepth { size, order } => {
                maps::space_to_depth(graph, &name("squares"), inputs[0], *size, *order)
            }
            OperationKind::Pick { channels } => {
                match (splits.part(graph, &name("split"), &values, operation), operation.kind.slice()) {
                    (Some(part), _) => part,
                    (None, Some(range)) => maps::slice(graph, &name("slice"), inputs[0], &range),
                    (None, None) => maps::pick(graph, &name("pick"), inputs[0], channels),
                }
            }
            OperationKind::DepthToSpace { size } => {
                maps::depth_to_space(graph, &name("squares"), inputs[0], *size)
            }
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
    let mut inputs = vec![input.to_owned()];
    let weight = graph.weights(conv.weight(), &spec.weight_shape(), values(&conv.weight())?);
    inputs.push(weight.map_err(ModelError::from)?);
    if conv.has_bias(true) {
        let bias = graph.weights(conv.bias(), &[spec.out_channels], values(&conv.bias())?);
        inputs.push(bias.map_err(ModelError::from)?);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let [vertical, horizontal] = spec.padding;
    let attributes = [
        ("dilations", ints(&spec.dilation)),
        ("group", Attribute::Int(spec.groups as i64)),
        ("kernel_shape", ints(&spec.kernel)),
        ("pads", ints(&[vertical, horizontal, vertical, horizontal])),
        ("strides", ints(&spec.stride)),
    ];
    let name = if conv.is_bare { conv.name.clone() } else { format!("{}.conv", conv.name) };
    let output = graph.node(&name, "Conv", &inputs, &attributes);
    Ok(activation::lower(graph, &format!("{}.act", conv.name), output, spec.activation))
}

/// Batch normalisation that stands alone, and its activation.
fn norm<'a>(
    graph: &mut Graph<'a>,
    norm: &NormRef,
    input: &str,
    weights: &'a StateDict,
) -> Result<Value, OnnxError> {
    let mut inputs = vec![input.to_owned()];
    for what in ["weight", "bias", "running_mean", "running_var"] {
        let name = norm.tensor(what);
        let values = weights.f32s(&name).map_err(ModelError::from)?;
        inputs.push(graph.weights(name, &[norm.spec.channels], values).map_err(ModelError::from)?);
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let epsilon = [("epsilon", Attribute::Float(BATCH_NORM_EPSILON as f32))];
    let output = graph.node(&norm.name, "BatchNormalization", &inputs, &epsilon);
    Ok(activation::lower(graph, &format!("{}.act", norm.name), output, norm.spec.activation))
}

fn transposed<'a>(
    graph: &mut Graph<'a>,
    transposed: &TransposedRef,
    input: &str,
    weights: &'a StateDict,
) -> Result<Value, OnnxError> {
    let spec = &transposed.spec;
    let mut stored = |name: String, shape: &[usize]| -> Result<Value, ModelError> {
        let values = weights.f32s(&name)?;
        Ok(graph.weights(name, shape, values)?)
    };
    let weight = stored(transposed.weight(), &spec.weight_shape())?;
    let bias = stored(transposed.bias(), &[spec.out_channels])?;
    let [vertical, horizontal] = spec.padding;
    let attributes = [
        ("dilations", ints(&spec.dilation)),
        ("group", Attribute::Int(spec.groups as i64)),
        ("kernel_shape", ints(&spec.kernel)),
        ("output_padding", ints(&spec.output_padding)),
        ("pads", ints(&[vertical, horizontal, vertical, horizontal])),
        ("strides", ints(&spec.stride)),
    ];
    Ok(graph.node(&transposed.name, "ConvTranspose", &[input, &weight, &bias], &attributes))
}

/// The sides that OpenCV's importer (4.7 to 4.14) works with while it reads a graph whose image has no fixed size: no side
/// is below 1, and an enlarged map is larger than the map that it was made from, whatever the two are in an image.
fn stand_ins(program: &Program) -> Vec<[usize; 2]> {
    let mut sizes = vec![[1; 2]];
    for operation in &program.operations {
        let inputs = operation.inputs.iter().map(|&input| sizes[input]);
        let largest = inputs.reduce(larger).unwrap_or([1; 2]);
        sizes.push(operation.kind.output_size(largest).map(|side| side.max(1)));
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

pub(super) fn ints(values: &[usize]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
