//! A layout with other widths.

use std::collections::HashMap;

use yolo_model::{Layout, Widths};

use super::coupling::{ConvInput, Coupling, InputSlice, Passage, PassageKind};

/// Input and output channels of every convolution and of every batch normalisation that stands alone when group `g` has `widths[g]` channels.
pub(super) fn conv_widths(coupling: &Coupling, widths: &[usize]) -> Widths {
    let mut outputs: HashMap<&str, usize> = HashMap::new();
    for (group, &width) in coupling.groups.iter().zip(widths) {
        outputs.extend(group.producers.iter().map(|conv| (conv.name.as_str(), width * group.copies(conv))));
    }
    let width_of = |slices: &[InputSlice]| -> usize {
        slices.iter().map(|slice| slice.group.map_or(slice.channels, |g| widths[g])).sum()
    };
    for passage in &coupling.passages {
        if let PassageKind::Depthwise(conv) = &passage.kind {
            outputs.insert(&conv.name, width_of(&passage.slices));
        }
    }
    let of_input = |input: &ConvInput| {
        let width = width_of(&input.slices);
        let conv = &input.conv;
        let out_channels = outputs.get(conv.name.as_str()).copied().unwrap_or(conv.spec.out_channels);
        (conv.name.clone(), [width, out_channels])
    };
    let of_norm = |passage: &Passage| match &passage.kind {
        PassageKind::Norm(norm) => Some((norm.name.clone(), [width_of(&passage.slices); 2])),
        PassageKind::Depthwise(_) => None,
    };
    coupling.inputs.iter().map(of_input).chain(coupling.passages.iter().filter_map(of_norm)).collect()
}

/// The network whose group `g` has `widths[g]` channels. `coupling` is that of `layout`.
pub(super) fn narrowed(layout: &dyn Layout, coupling: &Coupling, widths: &[usize]) -> Box<dyn Layout> {
    layout.with_widths(&conv_widths(coupling, widths))
}
