//! Layers, parameters and FLOPs, counted as the reference prints them.

use crate::architecture::{Architecture, ConvForm, ConvSpec};
use crate::heads::Head;
use crate::layout::Layout;
use crate::modules::Part;
use crate::program::OperationKind;

/// What the summary line says about a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Distinct module objects: containers, wrappers and the root included; one activation per block, as in the released
    /// files, unless the network's file shared them. Of the Ultralytics family those without parts, as it counts.
    pub layers: usize,
    /// Parameters, buffers excluded.
    pub parameters: usize,
    /// Weights of convolutions, biases excluded.
    pub conv_weights: usize,
    /// Billions of floating-point operations for a 640×640 image.
    pub gflops: f64,
}

/// What one layer of the network contributes.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSummary {
    /// Index in the network.
    pub index: usize,
    /// Where it reads.
    pub from: Vec<i64>,
    /// Name of the block.
    pub block: &'static str,
    /// Channels of its input (summed over several inputs) and of its output (the head's: per level).
    pub channels: (usize, usize),
    /// Parameters.
    pub parameters: usize,
    /// Billions of floating-point operations for a 640×640 image.
    pub gflops: f64,
    /// Inner repeats: bottlenecks of a C3, else 1.
    pub repeats: usize,
}

impl Architecture {
    /// Counts the network.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] rejects.
    pub fn summary(&self) -> Summary {
        Summary {
            layers: self.n_layers(),
            parameters: self.n_parameters(),
            conv_weights: self.convs().iter().map(|conv| conv.weight_count()).sum(),
            gflops: self.gflops(),
        }
    }

    /// Counts every layer.
    ///
    /// # Panics
    /// On an architecture that [`Architecture::validate`] rejects.
    pub fn layer_summaries(&self) -> Vec<LayerSummary> {
        let program = self.program();
        let multiply_adds = self.profile();
        let scale = self.gigaflops_per_multiply_add();
        let tensors = self.tensors();
        let summarise = |(index, layer): (usize, &crate::architecture::Layer)| {
            let source = |source: Option<usize>| program.channels[source.map_or(0, |s| program.layers[s])];
            let prefix = format!("model.{index}.");
            let own = tensors.iter().filter(|t| t.is_parameter && t.name.starts_with(&prefix));
            LayerSummary {
                index,
                from: layer.from.clone(),
                block: layer.block.name(),
                channels: (
                    self.sources(index).into_iter().map(source).sum(),
                    program.channels[program.layers[index]],
                ),
                parameters: own.map(|t| t.shape.iter().product::<usize>()).sum(),
                gflops: multiply_adds[index] as f64 * scale,
                repeats: layer.block.n_repeats(),
            }
        };
        self.layers.iter().enumerate().map(summarise).collect()
    }
}

impl Architecture {
    /// Multiply-accumulates of every layer for an image of [`Layout::profiled_size`], by the rules of the family's profiler:
    /// those of [`crate::program::OperationKind::multiply_adds`], except that the Ultralytics family does not count enlarged
    /// maps, and counts the expectations over bins in its head.
    pub(crate) fn profile(&self) -> Vec<usize> {
        let (program, size) = (self.program(), self.profiled_size());
        let Head::AnchorFree(detect) = self.head() else {
            return program.multiply_adds_per_layer(size, self.fused);
        };
        let sizes = program.sizes(size);
        let enlarges = |kind: &OperationKind| matches!(kind, OperationKind::Upsample { .. });
        let mut counts = program.multiply_adds_of(&sizes, self.fused, |kind| !enlarges(kind));
        let levels: Vec<[usize; 2]> = program.outputs.iter().map(|&output| sizes[output]).collect();
        if let Some(last) = counts.last_mut() {
            // One set of branches is decoded.
            *last += detect.multiply_adds(&levels[..detect.strides.len()]);
        }
        counts
    }

    /// What a summary counts as layers: PyTorch's module objects, of which the Ultralytics family counts those without parts.
    fn n_layers(&self) -> usize {
        match self.head() {
            Head::AnchorBased(_) => self.module_objects(),
            Head::AnchorFree(detect) => {
                let layers = self.layers.iter().filter_map(|layer| layer.block.to_torch());
                let leaves: usize = layers.map(|layer| layer.n_leaves(self.fused)).sum();
                // One activation for the whole network, and one for each list of branches that was copied.
                leaves + 1 + if detect.one2one.is_some() { 2 } else { 0 }
            }
        }
    }

    /// PyTorch's module objects.
    fn module_objects(&self) -> usize {
        // The root and its list of layers are in no block.
        let mut objects = 2;
        let mut activations = 0;
        for layer in &self.layers {
            objects += layer.block.n_wrappers();
            layer.block.clone().visit_parts(&mut |_, part| match part {
                // Wrapper and convolution, and batch normalisation.
                Part::Conv(ConvSpec { form: ConvForm::Block, .. }) => {
                    objects += if self.fused { 2 } else { 3 };
                    activations += 1;
                }
                // Tensors of their owner.
                Part::Conv(ConvSpec { form: ConvForm::Projections, .. }) => {}
                Part::Conv(_) | Part::Transposed(_) => objects += 1,
                Part::Constant(_) => {}
                Part::Norm(norm) => {
                    objects += 1;
                    activations += usize::from(!norm.activation.is_identity());
                }
            });
        }
        objects + self.activations.unwrap_or(activations)
    }
}
