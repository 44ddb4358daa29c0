//! Activations as ONNX nodes.

use super::graph::{Attribute, Graph, Value};
use crate::architecture::Activation;

/// Appends an activation of `input`, called `name`.
pub(super) fn lower(graph: &mut Graph<'_>, name: &str, input: Value, kind: Activation) -> Value {
    match kind {
        Activation::Silu => {
            let sigmoid = graph.node(&format!("{name}.sigmoid"), "Sigmoid", &[&input], &[]);
            graph.node(name, "Mul", &[&input, &sigmoid], &[])
        }
        Activation::Relu => graph.node(name, "Relu", &[&input], &[]),
        Activation::LeakyRelu { slope } => {
            graph.node(name, "LeakyRelu", &[&input], &[("alpha", Attribute::Float(slope))])
        }
        Activation::Relu6 => {
            let precision = graph.precision;
            let low = graph.scalar(&format!("{name}.low"), 0.0, precision);
            let high = graph.scalar(&format!("{name}.high"), 6.0, precision);
            graph.node(name, "Clip", &[&input, &low, &high], &[])
        }
        Activation::Hardswish => {
            let attributes = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
            let gate = graph.node(&format!("{name}.gate"), "HardSigmoid", &[&input], &attributes);
            graph.node(name, "Mul", &[&input, &gate], &[])
        }
        Activation::Mish => {
            let softplus = graph.node(&format!("{name}.softplus"), "Softplus", &[&input], &[]);
            let gate = graph.node(&format!("{name}.gate"), "Tanh", &[&softplus], &[]);
            graph.node(name, "Mul", &[&input, &gate], &[])
        }
        Activation::Elu { alpha } => {
            graph.node(name, "Elu", &[&input], &[("alpha", Attribute::Float(alpha))])
        }
        Activation::Gelu => gelu(graph, name, &input),
        Activation::Identity => input,
    }
}

/// `x · (1 + erf(x / √2)) / 2`: the operator of that name is younger than the oldest opset here.
fn gelu(graph: &mut Graph<'_>, name: &str, input: &str) -> Value {
    let precision = graph.precision;
    let factor = graph.scalar(&format!("{name}.factor"), std::f32::consts::FRAC_1_SQRT_2, precision);
    let one = graph.scalar(&format!("{name}.one"), 1.0, precision);
    let half = graph.scalar(&format!("{name}.half"), 0.5, precision);
    let scaled = graph.node(&format!("{name}.scaled"), "Mul", &[input, &factor], &[]);
    let erf = graph.node(&format!("{name}.erf"), "Erf", &[&scaled], &[]);
    let raised = graph.node(&format!("{name}.raised"), "Add", &[&erf, &one], &[]);
    let gate = graph.node(&format!("{name}.gate"), "Mul", &[&raised, &half], &[]);
    graph.node(name, "Mul", &[input, &gate], &[])
}
