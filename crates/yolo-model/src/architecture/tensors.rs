//! The tensors that an architecture owns, under PyTorch's names and in PyTorch's order.

use super::{Architecture, Block, BottleneckSpec, ConvSpec};

/// A convolution of the network with its place in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvRef {
    /// Name of the block: `model.2.m.0.cv1`, or `model.24.m.0` for a convolution of the head.
    pub name: String,
    /// Index of the layer it belongs to.
    pub layer: usize,
    /// Its numbers.
    pub spec: ConvSpec,
    /// Whether it is a bare convolution with bias of the head, not a block with batch normalisation.
    pub is_head: bool,
}

/// Name and shape of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// PyTorch's name.
    pub name: String,
    /// Its shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Whether it counts as a parameter (buffers do not).
    pub is_parameter: bool,
}

impl ConvRef {
    /// Name of the weight tensor: `[out, in / groups, height, width]`.
    pub fn weight(&self) -> String {
        if self.is_head { format!("{}.weight", self.name) } else { format!("{}.conv.weight", self.name) }
    }

    /// Name of the bias tensor, `[out]`: there in the head and in fused blocks.
    pub fn bias(&self) -> String {
        if self.is_head { format!("{}.bias", self.name) } else { format!("{}.conv.bias", self.name) }
    }

    /// Name of a tensor of the block's batch normalisation, `[out]`.
    pub fn bn(&self, what: &str) -> String {
        format!("{}.bn.{what}", self.name)
    }
}

impl Architecture {
    /// Every convolution, in the order of the state dict.
    pub fn convs(&self) -> Vec<ConvRef> {
        let mut convs = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let mut push = |path: &str, spec: &ConvSpec, is_head| {
                let dot = if path.is_empty() { "" } else { "." };
                let name = format!("model.{index}{dot}{path}");
                convs.push(ConvRef { name, layer: index, spec: spec.clone(), is_head });
            };
            match &layer.block {
                Block::Conv(conv) => push("", conv, false),
                Block::Bottleneck(b) => push_bottleneck("", b, &mut push),
                Block::C3(c3) => {
                    push("cv1", &c3.cv1, false);
                    push("cv2", &c3.cv2, false);
                    push("cv3", &c3.cv3, false);
                    for (j, bottleneck) in c3.m.iter().enumerate() {
                        push_bottleneck(&format!("m.{j}."), bottleneck, &mut push);
                    }
                }
                Block::Sppf(sppf) => {
                    push("cv1", &sppf.cv1, false);
                    push("cv2", &sppf.cv2, false);
                }
                Block::Upsample { .. } | Block::Concat => {}
                Block::Detect(detect) => {
                    for level in 0..detect.in_channels.len() {
                        push(&format!("m.{level}"), &detect.conv(level), true);
                    }
                }
            }
        }
        convs
    }

    /// Name of the anchors' buffer, `[levels, anchors, 2]`, in cells of each level.
    pub fn anchors_name(&self) -> String {
        format!("model.{}.anchors", self.layers.len().saturating_sub(1))
    }

    /// Every tensor of the state dict, in PyTorch's order: depth first, own buffers before children.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut tensors = Vec::new();
        let mut push = |name: String, shape: Vec<usize>, is_parameter: bool| {
            tensors.push(TensorSpec { name, shape, is_parameter });
        };
        let detect = self.detect();
        let mut anchors_pending = true;
        for conv in self.convs() {
            if conv.is_head && std::mem::take(&mut anchors_pending) {
                push(self.anchors_name(), vec![detect.anchors.len(), detect.n_anchors(), 2], false);
            }
            let out = vec![conv.spec.out_channels];
            push(conv.weight(), conv.spec.weight_shape().to_vec(), true);
            if conv.is_head || self.fused {
                push(conv.bias(), out, true);
            } else {
                push(conv.bn("weight"), out.clone(), true);
                push(conv.bn("bias"), out.clone(), true);
                push(conv.bn("running_mean"), out.clone(), false);
                push(conv.bn("running_var"), out, false);
                push(conv.bn("num_batches_tracked"), vec![], false);
            }
        }
        tensors
    }
}

fn push_bottleneck(prefix: &str, spec: &BottleneckSpec, push: &mut impl FnMut(&str, &ConvSpec, bool)) {
    push(&format!("{prefix}cv1"), &spec.cv1, false);
    push(&format!("{prefix}cv2"), &spec.cv2, false);
}
