//! The model yaml that YOLOv5 would build a network from, if there is one.

use indexmap::IndexMap;

use super::{Anchors, Arg, Entry, From, ModelConfig};
use crate::architecture::variants::scaled_config;
use crate::architecture::{Activation, Architecture, Layer, SCALED, Scaled, VARIANTS};
use crate::error::Result;
use crate::heads::{Family, Head, HeadMut};
use crate::program::architecture_error;
use crate::weights::{PlainValue, TorchModule};

/// How well a yaml describes a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlFit {
    /// It is the yaml of the size of this name.
    Stock(String),
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
        let family = self.family();
        let layer = |(index, layer): (usize, &Layer)| {
            let module = layer.block.to_torch().and_then(|module| match family {
                Family::Yolov5 => Some(module),
                Family::Ultralytics => module.of_ultralytics(),
            });
            module.ok_or_else(|| {
                architecture_error(format!(
                    "layer {index} ({}) cannot be written for {}; write the network as .safetensors",
                    layer.block.name(),
                    family.package()
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
        for (name, stock) in self.stock_configs() {
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

    /// The sizes of the family, by name.
    fn stock_configs(&self) -> Vec<(String, ModelConfig)> {
        match self.family() {
            Family::Yolov5 => VARIANTS
                .iter()
                .filter_map(|(name, yaml)| Some(((*name).to_owned(), serde_saphyr::from_str(yaml).ok()?)))
                .collect(),
            Family::Ultralytics => SCALED
                .iter()
                .flat_map(Scaled::names)
                .filter_map(|name| scaled_config(&name).map(|config| (name, config)))
                .collect(),
        }
    }

    /// What stands above the layers, with the multiples of `scale`.
    fn config_with(&self, scale: &ModelConfig) -> ModelConfig {
        let (anchors, reg_max, end2end) = match self.head() {
            Head::AnchorBased(detect) => {
                let levels = detect.anchors.iter().map(|level| level.as_flattened().to_vec());
                (Anchors::Levels(levels.collect()), None, None)
            }
            Head::AnchorFree(detect) => (Anchors::none(), Some(detect.bins), Some(detect.has_both())),
        };
        ModelConfig {
            nc: self.num_classes(),
            scales: scale.scales.clone(),
            scale: scale.scale.clone(),
            reg_max,
            end2end,
            depth_multiple: scale.depth_multiple,
            width_multiple: scale.width_multiple,
            channel_multiple: scale.channel_multiple,
            activation: self.usual_activation().to_expression(),
            ch: Some(self.in_channels),
            anchors,
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
            scales: IndexMap::new(),
            scale: None,
            reg_max: None,
            end2end: None,
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
    pub(crate) fn usual_activation(&self) -> Activation {
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
        match (built.head_mut(), architecture.head()) {
            (Some(HeadMut::AnchorBased(built)), Head::AnchorBased(detect)) => {
                built.anchors.clone_from(&detect.anchors);
            }
            (Some(HeadMut::AnchorFree(built)), Head::AnchorFree(detect)) => {
                built.end_to_end = detect.end_to_end;
            }
            _ => {}
        }
        built.fused = architecture.fused;
        // How many objects there are is not for a yaml to say.
        built.activations = architecture.activations;
        built == *architecture
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
        if self.anchors != Anchors::none() {
            dict.push(("anchors", anchors));
        }
        if !self.scales.is_empty() {
            let scale = |(letter, numbers): (&String, &[f64; 3])| {
                let &[depth, width, most] = numbers;
                let numbers = vec![depth.into(), width.into(), whole_if_exact(most)];
                (PlainValue::from(letter.as_str()), PlainValue::List(numbers))
            };
            dict.push(("scales", PlainValue::Dict(self.scales.iter().map(scale).collect())));
        }
        dict.extend(self.scale.as_deref().map(|letter| ("scale", letter.into())));
        dict.extend(self.reg_max.map(|bins| ("reg_max", bins.into())));
        dict.extend(self.end2end.map(|both| ("end2end", both.into())));
        dict.push(("backbone", lines(&self.backbone)));
        dict.push(("head", lines(&self.head)));
        let channels = if self.anchors == Anchors::none() { "channels" } else { "ch" };
        dict.extend(self.ch.map(|count| (channels, count.into())));
        PlainValue::Dict(dict.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

/// A side of an anchor as a yaml has it: whole pixels are whole numbers.
fn side(pixels: f32) -> PlainValue {
    whole_if_exact(f64::from(pixels))
}

/// A number without a fraction as a whole one.
fn whole_if_exact(number: f64) -> PlainValue {
    if number.fract() == 0.0 { PlainValue::Int(number as i64) } else { number.into() }
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
