//! The transformer of a `C3TR`: layers of attention between all pixels of a map.
//!
//! A pixel is a token, so that a linear layer is a convolution of 1×1. There is no normalisation and no activation.

use serde::{Deserialize, Serialize};

use crate::architecture::{Activation, ConvForm, ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{AttentionSpec, Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

/// Heads of every layer that a yaml makes.
pub(super) const HEADS: usize = 4;

/// `t + linear(t)`, then the layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerSpec {
    /// Changes the number of channels, if they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conv: Option<ConvSpec>,
    /// What the reference calls an embedding of positions.
    pub linear: ConvSpec,
    /// The layers.
    pub tr: Vec<TransformerLayerSpec>,
}

/// `t + attention(q(t), k(t), v(t))`, then `t + fc2(fc1(t))`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerLayerSpec {
    /// Queries.
    pub q: ConvSpec,
    /// Keys.
    pub k: ConvSpec,
    /// Values.
    pub v: ConvSpec,
    /// The attention's own projections of the three.
    pub projections: ConvSpec,
    /// What follows the attention.
    pub out: ConvSpec,
    /// Number of heads.
    pub heads: usize,
    /// First linear layer behind the attention.
    pub fc1: ConvSpec,
    /// Second linear layer behind it.
    pub fc2: ConvSpec,
}

impl TransformerSpec {
    /// By a yaml: `channels` in and out.
    pub(super) fn new(layer: &YamlLayer, channels: usize, repeats: usize) -> Self {
        debug_assert_eq!(layer.inputs().len(), 1);
        Self {
            conv: None,
            linear: ConvSpec::linear(channels, channels, true),
            tr: vec![TransformerLayerSpec::new(channels, HEADS); repeats],
        }
    }

    pub(super) fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        let conv = layer.child("conv").ok();
        let layers = layer.child("tr")?.children();
        Ok(Self {
            conv: conv.map(|conv| conv.conv()).transpose()?,
            linear: layer.child("linear")?.linear()?,
            tr: layers.iter().map(TransformerLayerSpec::of_pickle).collect::<Result<_>>()?,
        })
    }

    pub(super) fn append(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        let mut tokens = match &self.conv {
            Some(conv) => lowering.conv("conv", conv, input)?,
            None => input,
        };
        let position = lowering.conv("linear", &self.linear, tokens)?;
        tokens = lowering.add([position, tokens])?;
        for (j, layer) in self.tr.iter().enumerate() {
            tokens = lowering.within(&format!("tr.{j}"), |lowering| layer.append(lowering, tokens))?;
        }
        Ok(tokens)
    }

    pub(super) fn visit(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        if let Some(conv) = &mut self.conv {
            visit("conv", conv);
        }
        visit("linear", &mut self.linear);
        for (j, layer) in self.tr.iter_mut().enumerate() {
            layer.visit(&mut |path, spec| visit(&format!("tr.{j}.{path}"), spec));
        }
    }

    pub(super) fn torch(&self) -> TorchModule {
        let block = TorchModule::new("models.common.TransformerBlock");
        let block = match &self.conv {
            Some(conv) => block.child("conv", TorchModule::conv_block(conv)),
            None => block.attribute("conv", PlainValue::None),
        };
        block
            .child("linear", TorchModule::linear(&self.linear))
            .child("tr", TorchModule::sequential(self.tr.iter().map(TransformerLayerSpec::torch)))
            .attribute("c2", self.linear.out_channels)
    }

    /// What follows the output channels of a C3TR in a yaml.
    pub(super) fn rest(&self, expansion: f64) -> Vec<PlainValue> {
        vec![true.into(), 1_usize.into(), expansion.into()]
    }

    pub(super) fn repeats(&self) -> usize {
        self.tr.len()
    }

    pub(super) fn wrappers(&self) -> usize {
        // The block, its list of layers, and per layer itself and its attention.
        2 + 2 * self.tr.len()
    }
}

impl TransformerLayerSpec {
    fn new(channels: usize, heads: usize) -> Self {
        let linear = |has_bias| ConvSpec::linear(channels, channels, has_bias);
        Self {
            q: linear(false),
            k: linear(false),
            v: linear(false),
            projections: projections(channels),
            out: last(linear(true)),
            heads,
            fc1: linear(false),
            fc2: linear(false),
        }
    }

    fn of_pickle(layer: &PickledLayer) -> Result<Self> {
        let linear = |name: &str| layer.child(name)?.linear();
        let attention = layer.child("ma")?;
        let plain = |name: &str| attention.is_absent(name);
        if attention.flag("batch_first")
            || attention.flag("add_zero_attn")
            || !plain("bias_k")
            || !plain("bias_v")
        {
            return Err(attention.error("is attention of a form that no YOLOv5 has"));
        }
        Ok(Self {
            q: linear("q")?,
            k: linear("k")?,
            v: linear("v")?,
            projections: projections(attention.whole("embed_dim")?),
            out: last(attention.child("out_proj")?.linear()?),
            heads: attention.whole("num_heads")?,
            fc1: linear("fc1")?,
            fc2: linear("fc2")?,
        })
    }

    fn torch(&self) -> TorchModule {
        let channels = self.out.out_channels;
        let attention = TorchModule::new("torch.nn.modules.activation.MultiheadAttention")
            .parameter("in_proj_weight", true)
            .parameter("q_proj_weight", false)
            .parameter("k_proj_weight", false)
            .parameter("v_proj_weight", false)
            .parameter("in_proj_bias", true)
            .child("out_proj", TorchModule::projection(&self.out))
            .attribute("embed_dim", channels)
            .attribute("kdim", channels)
            .attribute("vdim", channels)
            .attribute("_qkv_same_embed_dim", true)
            .attribute("num_heads", self.heads)
            .attribute("dropout", 0.0)
            .attribute("batch_first", false)
            .attribute("head_dim", channels / self.heads)
            .attribute("bias_k", PlainValue::None)
            .attribute("bias_v", PlainValue::None)
            .attribute("add_zero_attn", false);
        TorchModule::new("models.common.TransformerLayer")
            .child("q", TorchModule::linear(&self.q))
            .child("k", TorchModule::linear(&self.k))
            .child("v", TorchModule::linear(&self.v))
            .child("ma", attention)
            .child("fc1", TorchModule::linear(&self.fc1))
            .child("fc2", TorchModule::linear(&self.fc2))
    }

    fn append(&self, lowering: &mut Lowering, tokens: ValueId) -> Result<ValueId> {
        let mut parts = Vec::new();
        for (path, spec) in [("q", &self.q), ("k", &self.k), ("v", &self.v)] {
            parts.push(lowering.conv(path, spec, tokens)?);
        }
        let joined = lowering.concat(&parts);
        let projected = lowering.conv("ma", &self.projections, joined)?;
        let attention = AttentionSpec::thirds(self.heads, lowering.channels(projected));
        let attended = lowering.attention(attention, projected)?;
        let attended = lowering.conv("ma.out_proj", &self.out, attended)?;
        let tokens = lowering.add([attended, tokens])?;
        let hidden = lowering.conv("fc1", &self.fc1, tokens)?;
        let output = lowering.conv("fc2", &self.fc2, hidden)?;
        lowering.add([output, tokens])
    }

    fn visit(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("q", &mut self.q);
        visit("k", &mut self.k);
        visit("v", &mut self.v);
        visit("ma", &mut self.projections);
        visit("ma.out_proj", &mut self.out);
        visit("fc1", &mut self.fc1);
        visit("fc2", &mut self.fc2);
    }
}

/// The layer as the last of an attention.
fn last(linear: ConvSpec) -> ConvSpec {
    ConvSpec { form: ConvForm::LastProjection, ..linear }
}

/// Queries, keys and values, each projected for itself.
fn projections(channels: usize) -> ConvSpec {
    ConvSpec {
        activation: Activation::Identity,
        form: ConvForm::Projections,
        groups: 3,
        ..ConvSpec::new(3 * channels, 3 * channels, 1, 1)
    }
}
