//! Networks as text with a line per convolution, tensor, operation and group. The text does not depend on the names
//! of types, so that it outlives them.

use std::fmt::Write as _;

use yolo_model::Architecture;
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::program::OperationKind;
use yolo_prune::channels::{ChannelPlan, Coupling, KeptChannels};

/// Height and width of the image for which sizes are listed; multiples of every stride.
const IMAGE: [usize; 2] = [320, 448];

/// Everything that is recorded of a network: file names and texts.
pub(super) fn items(architecture: &Architecture) -> Vec<(&'static str, String)> {
    let fused = Architecture { fused: true, ..architecture.clone() };
    let yaml = architecture.to_yaml().unwrap();
    assert_eq!(&Architecture::from_yaml(&yaml, None).unwrap(), architecture);
    let json = serde_json::to_string(architecture).unwrap();
    let plan = every_third_goes(architecture);
    vec![
        ("convs.txt", convs(architecture)),
        ("tensors.txt", tensors(architecture)),
        ("tensors-fused.txt", tensors(&fused)),
        ("operations.txt", operations(architecture)),
        ("sizes.txt", sizes(architecture)),
        ("summary.txt", summary(architecture)),
        ("summary-fused.txt", summary(&fused)),
        ("couplings.txt", couplings(architecture)),
        ("architecture.yaml", yaml),
        // A layer per line.
        ("architecture.json", json.replace("{\"from\"", "\n{\"from\"") + "\n"),
        ("narrowed.yaml", architecture.resized(&plan.widths(architecture).unwrap()).to_yaml().unwrap()),
    ]
}

fn conv(spec: &ConvSpec) -> String {
    let pair = |[a, b]: [usize; 2]| format!("{a}x{b}");
    let activation = match spec.activation {
        Activation::Silu => "silu".to_owned(),
        Activation::Relu => "relu".to_owned(),
        Activation::LeakyRelu { slope } => format!("leaky-relu({slope})"),
        Activation::Identity => "identity".to_owned(),
        other => format!("{other:?}"),
    };
    format!(
        "{} -> {} kernel {} stride {} padding {} dilation {} groups {} {activation}",
        spec.in_channels,
        spec.out_channels,
        pair(spec.kernel),
        pair(spec.stride),
        pair(spec.padding),
        pair(spec.dilation),
        spec.groups
    )
}

fn convs(architecture: &Architecture) -> String {
    let mut text = String::new();
    for reference in architecture.convs() {
        let head = if reference.is_bare { " head" } else { "" };
        let (name, layer) = (&reference.name, reference.layer);
        let _ = writeln!(text, "{name} layer {layer}: {}{head}", conv(&reference.spec));
    }
    text
}

fn tensors(architecture: &Architecture) -> String {
    let mut text = String::new();
    for tensor in architecture.tensors() {
        let kind = if tensor.is_parameter { "parameter" } else { "buffer" };
        let _ = writeln!(text, "{} {:?} {kind}", tensor.name, tensor.shape);
    }
    text
}

fn operations(architecture: &Architecture) -> String {
    let program = architecture.program();
    let mut text = format!("value 0: image, {} channels\n", program.channels[0]);
    for (index, operation) in program.operations.iter().enumerate() {
        let kind = match &operation.kind {
            OperationKind::Conv(reference) => {
                let head = if reference.is_bare { " head" } else { "" };
                format!("conv {} {}{head}", reference.name, conv(&reference.spec))
            }
            OperationKind::Add => "add".to_owned(),
            OperationKind::Concat => "concat".to_owned(),
            OperationKind::MaxPool { size } => format!("max-pool {size}"),
            OperationKind::Upsample { scale } => format!("upsample {scale}"),
            other => format!("{other:?}"),
        };
        let (value, inputs, layer) = (index + 1, &operation.inputs, operation.layer);
        let channels = program.channels[value];
        let _ = writeln!(text, "value {value}: layer {layer} of {inputs:?}, {channels} channels: {kind}");
    }
    let _ = writeln!(text, "outputs {:?}", program.outputs);
    text
}

fn sizes(architecture: &Architecture) -> String {
    let mut text = format!("image {IMAGE:?}\n");
    let channels = architecture.out_channels();
    for (index, (size, channels)) in architecture.output_sizes(IMAGE).iter().zip(channels).enumerate() {
        let _ = writeln!(text, "layer {index}: {channels} channels {size:?}");
    }
    for (value, size) in architecture.program().sizes(IMAGE).iter().enumerate() {
        let _ = writeln!(text, "value {value}: {size:?}");
    }
    text
}

fn summary(architecture: &Architecture) -> String {
    let summary = architecture.summary();
    let mut text = format!(
        "layers {} parameters {} conv weights {} gflops {:?}\n",
        summary.layers, summary.parameters, summary.conv_weights, summary.gflops
    );
    for layer in architecture.layer_summaries() {
        let _ = writeln!(
            text,
            "layer {} from {:?} {} channels {:?} parameters {} gflops {:?} repeats {}",
            layer.index,
            layer.from,
            layer.block,
            layer.channels,
            layer.parameters,
            layer.gflops,
            layer.repeats
        );
    }
    text
}

fn couplings(architecture: &Architecture) -> String {
    let coupling = Coupling::of(architecture);
    let mut text = String::new();
    for group in &coupling.groups {
        let _ = writeln!(text, "group {}: {} channels", group.name, group.channels);
        if let Some(reason) = &group.fixed {
            let _ = writeln!(text, "  fixed: {reason}");
        }
        for producer in &group.producers {
            let _ = writeln!(text, "  made by {}", producer.name);
        }
        for consumer in &group.consumers {
            let _ = writeln!(text, "  read by {} at {:?}", consumer.conv.name, consumer.offsets);
        }
    }
    for input in &coupling.inputs {
        let slices: Vec<String> = input
            .slices
            .iter()
            .map(|slice| {
                let group = slice.group.map_or("image", |group| &coupling.groups[group].name);
                format!("{group} {}+{}", slice.offset, slice.channels)
            })
            .collect();
        let _ = writeln!(text, "input of {}: {}", input.conv.name, slices.join(", "));
    }
    text
}

/// Every third channel of every group that is not fixed goes, beginning at another one in each.
fn every_third_goes(architecture: &Architecture) -> ChannelPlan {
    let groups = Coupling::of(architecture).groups.into_iter().filter(|group| group.fixed.is_none());
    let kept = groups.enumerate().map(|(index, group)| KeptChannels {
        group: group.name,
        width: group.channels,
        kept: (0..group.channels).filter(|channel| (channel + index) % 3 != 0).collect(),
    });
    ChannelPlan { choice: None, groups: kept.collect() }
}

/// A plan with a line per group.
pub(super) fn plan(plan: &ChannelPlan) -> String {
    let mut text = String::new();
    for group in &plan.groups {
        let kept: Vec<String> = group.kept.iter().map(usize::to_string).collect();
        let _ = writeln!(text, "{} keeps {} of {}: {}", group.group, kept.len(), group.width, kept.join(" "));
    }
    text + &serde_json::to_string_pretty(&plan.choice).unwrap() + "\n"
}
