//! Channels and strides through the graph.

use super::{Architecture, Block, resolve};

impl Block {
    /// Channels of the output for inputs with `inputs` channels each.
    pub fn out_channels(&self, inputs: &[usize]) -> usize {
        match self {
            Self::Conv(conv) => conv.out_channels,
            Self::Bottleneck(bottleneck) => bottleneck.cv2.out_channels,
            Self::C3(c3) => c3.cv3.out_channels,
            Self::Sppf(sppf) => sppf.cv2.out_channels,
            Self::Upsample { .. } => inputs.first().copied().unwrap_or(0),
            Self::Concat => inputs.iter().sum(),
            Self::Detect(_) => 0,
        }
    }

    /// Height and width of the output for an input of `[height, width]`.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Conv(conv) => conv.output_size(size),
            Self::Upsample { scale } => size.map(|side| side * scale),
            _ => size,
        }
    }

    /// The name under which the summary and error messages mention the block.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::Bottleneck(_) => "Bottleneck",
            Self::C3(_) => "C3",
            Self::Sppf(_) => "SPPF",
            Self::Upsample { .. } => "Upsample",
            Self::Concat => "Concat",
            Self::Detect(_) => "Detect",
        }
    }
}

impl Architecture {
    /// Output channels of every layer (0 for Detect).
    pub fn out_channels(&self) -> Vec<usize> {
        let mut channels: Vec<usize> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let inputs: Vec<usize> = layer
                .from
                .iter()
                .map(|&from| match resolve(index, from) {
                    Some(source) => channels.get(source).copied().unwrap_or(0),
                    None => self.in_channels,
                })
                .collect();
            channels.push(layer.block.out_channels(&inputs));
        }
        channels
    }

    /// Output `[height, width]` of every layer for an input image of that size.
    pub fn output_sizes(&self, input: [usize; 2]) -> Vec<[usize; 2]> {
        let mut sizes: Vec<[usize; 2]> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let source = layer.from.first().and_then(|&from| resolve(index, from));
            let size = source.and_then(|s| sizes.get(s).copied()).unwrap_or(input);
            sizes.push(layer.block.output_size(size));
        }
        sizes
    }
}
