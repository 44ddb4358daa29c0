//! What an architecture must satisfy before a network is built from it.

use super::{Architecture, Block, BottleneckSpec, ConvSpec, DetectSpec, resolve};
use crate::error::ModelError;

/// No real network comes near these; a hostile file must not ask for the memory.
const MAX_CHANNELS: usize = 1 << 16;
const MAX_KERNEL: usize = 64;
const MAX_LAYERS: usize = 4096;

impl Architecture {
    /// Checks that the graph is consistent: sources exist, widths agree along every edge, the head is last.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] with the layer's index and the two numbers that disagree.
    pub fn validate(&self) -> Result<(), ModelError> {
        let last = self.layers.len().checked_sub(1).ok_or_else(|| architecture("it has no layers"))?;
        if last > MAX_LAYERS {
            return Err(architecture(format!("{} layers are more than {MAX_LAYERS}", last + 1)));
        }
        let mut channels = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let inputs = self.input_channels(index, &channels)?;
            check_block(index, &layer.block, &inputs)?;
            if matches!(layer.block, Block::Detect(_)) != (index == last) {
                return Err(architecture(format!(
                    "layer {index} is {}: exactly the last layer ({last}) must be Detect",
                    layer.block.name()
                )));
            }
            channels.push(layer.block.out_channels(&inputs));
        }
        Ok(())
    }

    fn input_channels(&self, index: usize, channels: &[usize]) -> Result<Vec<usize>, ModelError> {
        let layer = &self.layers[index];
        if layer.from.is_empty() {
            return Err(architecture(format!("layer {index} ({}) has no input", layer.block.name())));
        }
        layer
            .from
            .iter()
            .map(|&from| match resolve(index, from) {
                None if index == 0 && from == -1 => Ok(self.in_channels),
                Some(source) if source < index => Ok(channels[source]),
                _ => Err(architecture(format!(
                    "layer {index} ({}) reads from {from}, which is not an earlier layer",
                    layer.block.name()
                ))),
            })
            .collect()
    }
}

fn check_block(index: usize, block: &Block, inputs: &[usize]) -> Result<(), ModelError> {
    let at = format!("layer {index} ({})", block.name());
    if !matches!(block, Block::Concat | Block::Detect(_)) && inputs.len() != 1 {
        return Err(architecture(format!("{at} takes one input, not {}", inputs.len())));
    }
    match block {
        Block::Conv(conv) => check_conv(&at, conv, inputs[0]),
        Block::Bottleneck(bottleneck) => check_bottleneck(&at, bottleneck, inputs[0]),
        Block::C3(c3) => {
            check_conv(&format!("{at} cv1"), &c3.cv1, inputs[0])?;
            check_conv(&format!("{at} cv2"), &c3.cv2, inputs[0])?;
            let mut width = c3.cv1.out_channels;
            for (j, bottleneck) in c3.m.iter().enumerate() {
                check_bottleneck(&format!("{at} m.{j}"), bottleneck, width)?;
                width = bottleneck.cv2.out_channels;
            }
            check_conv(&format!("{at} cv3"), &c3.cv3, width + c3.cv2.out_channels)
        }
        Block::Sppf(sppf) => {
            if sppf.pool.is_multiple_of(2) || sppf.pool > MAX_KERNEL {
                return Err(architecture(format!("{at}: the pooling window {} is not odd", sppf.pool)));
            }
            check_conv(&format!("{at} cv1"), &sppf.cv1, inputs[0])?;
            check_conv(&format!("{at} cv2"), &sppf.cv2, 4 * sppf.cv1.out_channels)
        }
        Block::Upsample { scale } if !(1..=8).contains(scale) => {
            Err(architecture(format!("{at}: the factor {scale} is not between 1 and 8")))
        }
        Block::Upsample { .. } | Block::Concat => Ok(()),
        Block::Detect(detect) => check_detect(&at, detect, inputs),
    }
}

fn check_conv(at: &str, conv: &ConvSpec, in_channels: usize) -> Result<(), ModelError> {
    if conv.in_channels != in_channels {
        return Err(architecture(format!(
            "{at} expects {} input channels but receives {in_channels}",
            conv.in_channels
        )));
    }
    let channels = 1..=MAX_CHANNELS;
    if !channels.contains(&conv.in_channels) || !channels.contains(&conv.out_channels) {
        return Err(architecture(format!(
            "{at} has {} → {} channels; both must be between 1 and {MAX_CHANNELS}",
            conv.in_channels, conv.out_channels
        )));
    }
    let divides = |n: usize| conv.groups > 0 && n.is_multiple_of(conv.groups);
    if !divides(conv.in_channels) || !divides(conv.out_channels) {
        return Err(architecture(format!(
            "{at}: {} groups do not divide {} → {} channels",
            conv.groups, conv.in_channels, conv.out_channels
        )));
    }
    let small = |pair: [usize; 2], from: usize| pair.iter().all(|n| (from..=MAX_KERNEL).contains(n));
    if !small(conv.kernel, 1) || !small(conv.stride, 1) || !small(conv.dilation, 1) || !small(conv.padding, 0)
    {
        return Err(architecture(format!(
            "{at}: kernel {:?}, stride {:?}, dilation {:?} and padding {:?} must lie within {MAX_KERNEL}",
            conv.kernel, conv.stride, conv.dilation, conv.padding
        )));
    }
    Ok(())
}

fn check_bottleneck(at: &str, spec: &BottleneckSpec, in_channels: usize) -> Result<(), ModelError> {
    check_conv(&format!("{at} cv1"), &spec.cv1, in_channels)?;
    check_conv(&format!("{at} cv2"), &spec.cv2, spec.cv1.out_channels)?;
    if spec.add && in_channels != spec.cv2.out_channels {
        return Err(architecture(format!(
            "{at}: a shortcut needs as many channels out ({}) as in ({in_channels})",
            spec.cv2.out_channels
        )));
    }
    Ok(())
}

fn check_detect(at: &str, detect: &DetectSpec, inputs: &[usize]) -> Result<(), ModelError> {
    let levels = inputs.len();
    if detect.in_channels != inputs {
        return Err(architecture(format!(
            "{at} expects {:?} input channels, not {inputs:?}",
            detect.in_channels
        )));
    }
    if detect.anchors.len() != levels || detect.strides.len() != levels {
        return Err(architecture(format!(
            "{at} has {levels} inputs, {} anchor lists and {} strides; the three must agree",
            detect.anchors.len(),
            detect.strides.len()
        )));
    }
    let n_anchors = detect.n_anchors();
    if n_anchors == 0 || n_anchors > 64 || detect.anchors.iter().any(|level| level.len() != n_anchors) {
        return Err(architecture(format!("{at}: every level needs the same number of anchors, 1 to 64")));
    }
    if detect.anchors.iter().flatten().flatten().any(|side| !side.is_finite() || *side < 0.0) {
        return Err(architecture(format!("{at}: an anchor is not a finite size")));
    }
    if detect.strides.contains(&0) || detect.num_classes == 0 || detect.num_classes > MAX_CHANNELS {
        return Err(architecture(format!("{at}: strides and the number of classes must be at least 1")));
    }
    Ok(())
}

pub(super) fn architecture(reason: impl Into<String>) -> ModelError {
    ModelError::Architecture { reason: reason.into() }
}
