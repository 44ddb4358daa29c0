//! The network as a list of single operations: what blocks are made of, in order of execution.
//!
//! Blocks are how people read the network; couplings between channels, exchange formats and passes that look at
//! every convolution's input need what is inside. Values are numbered: 0 is the image, `i + 1` is the output of
//! operation `i`.

use super::{Architecture, Block, BottleneckSpec, C3Spec, ConvRef, ConvSpec, SppfSpec};

/// What a single operation computes. All maps are `[N, C, H, W]`.
#[derive(Clone, Debug, PartialEq)]
pub enum OperationKind {
    /// Convolution with what follows it in its block: batch normalisation until fused, activation. A convolution
    /// of the head has a bias and nothing else.
    Conv(ConvRef),
    /// Sum of two maps of the same shape.
    Add,
    /// Concatenation along the channels, in the order of the inputs.
    Concat,
    /// Maximum over windows of `size`×`size`, stride 1, the border counting as −∞; the map keeps its size.
    MaxPool {
        /// Side of the window, odd.
        size: usize,
    },
    /// Nearest-neighbour enlargement.
    Upsample {
        /// The factor in both directions.
        scale: usize,
    },
}

/// An operation with the values it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What it computes.
    pub kind: OperationKind,
    /// Values that it reads: 0 is the image, `i + 1` the output of operation `i`.
    pub inputs: Vec<usize>,
    /// Index of the layer that it is part of.
    pub layer: usize,
}

/// The operations of a network, and which values are its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Operations {
    /// In order of execution: an operation reads values that come before it.
    pub list: Vec<Operation>,
    /// The values with the logits of each level, finest first.
    pub outputs: Vec<usize>,
    /// Channels of every value.
    pub channels: Vec<usize>,
}

impl Architecture {
    /// The network as single operations. Convolutions come in the order in which they run, which is not that of
    /// the state dict: there `cv2` and `cv3` of a C3 come before its bottlenecks.
    pub fn operations(&self) -> Operations {
        let mut lowering = Lowering {
            operations: Operations {
                list: Vec::new(),
                outputs: Vec::new(),
                channels: vec![self.in_channels],
            },
            layer: 0,
        };
        let mut layer_values = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            lowering.layer = index;
            let value = |source: Option<usize>| source.map_or(0, |source| layer_values[source]);
            let inputs: Vec<usize> = self.sources(index).into_iter().map(value).collect();
            layer_values.push(lowering.block(&layer.block, inputs));
        }
        lowering.operations
    }
}

impl Operations {
    /// For every value, the operations that read it, in order.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.channels.len()];
        for (index, operation) in self.list.iter().enumerate() {
            for &input in &operation.inputs {
                readers[input].push(index);
            }
        }
        readers
    }

    /// The convolutions with the index of their operation, in order of execution.
    pub fn convs(&self) -> impl Iterator<Item = (usize, &ConvRef)> {
        self.list.iter().enumerate().filter_map(|(index, operation)| match &operation.kind {
            OperationKind::Conv(conv) => Some((index, conv)),
            _ => None,
        })
    }

    /// Height and width of every value for an image of `[height, width]`.
    pub fn sizes(&self, image: [usize; 2]) -> Vec<[usize; 2]> {
        let mut sizes = vec![image];
        for operation in &self.list {
            let input = sizes[operation.inputs[0]];
            sizes.push(match &operation.kind {
                OperationKind::Conv(conv) => conv.spec.output_size(input),
                OperationKind::Upsample { scale } => input.map(|side| side * scale),
                OperationKind::Add | OperationKind::Concat | OperationKind::MaxPool { .. } => input,
            });
        }
        sizes
    }
}

struct Lowering {
    operations: Operations,
    layer: usize,
}

impl Lowering {
    /// Appends an operation and gives the value it makes.
    fn push(&mut self, kind: OperationKind, inputs: Vec<usize>) -> usize {
        let channels = match &kind {
            OperationKind::Conv(conv) => conv.spec.out_channels,
            OperationKind::Concat => inputs.iter().map(|&input| self.operations.channels[input]).sum(),
            _ => self.operations.channels[inputs[0]],
        };
        self.operations.list.push(Operation { kind, inputs, layer: self.layer });
        self.operations.channels.push(channels);
        self.operations.list.len()
    }

    fn conv(&mut self, path: &str, spec: &ConvSpec, is_head: bool, input: usize) -> usize {
        let dot = if path.is_empty() { "" } else { "." };
        let name = format!("model.{}{dot}{path}", self.layer);
        let conv = ConvRef { name, layer: self.layer, spec: spec.clone(), is_head };
        self.push(OperationKind::Conv(conv), vec![input])
    }

    fn block(&mut self, block: &Block, inputs: Vec<usize>) -> usize {
        let input = inputs.first().copied().unwrap_or(0);
        match block {
            Block::Conv(spec) => self.conv("", spec, false, input),
            Block::Bottleneck(spec) => self.bottleneck("", spec, input),
            Block::C3(spec) => self.c3(spec, input),
            Block::Sppf(spec) => self.sppf(spec, input),
            Block::Upsample { scale } => self.push(OperationKind::Upsample { scale: *scale }, vec![input]),
            Block::Concat => self.push(OperationKind::Concat, inputs),
            Block::Detect(spec) => {
                let level = |(level, &input): (usize, &usize)| {
                    self.conv(&format!("m.{level}"), &spec.conv(level), true, input)
                };
                let outputs: Vec<usize> = inputs.iter().enumerate().map(level).collect();
                self.operations.outputs.clone_from(&outputs);
                // Nothing reads the head; any of its values stands for it.
                outputs.last().copied().unwrap_or(input)
            }
        }
    }

    fn bottleneck(&mut self, prefix: &str, spec: &BottleneckSpec, input: usize) -> usize {
        let hidden = self.conv(&format!("{prefix}cv1"), &spec.cv1, false, input);
        let output = self.conv(&format!("{prefix}cv2"), &spec.cv2, false, hidden);
        if spec.add { self.push(OperationKind::Add, vec![output, input]) } else { output }
    }

    fn c3(&mut self, spec: &C3Spec, input: usize) -> usize {
        let mut deep = self.conv("cv1", &spec.cv1, false, input);
        for (j, bottleneck) in spec.m.iter().enumerate() {
            deep = self.bottleneck(&format!("m.{j}."), bottleneck, deep);
        }
        let beside = self.conv("cv2", &spec.cv2, false, input);
        let joined = self.push(OperationKind::Concat, vec![deep, beside]);
        self.conv("cv3", &spec.cv3, false, joined)
    }

    fn sppf(&mut self, spec: &SppfSpec, input: usize) -> usize {
        let mut stages = vec![self.conv("cv1", &spec.cv1, false, input)];
        for _ in 0..3 {
            let pool = OperationKind::MaxPool { size: spec.pool };
            let last = stages[stages.len() - 1];
            stages.push(self.push(pool, vec![last]));
        }
        let joined = self.push(OperationKind::Concat, stages);
        self.conv("cv2", &spec.cv2, false, joined)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::architecture::VARIANTS;
    use std::collections::BTreeSet;

    #[test]
    fn operations_hold_every_convolution_once_and_agree_with_the_layers() {
        for (name, _) in VARIANTS {
            let architecture = Architecture::variant(name, None).unwrap();
            let operations = architecture.operations();
            let names: Vec<String> = operations.convs().map(|(_, conv)| conv.name.clone()).collect();
            let expected: BTreeSet<String> = architecture.convs().into_iter().map(|conv| conv.name).collect();
            assert_eq!(names.len(), expected.len(), "{name}");
            assert_eq!(names.into_iter().collect::<BTreeSet<_>>(), expected, "{name}");
            for (index, operation) in operations.list.iter().enumerate() {
                assert!(operation.inputs.iter().all(|&input| input <= index));
                if let OperationKind::Conv(conv) = &operation.kind {
                    assert_eq!(
                        operations.channels[operation.inputs[0]], conv.spec.in_channels,
                        "{}",
                        conv.name
                    );
                }
                if operation.kind == OperationKind::Add {
                    let [a, b] = [0, 1].map(|i| operations.channels[operation.inputs[i]]);
                    assert_eq!(a, b);
                }
            }
            let sizes = operations.sizes([640, 640]);
            let strides = &architecture.detect().strides;
            assert_eq!(operations.outputs.len(), strides.len());
            for (&output, &stride) in operations.outputs.iter().zip(strides) {
                assert_eq!(sizes[output], [640 / stride; 2], "{name}");
            }
        }
    }
}
