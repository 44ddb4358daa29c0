//! `PSABlock`: attention between pixels and two convolutions behind it, each added to its input.

use serde::{Deserialize, Serialize};

use super::{Block, Module, ModuleKind, Stored};
use crate::architecture::{Activation, ConvSpec, PickledLayer, YamlLayer};
use crate::error::Result;
use crate::program::{AttentionOrder, AttentionSpec, Lowering, ValueId};
use crate::weights::{PlainValue, TorchModule};

pub(super) static KIND: ModuleKind = ModuleKind {
    name: "PSABlock",
    key: "PsaBlock",
    takes_repeats: false,
    from_yaml: |layer| Ok(Block::new(PsaBlockSpec::new(layer, layer.input()))),
    from_pickle: |layer| from_pickle(layer).map(Block::new),
    stored: Stored::fields::<PsaBlockSpec>(),
};

/// Channels of a head of attention.
const HEAD: usize = 64;

/// `y = x + attention(x)`, then `y + ffn₁(ffn₀(y))`; without the additions if `add` is not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PsaBlockSpec {
    /// The attention.
    pub attn: PixelAttentionSpec,
    /// The convolutions behind it.
    pub ffn: [ConvSpec; 2],
    /// Whether inputs are added.
    pub add: bool,
}

/// `proj(o + pe(v))` with the attention `o = softmax(q · kᵀ / √key) · v` of `qkv(x)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelAttentionSpec {
    /// Makes queries, keys and values: head by head, each with `key` channels for queries, as many for keys, and those for
    /// values.
    pub qkv: ConvSpec,
    /// What follows.
    pub proj: ConvSpec,
    /// What is added for the place of pixels: a depthwise convolution of the values.
    pub pe: ConvSpec,
    /// Number of heads.
    pub heads: usize,
    /// Channels of a head's queries, and of its keys.
    pub key: usize,
}

fn from_pickle(layer: &PickledLayer) -> Result<PsaBlockSpec> {
    let attention = layer.child("attn")?;
    let ffn = layer.child("ffn")?;
    Ok(PsaBlockSpec {
        attn: PixelAttentionSpec {
            qkv: attention.child("qkv")?.conv()?,
            proj: attention.child("proj")?.conv()?,
            pe: attention.child("pe")?.conv()?,
            heads: attention.whole("num_heads")?,
            key: attention.whole("key_dim")?,
        },
        ffn: [ffn.child("0")?.conv()?, ffn.child("1")?.conv()?],
        add: layer.flag("add"),
    })
}

impl PsaBlockSpec {
    /// With the activation of `layer`'s yaml; `channels` in and out, queries and keys with half the channels of values.
    pub(super) fn new(layer: &YamlLayer, channels: usize) -> Self {
        let plain = |input, out, kernel| ConvSpec {
            activation: Activation::Identity,
            ..layer.conv(input, out, kernel)
        };
        let heads = (channels / HEAD).max(1);
        let key = channels / heads / 2;
        Self {
            attn: PixelAttentionSpec {
                qkv: plain(channels, channels + 2 * heads * key, 1),
                proj: plain(channels, channels, 1),
                pe: ConvSpec { groups: channels, ..plain(channels, channels, 3) },
                heads,
                key,
            },
            ffn: [layer.conv(channels, 2 * channels, 1), plain(2 * channels, channels, 1)],
            add: true,
        }
    }

    fn joined(&self, lowering: &mut Lowering, input: ValueId, output: ValueId) -> Result<ValueId> {
        if self.add { lowering.add([input, output]) } else { Ok(output) }
    }
}

impl PixelAttentionSpec {
    fn append(&self, lowering: &mut Lowering, input: ValueId) -> Result<ValueId> {
        let qkv = lowering.conv("qkv", &self.qkv, input)?;
        let attention = AttentionSpec { heads: self.heads, key: self.key, order: AttentionOrder::ByHead };
        let attended = lowering.attention(attention, qkv)?;
        let values = lowering.pick(attention.value_channels(self.qkv.out_channels), qkv)?;
        let places = lowering.conv("pe", &self.pe, values)?;
        let sum = lowering.add([attended, places])?;
        lowering.conv("proj", &self.proj, sum)
    }

    fn torch(&self) -> TorchModule {
        let head = self.qkv.out_channels / self.heads.max(1) - 2 * self.key;
        TorchModule::new("ultralytics.nn.modules.block.Attention")
            .child("qkv", TorchModule::conv_block(&self.qkv))
            .child("proj", TorchModule::conv_block(&self.proj))
            .child("pe", TorchModule::conv_block(&self.pe))
            .attribute("num_heads", self.heads)
            .attribute("head_dim", head)
            .attribute("key_dim", self.key)
            .attribute("scale", (self.key as f64).powf(-0.5))
    }
}

impl Module for PsaBlockSpec {
    fn kind(&self) -> &'static ModuleKind {
        &KIND
    }

    fn lower(&self, lowering: &mut Lowering, inputs: &[ValueId]) -> Result<ValueId> {
        let attended = lowering.within("attn", |lowering| self.attn.append(lowering, inputs[0]))?;
        let middle = self.joined(lowering, inputs[0], attended)?;
        let hidden = lowering.conv("ffn.0", &self.ffn[0], middle)?;
        let output = lowering.conv("ffn.1", &self.ffn[1], hidden)?;
        self.joined(lowering, middle, output)
    }

    fn visit_convs(&mut self, visit: &mut dyn FnMut(&str, &mut ConvSpec)) {
        visit("attn.qkv", &mut self.attn.qkv);
        visit("attn.proj", &mut self.attn.proj);
        visit("attn.pe", &mut self.attn.pe);
        visit("ffn.0", &mut self.ffn[0]);
        visit("ffn.1", &mut self.ffn[1]);
    }

    fn to_torch(&self) -> Option<TorchModule> {
        let module = TorchModule::new("ultralytics.nn.modules.block.PSABlock")
            .child("attn", self.attn.torch())
            .child("ffn", TorchModule::sequential(self.ffn.iter().map(TorchModule::conv_block)))
            .attribute("add", self.add);
        let ratio = self.attn.key as f64 * self.attn.heads as f64 / self.attn.proj.out_channels.max(1) as f64;
        let arguments: Vec<PlainValue> =
            vec![self.ffn[1].out_channels.into(), ratio.into(), self.attn.heads.into(), self.add.into()];
        Some(module.yaml(1, arguments))
    }

    fn n_wrappers(&self) -> usize {
        // The block, its attention, and the list of convolutions.
        3
    }
}
