//! Channels and sizes of layers, and the same network with other widths.

use super::tensors::name_in_layer;
use super::{Architecture, ConvRef, ConvSpec};
use crate::layout::Widths;
use crate::modules::Part;

impl Architecture {
    /// Output channels of every layer (0 for the head).
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] rejects.
    pub fn out_channels(&self) -> Vec<usize> {
        let program = self.program();
        let channels = |(layer, &value): (&super::Layer, &usize)| {
            if layer.block.head().is_some() { 0 } else { program.channels[value] }
        };
        self.layers.iter().zip(&program.layers).map(channels).collect()
    }

    /// Output `[height, width]` of every layer for an input image of that size; of the head, that of its finest input.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] rejects.
    pub fn output_sizes(&self, input: [usize; 2]) -> Vec<[usize; 2]> {
        let program = self.program();
        let sizes = program.sizes(input);
        let size = |(index, layer): (usize, &super::Layer)| {
            let source = self.sources(index).first().copied().flatten();
            match source {
                Some(source) if layer.block.head().is_some() => sizes[program.layers[source]],
                _ => sizes[program.layers[index]],
            }
        };
        self.layers.iter().enumerate().map(size).collect()
    }

    /// The same network with other numbers of channels in the convolutions and batch normalisations that `widths` names.
    #[must_use]
    pub fn resized(&self, widths: &Widths) -> Self {
        let mut resized = self.clone();
        for (index, layer) in resized.layers.iter_mut().enumerate() {
            layer.block.visit_parts(&mut |path, part| {
                let Some(&[in_channels, out_channels]) = widths.get(&name_in_layer(index, path)) else {
                    return;
                };
                match part {
                    Part::Conv(spec) => spec.resize(in_channels, out_channels),
                    Part::Norm(spec) => spec.channels = out_channels,
                    Part::Transposed(spec) => {
                        (spec.in_channels, spec.out_channels) = (in_channels, out_channels);
                    }
                    Part::Constant(_) => {}
                }
            });
        }
        resized
    }

    /// The same network whose convolutions have been changed by `change`, which sees each with its place.
    #[must_use]
    pub fn with_convs(mut self, mut change: impl FnMut(&ConvRef, &mut ConvSpec)) -> Self {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.block.visit_convs(&mut |path, spec| change(&ConvRef::of_layer(index, path, spec), spec));
        }
        self
    }
}
