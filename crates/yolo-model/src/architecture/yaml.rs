//! YOLOv5's model yaml, and our explicit form of it, as an [`Architecture`].

use serde::{Deserialize, Serialize};

use super::validate::architecture;
use super::{
    Activation, Architecture, Block, BottleneckSpec, C3Spec, ConvSpec, DetectSpec, Layer, SppfSpec, resolve,
};
use crate::error::{ModelError, Result};

/// Side of the imaginary image from which strides are computed, in pixels.
const STRIDE_PROBE: usize = 256;

/// A model description in the vocabulary of YOLOv5's yaml files: base widths and repeats, and the multiples
/// that scale them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of classes.
    pub nc: usize,
    /// Factor on the repeats of C3.
    pub depth_multiple: f64,
    /// Factor on the base channels.
    pub width_multiple: f64,
    /// Channels are rounded up to a multiple of this (8 where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_multiple: Option<usize>,
    /// Activation of every convolution block, as Python writes it (`nn.SiLU()` where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<String>,
    /// Channels of the image (3 where absent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ch: Option<usize>,
    /// Anchors of each level.
    pub anchors: Anchors,
    /// The first layers.
    pub backbone: Vec<Entry>,
    /// The layers behind them, up to Detect.
    pub head: Vec<Entry>,
    /// A training option that released files carry; without effect here.
    #[serde(default, skip_serializing)]
    pub inplace: Option<bool>,
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
        #[derive(Deserialize)]
        struct Probe {
            layers: Option<serde::de::IgnoredAny>,
        }
        let yaml_error =
            |error: serde_saphyr::Error| ModelError::Yaml { reason: first_line(&error.to_string()) };
        let probe: Probe = serde_saphyr::from_str(text).map_err(yaml_error)?;
        if probe.layers.is_none() {
            let config: ModelConfig = serde_saphyr::from_str(text).map_err(yaml_error)?;
            return config.build(num_classes);
        }
        let mut explicit: Self = serde_saphyr::from_str(text).map_err(yaml_error)?;
        if let (Some(n), Some(Block::Detect(d))) =
            (num_classes, explicit.layers.last_mut().map(|l| &mut l.block))
        {
            d.num_classes = n;
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

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

impl ModelConfig {
    /// The architecture with every width scaled; `num_classes` replaces `nc`.
    ///
    /// # Errors
    /// [`ModelError::Yaml`] names the layer and the module or argument that is not understood.
    pub fn build(&self, num_classes: Option<usize>) -> Result<Architecture> {
        let builder = Builder {
            config: self,
            num_classes: num_classes.unwrap_or(self.nc),
            anchors: self.anchors_per_level()?,
            activation: self.activation.as_deref().map_or(Ok(Activation::default()), parse_activation)?,
        };
        let in_channels = self.ch.unwrap_or(3);
        let mut architecture = Architecture { in_channels, fused: false, layers: Vec::new() };
        for (index, entry) in self.backbone.iter().chain(&self.head).enumerate() {
            let from = match &entry.0 {
                From::One(from) => vec![*from],
                From::Many(many) => many.clone(),
            };
            let outputs = architecture.out_channels();
            let inputs: Vec<usize> = from
                .iter()
                .map(|&f| match resolve(index, f) {
                    None => Some(in_channels),
                    Some(source) => outputs.get(source).copied(),
                })
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    layer_error(index, entry, "reads from a layer that does not come before it")
                })?;
            let block = builder.block(index, entry, &inputs)?;
            architecture.layers.push(Layer { from, block });
        }
        architecture.set_strides()?;
        architecture.validate()?;
        Ok(architecture)
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

struct Builder<'a> {
    config: &'a ModelConfig,
    num_classes: usize,
    anchors: Vec<Vec<[f32; 2]>>,
    activation: Activation,
}

impl Builder<'_> {
    fn block(&self, index: usize, entry: &Entry, inputs: &[usize]) -> Result<Block> {
        let Entry(_, repeats, module, args) = entry;
        let name = module.rsplit('.').next().unwrap_or(module);
        if name != "C3" && *repeats != 1 {
            return Err(layer_error(index, entry, "only C3 can be repeated; write the layer out instead"));
        }
        let args = Args { index, entry, args };
        let input = inputs.first().copied().unwrap_or(0);
        Ok(match name {
            "Conv" => Block::Conv(self.conv(&args, input)?),
            "Bottleneck" => {
                let out = self.width(args.int(0)?);
                let hidden = (out as f64 * args.float_or(3, 0.5)?) as usize;
                Block::Bottleneck(self.bottleneck(input, hidden, out, args.bool_or(1, true)?))
            }
            "C3" => Block::C3(self.c3(&args, input, self.depth(*repeats))?),
            "SPPF" => {
                let (out, hidden) = (self.width(args.int(0)?), input / 2);
                Block::Sppf(SppfSpec {
                    cv1: self.pointwise(input, hidden),
                    cv2: self.pointwise(4 * hidden, out),
                    pool: args.int_or(1, 5)?,
                })
            }
            "Upsample" => Block::Upsample { scale: args.int(1)? },
            "Concat" => Block::Concat,
            "Detect" => Block::Detect(DetectSpec {
                num_classes: self.num_classes,
                in_channels: inputs.to_vec(),
                anchors: self.detect_anchors(inputs.len()),
                strides: vec![1; inputs.len()],
            }),
            _ => {
                let known = "Conv, Bottleneck, C3, SPPF, nn.Upsample, Concat, Detect";
                return Err(layer_error(
                    index,
                    entry,
                    &format!("is not a module known here; known are {known}"),
                ));
            }
        })
    }

    fn detect_anchors(&self, levels: usize) -> Vec<Vec<[f32; 2]>> {
        match self.config.anchors {
            Anchors::Count(_) => vec![self.anchors[0].clone(); levels],
            Anchors::Levels(_) => self.anchors.clone(),
        }
    }

    /// `max(round_half_even(n · depth_multiple), 1)`.
    fn depth(&self, repeats: usize) -> usize {
        if repeats > 1 {
            ((repeats as f64 * self.config.depth_multiple).round_ties_even() as usize).max(1)
        } else {
            repeats
        }
    }

    /// `ceil(c · width_multiple / 8) · 8`, except for a width equal to the head's own, which stays.
    fn width(&self, base: usize) -> usize {
        let n_anchors = self.anchors.first().map_or(0, Vec::len);
        if base == n_anchors * (self.num_classes + 5) {
            return base;
        }
        let multiple = self.config.channel_multiple.unwrap_or(8).max(1);
        (base as f64 * self.config.width_multiple / multiple as f64).ceil() as usize * multiple
    }

    fn pointwise(&self, in_channels: usize, out_channels: usize) -> ConvSpec {
        ConvSpec { activation: self.activation, ..ConvSpec::new(in_channels, out_channels, 1, 1) }
    }

    fn conv(&self, args: &Args, in_channels: usize) -> Result<ConvSpec> {
        let kernel = args.int_or(1, 1)?;
        let mut spec = ConvSpec::new(in_channels, self.width(args.int(0)?), kernel, args.int_or(2, 1)?);
        spec.activation = self.activation;
        spec.groups = args.int_or(4, 1)?;
        spec.dilation = [args.int_or(5, 1)?; 2];
        let reach = spec.dilation[0] * kernel.saturating_sub(1) + 1;
        spec.padding = [args.int_or(3, reach / 2)?; 2];
        if !args.bool_or(6, true)? {
            spec.activation = Activation::Identity;
        }
        Ok(spec)
    }

    fn bottleneck(&self, input: usize, hidden: usize, out: usize, shortcut: bool) -> BottleneckSpec {
        BottleneckSpec {
            cv1: self.pointwise(input, hidden),
            cv2: ConvSpec { activation: self.activation, ..ConvSpec::new(hidden, out, 3, 1) },
            add: shortcut && input == out,
        }
    }

    fn c3(&self, args: &Args, input: usize, repeats: usize) -> Result<C3Spec> {
        let out = self.width(args.int(0)?);
        let shortcut = args.bool_or(1, true)?;
        let hidden = (out as f64 * args.float_or(3, 0.5)?) as usize;
        Ok(C3Spec {
            cv1: self.pointwise(input, hidden),
            cv2: self.pointwise(input, hidden),
            cv3: self.pointwise(2 * hidden, out),
            m: (0..repeats).map(|_| self.bottleneck(hidden, hidden, hidden, shortcut)).collect(),
        })
    }
}

/// The arguments of one entry, with errors that name it.
struct Args<'a> {
    index: usize,
    entry: &'a Entry,
    args: &'a [Arg],
}

impl Args<'_> {
    fn int(&self, position: usize) -> Result<usize> {
        self.int_at(position)?.ok_or_else(|| self.wrong(position, "a whole number"))
    }

    fn int_or(&self, position: usize, default: usize) -> Result<usize> {
        Ok(self.int_at(position)?.unwrap_or(default))
    }

    fn int_at(&self, position: usize) -> Result<Option<usize>> {
        match self.args.get(position) {
            None | Some(Arg::Null(())) => Ok(None),
            Some(Arg::Str(s)) if s == "None" => Ok(None),
            Some(Arg::Int(n)) => match usize::try_from(*n) {
                Ok(n) if n <= 1 << 20 => Ok(Some(n)),
                _ => Err(self.wrong(position, "a whole number up to 1048576")),
            },
            Some(_) => Err(self.wrong(position, "a whole number")),
        }
    }

    fn bool_or(&self, position: usize, default: bool) -> Result<bool> {
        match self.args.get(position) {
            None | Some(Arg::Null(())) => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(_) => Err(self.wrong(position, "True or False")),
        }
    }

    fn float_or(&self, position: usize, default: f64) -> Result<f64> {
        match self.args.get(position) {
            None | Some(Arg::Null(())) => Ok(default),
            Some(Arg::Float(x)) if (0.0..=16.0).contains(x) => Ok(*x),
            Some(Arg::Int(n)) if (0..=16).contains(n) => Ok(*n as f64),
            Some(_) => Err(self.wrong(position, "a number between 0 and 16")),
        }
    }

    fn wrong(&self, position: usize, expected: &str) -> ModelError {
        layer_error(self.index, self.entry, &format!("needs {expected} as argument {}", position + 1))
    }
}

fn layer_error(index: usize, entry: &Entry, reason: &str) -> ModelError {
    ModelError::Yaml { reason: format!("layer {index}: {} {reason}", entry.2) }
}

pub(super) fn parse_activation(text: &str) -> Result<Activation> {
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let name = compact.trim_start_matches("torch.").trim_start_matches("nn.");
    match name {
        "SiLU()" | "SiLU(inplace=True)" => Ok(Activation::Silu),
        "ReLU()" | "ReLU(inplace=True)" => Ok(Activation::Relu),
        "Identity()" => Ok(Activation::Identity),
        _ => name
            .strip_prefix("LeakyReLU(")
            .and_then(|rest| rest.split([',', ')']).next())
            .map(|slope| if slope.is_empty() { Ok(0.01) } else { slope.parse() })
            .and_then(|slope| slope.ok())
            .map(|slope| Activation::LeakyRelu { slope })
            .ok_or_else(|| ModelError::Yaml {
                reason: format!(
                    "activation {text:?} is not known here; use nn.SiLU(), nn.ReLU(), nn.LeakyReLU(0.1) or nn.Identity()"
                ),
            }),
    }
}

impl Architecture {
    /// Sets the head's strides from the graph, and the order of the anchors to match them: coarse levels get
    /// the large anchors.
    pub(super) fn set_strides(&mut self) -> Result<()> {
        let sizes = self.output_sizes([STRIDE_PROBE; 2]);
        let last = self.layers.len().saturating_sub(1);
        if !matches!(self.layers.last(), Some(Layer { block: Block::Detect(_), .. })) {
            return Err(architecture("the last layer must be Detect"));
        }
        let strides: Vec<usize> = self
            .sources(last)
            .into_iter()
            .map(|source| STRIDE_PROBE / source.map_or(STRIDE_PROBE, |s| sizes[s][0]).max(1))
            .collect();
        if let Some(Layer { block: Block::Detect(detect), .. }) = self.layers.last_mut() {
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
            detect.strides = strides;
        }
        Ok(())
    }
}
