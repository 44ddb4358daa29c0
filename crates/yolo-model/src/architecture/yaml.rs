//! YOLOv5's model yaml, and our explicit form of it, as an [`Architecture`].

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

mod describe;
mod layer;
mod old_head;

pub use describe::YamlFit;
pub use layer::YamlLayer;

use super::activation::SPELLINGS;
use super::{Activation, Architecture, Layer};
use crate::error::{ModelError, Result};
use crate::heads::HeadMut;
use crate::modules::{Block, SequenceSpec, registry};
use crate::program::{Lowering, architecture_error};

/// Side of the imaginary image from which strides are computed, in pixels.
const STRIDE_PROBE: usize = 256;

/// A model description in the vocabulary of YOLOv5's yaml files: base widths and repeats, and the multiples
/// that scale them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of classes.
    pub nc: usize,
    /// Factor on the repeats of C3 (1 where absent).
    #[serde(default = "one")]
    pub depth_multiple: f64,
    /// Factor on the base channels (1 where absent).
    #[serde(default = "one")]
    pub width_multiple: f64,
    /// In yamls of the Ultralytics family the multiples of every size, and the largest base width, by the size's letter.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub scales: IndexMap<String, [f64; 3]>,
    /// Which of them counts; the first where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<String>,
    /// Bins of a distance in a head without anchors (16 where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reg_max: Option<usize>,
    /// Whether a head without anchors has one-to-one branches as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end2end: Option<bool>,
    /// Channels are rounded up to a multiple of this (8 where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_multiple: Option<usize>,
    /// Activation of every convolution block, as Python writes it (`nn.SiLU()` where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Channels of the image (3 where absent).
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "channels")]
    pub ch: Option<usize>,
    /// Anchors of each level; a head without anchors needs none.
    #[serde(default = "Anchors::none", skip_serializing_if = "Anchors::is_none")]
    pub anchors: Anchors,
    /// The first layers.
    pub backbone: Vec<Entry>,
    /// The layers behind them, up to Detect.
    pub head: Vec<Entry>,
    /// A training option that released files carry; without effect here.
    #[serde(default, skip_serializing)]
    pub inplace: Option<bool>,
}

/// The multiples of a size.
#[derive(Clone, Debug)]
struct Scale {
    letter: Option<String>,
    depth: f64,
    width: f64,
    /// Base widths above this count as this.
    most_channels: Option<f64>,
}

/// Anchors in a model yaml.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Anchors {
    /// This many per level, to be estimated from data.
    Count(usize),
    /// Per level a flat list of widths and heights in pixels.
    Levels(Vec<Vec<f32>>),
}

fn one() -> f64 {
    1.0
}

impl Anchors {
    fn none() -> Self {
        Self::Count(0)
    }

    fn is_none(&self) -> bool {
        *self == Self::none()
    }
}

/// A line of a model yaml: `[from, repeats, module, arguments]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry(pub From, pub usize, pub String, pub Vec<Arg>);

/// Where a layer reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum From {
    /// One input.
    One(i64),
    /// Several.
    Many(Vec<i64>),
}

/// An argument of a module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Arg {
    /// `True`, `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// `None`, `nearest`, `nc`, `anchors`.
    Str(String),
    /// A pair of sides, or anchors.
    List(Vec<Arg>),
    /// YAML's null.
    Null(()),
}

impl Architecture {
    /// Reads a model yaml: YOLOv5's form (`backbone`, `head`) or the explicit form (`layers`) that
    /// [`Architecture::to_yaml`] writes. `num_classes` replaces the yaml's `nc`.
    ///
    /// # Errors
    /// One line that names the key or layer.
    pub fn from_yaml(text: &str, num_classes: Option<usize>) -> Result<Self> {
        Self::from_yaml_called("", text, num_classes)
    }

    /// [`Architecture::from_yaml`] of a file called `name`, without its extension. Where a yaml of the Ultralytics family lists
    /// several scales and says none, the name does: `yolov8s-p2` is scale s.
    ///
    /// # Errors
    /// As [`Architecture::from_yaml`].
    pub fn from_yaml_called(name: &str, text: &str, num_classes: Option<usize>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Probe {
            layers: Option<serde::de::IgnoredAny>,
        }
        let yaml_error =
            |error: serde_saphyr::Error| ModelError::Yaml { reason: first_line(&error.to_string()) };
        let probe: Probe = serde_saphyr::from_str(text).map_err(yaml_error)?;
        if probe.layers.is_none() {
            let mut config: ModelConfig = serde_saphyr::from_str(text).map_err(yaml_error)?;
            config.scale = config.scale.or_else(|| scale_in(name, &config.scales));
            return config.build(num_classes);
        }
        let mut explicit: Self = serde_saphyr::from_str(text).map_err(yaml_error)?;
        if let (Some(n), Some(mut head)) = (num_classes, explicit.head_mut()) {
            head.set_num_classes(n);
        }
        explicit.validate()?;
        Ok(explicit)
    }

    /// The explicit form: every layer with its channel counts.
    ///
    /// # Errors
    /// None for an architecture that validates.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self).map_err(|error| ModelError::Yaml { reason: error.to_string() })
    }
}

/// The letter behind the number of a network's name, if it is one of `scales`: s of `yolov8s-p2`, n of `my_yolo11n`.
fn scale_in(name: &str, scales: &IndexMap<String, [f64; 3]>) -> Option<String> {
    let behind = &name[name.find("yolo")? + "yolo".len()..];
    let letter =
        behind.trim_start_matches('v').trim_start_matches(|c: char| c.is_ascii_digit()).chars().next()?;
    scales.get_key_value(letter.to_string().as_str()).map(|(letter, _)| letter.clone())
}

/// The first line of an error of the yaml parser, without advice on the parser itself.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.replace(", set DuplicateKeyPolicy in Options if acceptable", "; keep one of them")
}

impl ModelConfig {
    /// The architecture with every width scaled; `num_classes` replaces `nc`.
    ///
    /// # Errors
    /// [`ModelError::Yaml`] names the layer and the module or argument that is not understood.
    pub fn build(&self, num_classes: Option<usize>) -> Result<Architecture> {
        let num_classes = num_classes.unwrap_or(self.nc);
        let scale = self.chosen_scale()?;
        let anchors = self.anchors_per_level()?;
        let activation = self.activation.as_deref().map_or(Ok(Activation::default()), parse_activation)?;
        let in_channels = self.ch.unwrap_or(3);
        let mut lowering = Lowering::new(in_channels);
        let mut architecture =
            Architecture { in_channels, fused: false, activations: None, layers: Vec::new() };
        let entries: Vec<&Entry> = self.backbone.iter().chain(&self.head).collect();
        let entries = old_head::rewritten(&entries).ok_or_else(|| ModelError::Yaml {
            reason: "an nn.Conv2d is not a convolution of the head, behind the layer before it; use Conv"
                .to_owned(),
        })?;
        for (index, entry) in entries.iter().enumerate() {
            let from = match &entry.0 {
                From::One(from) => vec![*from],
                From::Many(many) => many.clone(),
            };
            let error = |reason: &str| layer_error(index, entry, reason);
            let sources = lowering.sources(&from);
            let sources = sources.map_err(|_| error("reads from a layer that does not come before it"))?;
            let inputs = sources.into_iter().map(|value| lowering.channels(value)).collect();
            let kind =
                registry::by_class(entry.2.rsplit('.').next().unwrap_or_default()).ok_or_else(|| {
                    error(&format!("is not a module known here; known are {}", registry::names()))
                })?;
            let line = YamlLayer {
                config: self,
                scale: &scale,
                index,
                entry,
                inputs,
                num_classes,
                anchors: &anchors,
                activation,
            };
            let block = (kind.from_yaml)(&line)?;
            let repeats = if kind.takes_repeats { 1 } else { line.repeats() };
            let block = match repeats {
                1 => block,
                0 => return Err(error("is repeated 0 times; leave the layer out instead")),
                _ if block.takes_several() => return Err(error("cannot be repeated")),
                _ => Block::new(SequenceSpec { blocks: vec![block; repeats] }),
            };
            let layer = Layer { from, block };
            lowering.layer(&layer)?;
            architecture.layers.push(layer);
        }
        architecture.set_strides()?;
        architecture.validate()?;
        Ok(architecture)
    }

    /// The multiples that count.
    fn chosen_scale(&self) -> Result<Scale> {
        let listed = match &self.scale {
            Some(letter) => self.scales.get_key_value(letter),
            None => self.scales.first(),
        };
        let wrong = |reason: String| Err(ModelError::Yaml { reason });
        let scale = match listed {
            Some((letter, &[depth, width, most])) => {
                Scale { letter: Some(letter.clone()), depth, width, most_channels: Some(most) }
            }
            None if self.scale.is_some() && !self.scales.is_empty() => {
                let letters: Vec<&str> = self.scales.keys().map(String::as_str).collect();
                return wrong(format!("scale: {:?} is none of {}", self.scale, letters.join(", ")));
            }
            None => Scale {
                letter: self.scale.clone(),
                depth: self.depth_multiple,
                width: self.width_multiple,
                most_channels: None,
            },
        };
        let numbers = [scale.depth, scale.width, scale.most_channels.unwrap_or(1.0)];
        if numbers.iter().any(|number| !number.is_finite() || *number <= 0.0) {
            return wrong(format!("the multiples {numbers:?} are not all above 0"));
        }
        Ok(scale)
    }

    fn anchors_per_level(&self) -> Result<Vec<Vec<[f32; 2]>>> {
        match &self.anchors {
            // Placeholders 0, 1, 2, … as the reference has them until they are estimated.
            Anchors::Count(n) => Ok(vec![(0..*n).map(|a| [2.0 * a as f32, 2.0 * a as f32 + 1.0]).collect()]),
            Anchors::Levels(levels) => levels
                .iter()
                .map(|flat| {
                    if flat.len() % 2 == 1 {
                        return Err(ModelError::Yaml {
                            reason: format!(
                                "anchors: {} numbers are not pairs of width and height",
                                flat.len()
                            ),
                        });
                    }
                    Ok(flat.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
                })
                .collect(),
        }
    }
}

fn layer_error(index: usize, entry: &Entry, reason: &str) -> ModelError {
    ModelError::Yaml { reason: format!("layer {index}: {} {reason}", entry.2) }
}

fn parse_activation(text: &str) -> Result<Activation> {
    Activation::parse(text).ok_or_else(|| ModelError::Yaml {
        reason: format!("activation {text:?} is not known here; use {SPELLINGS}"),
    })
}

impl Architecture {
    /// Sets the head's strides from the graph, and the order of the anchors to match them: coarse levels get
    /// the large anchors.
    pub(super) fn set_strides(&mut self) -> Result<()> {
        let program = self.try_program()?;
        let sizes = program.sizes([STRIDE_PROBE; 2]);
        let last = self.layers.len().saturating_sub(1);
        if self.layers.last().is_none_or(|layer| layer.block.head().is_none()) {
            return Err(architecture_error("the last layer must be Detect"));
        }
        let strides: Vec<usize> = self
            .sources(last)
            .into_iter()
            .map(|source| STRIDE_PROBE / source.map_or(STRIDE_PROBE, |s| sizes[program.layers[s]][0]).max(1))
            .collect();
        if let Some(HeadMut::AnchorBased(detect)) = self.head_mut() {
            let mean_area = |level: &Vec<[f32; 2]>| {
                level.iter().map(|[w, h]| f64::from(w * h)).sum::<f64>() / level.len().max(1) as f64
            };
            if let (Some(first), Some(last)) = (detect.anchors.first(), detect.anchors.last()) {
                let grows = mean_area(last) - mean_area(first);
                let coarser = strides[strides.len() - 1] as f64 - strides[0] as f64;
                if grows * coarser < 0.0 {
                    detect.anchors.reverse();
                }
            }
        }
        if let Some(mut head) = self.head_mut() {
            head.set_strides(strides);
        }
        Ok(())
    }
}
