//! A layout with other widths.

use std::collections::HashMap;

use yolo_model::{Layout, Widths};

use super::coupling::{ConvInput, Coupling};

/// Input and output channels of every convolution when group `g` has `widths[g]` channels.
pub(super) fn conv_widths(coupling: &Coupling, widths: &[usize]) -> Widths {
    let mut outputs: HashMap<&str, usize> = HashMap::new();
    for (group, &width) in coupling.groups.iter().zip(widths) {
        outputs.extend(group.producers.iter().map(|conv| (conv.name.as_str(), width)));
    }
    let of_input = |input: &ConvInput| {
        let width = input.slices.iter().map(|slice| slice.group.map_or(slice.channels, |g| widths[g])).sum();
        let conv = &input.conv;
        let out_channels = outputs.get(conv.name.as_str()).copied().unwrap_or(conv.spec.out_channels);
        (conv.name.clone(), [width, out_channels])
    };
    coupling.inputs.iter().map(of_input).collect()
}

/// The network whose group `g` has `widths[g]` channels. `coupling` is that of `layout`.
pub(super) fn narrowed(layout: &dyn Layout, coupling: &Coupling, widths: &[usize]) -> Box<dyn Layout> {
    layout.with_widths(&conv_widths(coupling, widths))
}
