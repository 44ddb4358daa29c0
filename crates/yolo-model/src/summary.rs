//! Layers, parameters and FLOPs, counted as the reference prints them.

use crate::architecture::{Architecture, Block, BottleneckSpec, ConvSpec};

/// What the summary line says about a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Distinct module objects: containers, wrappers and the root included, one activation per block, as in
    /// the released files.
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
    pub fn summary(&self) -> Summary {
        let parameters = self.tensors().into_iter().filter(|t| t.is_parameter);
        Summary {
            layers: 2 + self.layers.iter().map(|l| modules(&l.block, self.fused)).sum::<usize>(),
            parameters: parameters.map(|t| t.shape.iter().product::<usize>()).sum(),
            conv_weights: self.convs().iter().map(|c| weight_count(&c.spec)).sum(),
            gflops: self.layer_summaries().iter().map(|l| l.gflops).sum(),
        }
    }

    /// Counts every layer.
    pub fn layer_summaries(&self) -> Vec<LayerSummary> {
        let probe = self.max_stride();
        let sizes = self.output_sizes([probe; 2]);
        let outputs = self.out_channels();
        // The reference profiles an image of one stride and scales the result to 640×640.
        let scale = (640.0 / probe as f64).powi(2) / 1e9;
        let tensors = self.tensors();
        let summarise = |(index, layer): (usize, &crate::architecture::Layer)| {
            let sources = self.sources(index);
            let input_size = |source: &Option<usize>| source.map_or([probe; 2], |s| sizes[s]);
            let input_channels = |source: &Option<usize>| source.map_or(self.in_channels, |s| outputs[s]);
            let prefix = format!("model.{index}.");
            let own = tensors.iter().filter(|t| t.is_parameter && t.name.starts_with(&prefix));
            let inputs: Vec<[usize; 2]> = sources.iter().map(input_size).collect();
            LayerSummary {
                index,
                from: layer.from.clone(),
                block: layer.block.name(),
                channels: (
                    sources.iter().map(input_channels).sum(),
                    match &layer.block {
                        Block::Detect(detect) => detect.n_anchors() * detect.n_outputs(),
                        _ => outputs[index],
                    },
                ),
                parameters: own.map(|t| t.shape.iter().product::<usize>()).sum(),
                gflops: 2.0 * self.multiply_adds(&layer.block, &inputs, outputs[index]) as f64 * scale,
                repeats: if let Block::C3(c3) = &layer.block { c3.m.len() } else { 1 },
            }
        };
        self.layers.iter().enumerate().map(summarise).collect()
    }

    /// Multiply-accumulates of a block, with the reference profiler's own rules: four per output element of a
    /// batch normalisation, one per element of an enlarged map, none for biases, activations and pools.
    fn multiply_adds(&self, block: &Block, inputs: &[[usize; 2]], out_channels: usize) -> usize {
        let size = inputs.first().copied().unwrap_or_default();
        let norm = if self.fused { 0 } else { 4 };
        let conv = |spec: &ConvSpec, size| conv_operations(spec, size, norm);
        let pair = |b: &BottleneckSpec| conv(&b.cv1, size) + conv(&b.cv2, b.cv1.output_size(size));
        match block {
            Block::Conv(spec) => conv(spec, size),
            Block::Bottleneck(bottleneck) => pair(bottleneck),
            Block::C3(c3) => {
                let outer: usize = [&c3.cv1, &c3.cv2, &c3.cv3].iter().map(|spec| conv(spec, size)).sum();
                outer + c3.m.iter().map(pair).sum::<usize>()
            }
            Block::Sppf(sppf) => conv(&sppf.cv1, size) + conv(&sppf.cv2, size),
            Block::Upsample { scale } => out_channels * size[0] * size[1] * scale * scale,
            Block::Concat => 0,
            Block::Detect(detect) => {
                let levels = inputs.iter().enumerate();
                levels.map(|(level, size)| conv_operations(&detect.conv(level), *size, 0)).sum()
            }
        }
    }
}

fn weight_count(spec: &ConvSpec) -> usize {
    spec.weight_shape().iter().product()
}

fn conv_operations(spec: &ConvSpec, size: [usize; 2], per_norm_output: usize) -> usize {
    let [height, width] = spec.output_size(size);
    height * width * (weight_count(spec) + per_norm_output * spec.out_channels)
}

/// Module objects of a block. The two that are not in any block are the root and its list of layers.
fn modules(block: &Block, fused: bool) -> usize {
    // Wrapper, convolution, activation, and batch normalisation until it is fused.
    let conv = if fused { 3 } else { 4 };
    let bottleneck = 1 + 2 * conv;
    match block {
        Block::Conv(_) => conv,
        Block::Bottleneck(_) => bottleneck,
        Block::C3(c3) => 2 + 3 * conv + c3.m.len() * bottleneck,
        Block::Sppf(_) => 2 + 2 * conv,
        Block::Upsample { .. } | Block::Concat => 1,
        Block::Detect(detect) => 2 + detect.in_channels.len(),
    }
}
