//! An architecture with other widths.

use std::collections::HashMap;

use yolo_model::Architecture;
use yolo_model::architecture::{Block, BottleneckSpec, ConvSpec};

use super::coupling::Coupling;

/// The network whose group `g` has `widths[g]` channels. `coupling` is that of `architecture`.
pub(super) fn narrowed(architecture: &Architecture, coupling: &Coupling, widths: &[usize]) -> Architecture {
    let mut outputs: HashMap<&str, usize> = HashMap::new();
    for (group, &width) in coupling.groups.iter().zip(widths) {
        outputs.extend(group.producers.iter().map(|conv| (conv.name.as_str(), width)));
    }
    let mut inputs: HashMap<&str, usize> = HashMap::new();
    for input in &coupling.inputs {
        let width = input.slices.iter().map(|slice| slice.group.map_or(slice.channels, |g| widths[g])).sum();
        inputs.insert(&input.conv.name, width);
    }
    let resize = |name: &str, spec: &mut ConvSpec| {
        spec.in_channels = inputs.get(name).copied().unwrap_or(spec.in_channels);
        spec.out_channels = outputs.get(name).copied().unwrap_or(spec.out_channels);
    };
    let mut narrow = architecture.clone();
    for (index, layer) in narrow.layers.iter_mut().enumerate() {
        let name = format!("model.{index}");
        match &mut layer.block {
            Block::Conv(conv) => resize(&name, conv),
            Block::Bottleneck(bottleneck) => resize_bottleneck(&name, bottleneck, &resize),
            Block::C3(c3) => {
                resize(&format!("{name}.cv1"), &mut c3.cv1);
                resize(&format!("{name}.cv2"), &mut c3.cv2);
                resize(&format!("{name}.cv3"), &mut c3.cv3);
                for (j, bottleneck) in c3.m.iter_mut().enumerate() {
                    resize_bottleneck(&format!("{name}.m.{j}"), bottleneck, &resize);
                }
            }
            Block::Sppf(sppf) => {
                resize(&format!("{name}.cv1"), &mut sppf.cv1);
                resize(&format!("{name}.cv2"), &mut sppf.cv2);
            }
            Block::Detect(detect) => {
                for (level, width) in detect.in_channels.iter_mut().enumerate() {
                    *width = inputs.get(format!("{name}.m.{level}").as_str()).copied().unwrap_or(*width);
                }
            }
            Block::Upsample { .. } | Block::Concat => {}
        }
    }
    narrow
}

fn resize_bottleneck(name: &str, spec: &mut BottleneckSpec, resize: &impl Fn(&str, &mut ConvSpec)) {
    resize(&format!("{name}.cv1"), &mut spec.cv1);
    resize(&format!("{name}.cv2"), &mut spec.cv2);
}
