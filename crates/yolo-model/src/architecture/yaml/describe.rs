//! The model yaml that YOLOv5 would build a network from, if there is one.

use super::{Anchors, Arg, Entry, From, ModelConfig};
use crate::architecture::{Activation, Architecture, Layer, VARIANTS};
use crate::error::Result;
use crate::heads::Head;
use crate::program::architecture_error;
use crate::weights::{PlainValue, TorchModule};

/// How well a yaml describes a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlFit {
    /// It is the yaml of one of the ten sizes.
    Stock(&'static str),
    /// It builds the network.
    Exact,
    /// It builds the network where channels are rounded to its `channel_multiple` of 1, which YOLOv5 knows since December
    /// 2023; earlier releases build another one.
    Unrounded,
    /// No yaml builds the network, and this one builds another, with as many layers.
    Other,
}

impl Architecture {
    /// What each layer is in a pickled network.
    ///
    /// # Errors
    /// [`crate::ModelError::Architecture`] names a layer of a module that cannot be written.
    pub(crate) fn torch_layers(&self) -> Result<Vec<TorchModule>> {
        let layer = |(index, layer): (usize, &Layer)| {
            layer.block.to_torch().ok_or_else(|| {
                architecture_error(format!(
                    "layer {index} ({}) cannot be written for YOLOv5; write the network as .safetensors",
                    layer.block.name()
                ))
            })
        };
        self.layers.iter().enumerate().map(layer).collect()
    }

    /// The yaml in YOLOv5's form that describes the network, and how well it does.
    ///
    /// # Errors
    /// A layer of a module that cannot be written for YOLOv5.
    pub fn to_model_config(&self) -> Result<(ModelConfig, YamlFit)> {
        for (name, yaml) in VARIANTS {
            let Ok(stock) = serde_saphyr::from_str::<ModelConfig>(yaml) else { continue };
            let top = self.config_with(&stock);
            let stock = ModelConfig { backbone: stock.backbone, head: stock.head, ..top };
            if stock.builds(self) {
                return Ok((stock, YamlFit::Stock(name)));
            }
        }
        let rounded = self.own_config()?;
        if rounded.builds(self) {
            return Ok((rounded, YamlFit::Exact));
        }
        let unrounded = ModelConfig { channel_multiple: Some(1), ..rounded };
        let fit = if unrounded.builds(self) { YamlFit::Unrounded } else { YamlFit::Other };
        Ok((unrounded, fit))
    }

    /// What stands above the layers, with the multiples of `scale`.
    fn config_with(&self, scale: &ModelConfig) -> ModelConfig {
        let Head::AnchorBased(detect) = self.head();
        ModelConfig {
            nc: detect.num_classes,
            depth_multiple: scale.depth_multiple,
            width_multiple: scale.width_multiple,
            channel_multiple: scale.channel_multiple,
            activation: self.usual_activation().to_expression(),
            ch: Some(self.in_channels),
            anchors: Anchors::Levels(
                detect.anchors.iter().map(|level| level.as_flattened().to_vec()).collect(),
            ),
            backbone: Vec::new(),
            head: Vec::new(),
            inplace: None,
        }
    }

    /// A line per layer with the widths that it has.
    fn own_config(&self) -> Result<ModelConfig> {
        let mut lines = Vec::new();
        for (index, (layer, module)) in self.layers.iter().zip(self.torch_layers()?).enumerate() {
            let Some((repeats, arguments)) = &module.yaml else {
                return Err(architecture_error(format!(
                    "layer {index} ({}) has no form in a model yaml; write the network as .safetensors",
                    layer.block.name()
                )));
            };
            let from = if layer.block.takes_several() {
                From::Many(layer.from.clone())
            } else {
                From::One(layer.from.first().copied().unwrap_or(-1))
            };
            let arguments = arguments.iter().map(argument).collect();
            lines.push(Entry(from, *repeats, module.yaml_name(), arguments));
        }
        let first_join = self.layers.iter().position(|layer| layer.block.takes_several()).unwrap_or(0);
        let head = lines.split_off(first_join);
        let unscaled = ModelConfig {
            nc: 0,
            depth_multiple: 1.0,
            width_multiple: 1.0,
            channel_multiple: None,
            activation: None,
            ch: None,
            anchors: Anchors::Count(0),
            backbone: Vec::new(),
            head: Vec::new(),
            inplace: None,
        };
        Ok(ModelConfig { backbone: lines, head, ..self.config_with(&unscaled) })
    }

    /// The activation of most convolution blocks that have one.
    fn usual_activation(&self) -> Activation {
        let blocks = self.convs().into_iter().filter(|conv| !conv.is_bare).map(|conv| conv.spec.activation);
        let (without, with): (Vec<_>, Vec<_>) = blocks.partition(|a| *a == Activation::Identity);
        let mut counts: Vec<(Activation, usize)> = Vec::new();
        for activation in with {
            match counts.iter_mut().find(|(counted, _)| *counted == activation) {
                Some((_, count)) => *count += 1,
                None => counts.push((activation, 1)),
            }
        }
        let most = counts.iter().map(|(_, count)| *count).max();
        let usual = counts.iter().find(|(_, count)| Some(*count) == most).map(|(activation, _)| *activation);
        usual.or(without.first().copied()).unwrap_or_default()
    }
}

impl ModelConfig {
    /// Whether it builds `architecture`, batch normalisation and the order of the anchors aside.
    fn builds(&self, architecture: &Architecture) -> bool {
        let Ok(mut built) = self.build(None) else { return false };
        let Head::AnchorBased(detect) = architecture.head();
        if let Some(head) = built.head_mut() {
            head.anchors.clone_from(&detect.anchors);
        }
        built.fused = architecture.fused;
        built == Architecture { activations: None, ..architecture.clone() }
    }

    /// As the dict that YOLOv5 keeps in a network, with its types.
    pub(crate) fn to_dict(&self) -> PlainValue {
        let lines = |entries: &[Entry]| PlainValue::List(entries.iter().map(line).collect());
        let anchors = match &self.anchors {
            Anchors::Count(count) => (*count).into(),
            Anchors::Levels(levels) => {
                let level = |sides: &Vec<f32>| PlainValue::List(sides.iter().copied().map(side).collect());
                PlainValue::List(levels.iter().map(level).collect())
            }
        };
        let mut dict: Vec<(&str, PlainValue)> = vec![
            ("nc", self.nc.into()),
            ("depth_multiple", self.depth_multiple.into()),
            ("width_multiple", self.width_multiple.into()),
        ];
        dict.extend(self.channel_multiple.map(|multiple| ("channel_multiple", multiple.into())));
        dict.extend(self.activation.as_deref().map(|text| ("activation", text.into())));
        dict.push(("anchors", anchors));
        dict.push(("backbone", lines(&self.backbone)));
        dict.push(("head", lines(&self.head)));
        dict.extend(self.ch.map(|channels| ("ch", channels.into())));
        PlainValue::Dict(dict.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

/// A side of an anchor as a yaml has it: whole pixels are whole numbers.
fn side(pixels: f32) -> PlainValue {
    if pixels.fract() == 0.0 { PlainValue::Int(pixels as i64) } else { f64::from(pixels).into() }
}

fn line(Entry(from, repeats, module, arguments): &Entry) -> PlainValue {
    let from = match from {
        From::One(from) => PlainValue::Int(*from),
        From::Many(from) => PlainValue::List(from.iter().copied().map(PlainValue::Int).collect()),
    };
    let arguments = PlainValue::List(arguments.iter().map(value).collect());
    PlainValue::List(vec![from, (*repeats).into(), module.as_str().into(), arguments])
}

fn value(argument: &Arg) -> PlainValue {
    match argument {
        Arg::Bool(value) => (*value).into(),
        Arg::Int(value) => PlainValue::Int(*value),
        Arg::Float(value) => (*value).into(),
        Arg::Str(text) => text.as_str().into(),
        Arg::List(items) => PlainValue::List(items.iter().map(value).collect()),
        Arg::Null(()) => PlainValue::None,
    }
}

fn argument(value: &PlainValue) -> Arg {
    match value {
        PlainValue::Bool(value) => Arg::Bool(*value),
        PlainValue::Int(value) => Arg::Int(*value),
        PlainValue::Float(value) => Arg::Float(*value),
        PlainValue::Str(text) => Arg::Str(text.clone()),
        PlainValue::List(items) | PlainValue::Tuple(items) => Arg::List(items.iter().map(argument).collect()),
        _ => Arg::Null(()),
    }
}
