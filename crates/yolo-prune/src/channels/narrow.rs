//! An architecture with other widths.

use std::collections::HashMap;

use yolo_model::Architecture;

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
    architecture.clone().with_convs(|conv, spec| {
        let name = conv.name.as_str();
        spec.in_channels = inputs.get(name).copied().unwrap_or(spec.in_channels);
        spec.out_channels = outputs.get(name).copied().unwrap_or(spec.out_channels);
    })
}
