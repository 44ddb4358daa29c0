//! The network that runs: an [`Architecture`] with weights on a device.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::blocks::{Bottleneck, C3, Concat, Conv, Detect, Node, Sppf, Upsample};
use crate::error::Result;
use yolo_model::Checkpoint;
use yolo_model::architecture::{Architecture, Block};
use yolo_model::weights::StateDict;

/// A YOLOv5 detector.
#[derive(Module, Debug)]
pub struct Yolo {
    /// The layers; index and order are those of the tensors' names.
    pub model: Vec<Node>,
    #[module(skip)]
    architecture: Architecture,
    /// For each layer, the last layer that reads its output.
    #[module(skip)]
    last_use: Vec<usize>,
}

impl Yolo {
    /// The network of a checkpoint, on a device.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape than the architecture says.
    pub fn from_checkpoint(checkpoint: &Checkpoint, device: &Device) -> Result<Self> {
        let architecture = checkpoint.architecture.clone();
        architecture.validate()?;
        let nodes = architecture.layers.iter().enumerate();
        let model = nodes
            .map(|(index, layer)| {
                load_node(index, &layer.block, architecture.fused, &checkpoint.weights, device)
            })
            .collect::<Result<_>>()?;
        Ok(Self { model, last_use: last_use(&architecture), architecture })
    }

    /// What the network looks like.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// `images` `[N, 3, H, W]`, RGB in `[0, 1]`, sides multiples of the largest stride → per level the logits
    /// `[N, anchors · (5 + num_classes), H / stride, W / stride]`.
    pub fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        self.forward_observed(images, |_, _| {})
    }

    /// [`Yolo::forward`] that shows every layer's output (Detect's excepted) to `observe`, with its index.
    pub fn forward_observed(
        &self,
        images: Tensor<4>,
        mut observe: impl FnMut(usize, &Tensor<4>),
    ) -> Vec<Tensor<4>> {
        let mut image = Some(images);
        let mut outputs: Vec<Option<Tensor<4>>> = vec![None; self.model.len()];
        for (index, node) in self.model.iter().enumerate() {
            let sources = self.architecture.sources(index);
            let read = |source: &Option<usize>| match source {
                Some(source) => outputs[*source].clone(),
                None => image.clone(),
            };
            let mut inputs: Vec<Tensor<4>> = sources.iter().filter_map(read).collect();
            // A tensor with a single owner is updated in place, so let go of what nobody reads later.
            image = None;
            for source in sources.into_iter().flatten().filter(|&s| self.last_use[s] == index) {
                outputs[source] = None;
            }
            let output = match node {
                Node::Concat(concat) => concat.forward(inputs),
                Node::Detect(detect) => return detect.forward(inputs),
                single => forward_single(single, inputs.remove(0)),
            };
            observe(index, &output);
            outputs[index] = Some(output);
        }
        unreachable!("a validated architecture ends with Detect")
    }
}

fn forward_single(node: &Node, x: Tensor<4>) -> Tensor<4> {
    match node {
        Node::Conv(conv) => conv.forward(x),
        Node::Bottleneck(bottleneck) => bottleneck.forward(x),
        Node::C3(c3) => c3.forward(x),
        Node::Sppf(sppf) => sppf.forward(x),
        Node::Upsample(upsample) => upsample.forward(x),
        Node::Concat(_) | Node::Detect(_) => unreachable!("they take several inputs"),
    }
}

fn load_node(index: usize, block: &Block, fused: bool, weights: &StateDict, device: &Device) -> Result<Node> {
    let name = format!("model.{index}");
    Ok(match block {
        Block::Conv(spec) => Node::Conv(Conv::load(&name, spec, fused, weights, device)?),
        Block::Bottleneck(spec) => Node::Bottleneck(Bottleneck::load(&name, spec, fused, weights, device)?),
        Block::C3(spec) => Node::C3(C3::load(&name, spec, fused, weights, device)?),
        Block::Sppf(spec) => Node::Sppf(Sppf::load(&name, spec, fused, weights, device)?),
        Block::Upsample { scale } => Node::Upsample(Upsample::new(*scale)),
        Block::Concat => Node::Concat(Concat::channels()),
        Block::Detect(spec) => Node::Detect(Detect::load(&name, spec, weights, device)?),
    })
}

fn last_use(architecture: &Architecture) -> Vec<usize> {
    let mut last: Vec<usize> = (0..architecture.layers.len()).collect();
    for index in 0..architecture.layers.len() {
        for source in architecture.sources(index).into_iter().flatten() {
            last[source] = index;
        }
    }
    last
}
