//! One line of a model yaml, as a module reads it.

use super::{Anchors, Arg, Entry, ModelConfig, Scale, layer_error};
use crate::architecture::activation::SPELLINGS;
use crate::architecture::{Activation, ConvSpec};
use crate::error::{ModelError, Result};

/// Bins of a distance where a yaml does not say.
const BINS: usize = 16;

/// A line of a model yaml with what it needs to know of the rest; errors name it.
#[derive(Debug)]
pub struct YamlLayer<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) scale: &'a Scale,
    pub(super) index: usize,
    pub(super) entry: &'a Entry,
    /// Channels of every input.
    pub(super) inputs: Vec<usize>,
    pub(super) num_classes: usize,
    pub(super) anchors: &'a [Vec<[f32; 2]>],
    pub(super) activation: Activation,
}

impl YamlLayer<'_> {
    /// Channels of every input.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// Channels of the first input.
    pub fn input(&self) -> usize {
        self.inputs.first().copied().unwrap_or(0)
    }

    /// The activation of every convolution block.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The activation at `position`: that of the yaml if it is absent or true, none if it is false, or one of PyTorch's, as
    /// Python writes it.
    ///
    /// # Errors
    /// It is something else.
    pub fn activation_at(&self, position: usize) -> Result<Activation> {
        match self.argument(position) {
            None | Some(Arg::Bool(true)) => Ok(self.activation),
            Some(Arg::Bool(false)) => Ok(Activation::Identity),
            Some(Arg::Str(text)) if text == "None" => Ok(Activation::Identity),
            Some(Arg::Str(text)) if Activation::parse(text).is_some() => {
                Ok(Activation::parse(text).unwrap_or_default())
            }
            Some(_) => Err(self.wrong(position, &format!("True, False or {SPELLINGS}"))),
        }
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// Per level of a head with these inputs, width and height of its anchors in pixels.
    pub fn anchors(&self) -> Vec<Vec<[f32; 2]>> {
        match self.config.anchors {
            Anchors::Count(_) => vec![self.anchors[0].clone(); self.inputs.len()],
            Anchors::Levels(_) => self.anchors.to_vec(),
        }
    }

    /// The letter of the size: n, s, m, l, x, if there is one.
    pub fn scale(&self) -> Option<&str> {
        self.scale.letter.as_deref()
    }

    /// How many arguments the line has.
    pub fn n_arguments(&self) -> usize {
        self.entry.3.len()
    }

    /// Whether the argument at `position` is `anchors`, or a list of them.
    pub fn names_anchors(&self, position: usize) -> bool {
        match self.argument(position) {
            Some(Arg::Str(text)) => text == "anchors",
            Some(Arg::List(_)) => true,
            _ => false,
        }
    }

    /// Bins of a distance in a head without anchors.
    pub fn bins(&self) -> usize {
        self.config.reg_max.unwrap_or(BINS)
    }

    /// Whether a head without anchors has one-to-one branches as well.
    pub fn is_end_to_end(&self) -> bool {
        self.config.end2end.unwrap_or(false)
    }

    /// Whether the yaml has one of these modules anywhere.
    pub fn has_module(&self, names: &[&str]) -> bool {
        self.config.backbone.iter().chain(&self.config.head).any(|entry| names.contains(&entry.2.as_str()))
    }

    /// A convolution block of stride 1 with the yaml's activation.
    pub fn conv(&self, in_channels: usize, out_channels: usize, kernel: usize) -> ConvSpec {
        ConvSpec { activation: self.activation, ..ConvSpec::new(in_channels, out_channels, kernel, 1) }
    }

    /// `max(round_half_even(n · depth_multiple), 1)` repeats.
    pub fn repeats(&self) -> usize {
        let n = self.entry.1;
        if n > 1 { ((n as f64 * self.scale.depth).round_ties_even() as usize).max(1) } else { n }
    }

    /// `ceil(c · width_multiple / 8) · 8` of a width that is cut down to the size's largest base width first. A width equal to
    /// that of a head with anchors stays.
    pub fn width(&self, base: usize) -> usize {
        let n_anchors = self.anchors.first().map_or(0, Vec::len);
        if base == n_anchors * (self.num_classes + 5) {
            return base;
        }
        let multiple = self.config.channel_multiple.unwrap_or(8).max(1);
        let cut = (base as f64).min(self.scale.most_channels.unwrap_or(f64::INFINITY));
        (cut * self.scale.width / multiple as f64).ceil() as usize * multiple
    }

    /// The whole number at `position`.
    ///
    /// # Errors
    /// It is absent, or not a whole number up to 2²⁰.
    pub fn int(&self, position: usize) -> Result<usize> {
        self.int_at(position)?.ok_or_else(|| self.wrong(position, "a whole number"))
    }

    /// The whole number at `position`, or `default` if it is absent.
    ///
    /// # Errors
    /// It is not a whole number up to 2²⁰.
    pub fn int_or(&self, position: usize, default: usize) -> Result<usize> {
        Ok(self.int_at(position)?.unwrap_or(default))
    }

    /// The list of whole numbers at `position`, if it is there.
    ///
    /// # Errors
    /// It is not a list of whole numbers.
    pub fn ints(&self, position: usize) -> Result<Option<Vec<usize>>> {
        let Some(argument) = self.argument(position) else { return Ok(None) };
        let wrong = || self.wrong(position, "a list of whole numbers");
        let Arg::List(list) = argument else { return Err(wrong()) };
        let number = |item: &Arg| match item {
            Arg::Int(n) => usize::try_from(*n).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        list.iter().map(number).collect::<Result<_>>().map(Some)
    }

    /// True or false at `position`, or `default` if it is absent.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool_or(&self, position: usize, default: bool) -> Result<bool> {
        match self.argument(position) {
            None => Ok(default),
            Some(Arg::Bool(b)) => Ok(*b),
            Some(_) => Err(self.wrong(position, "True or False")),
        }
    }

    /// Channels inside of a module with `out` channels: as many times the expansion at `position`, rounded down.
    ///
    /// # Errors
    /// [`ModelError::Yaml`] if the expansion is not a number.
    pub fn hidden(&self, out: usize, position: usize, default: f64) -> Result<usize> {
        Ok((out as f64 * self.float_or(position, default)?) as usize)
    }

    /// The number at `position`, or `default` if it is absent.
    ///
    /// # Errors
    /// It is not a number between 0 and 16.
    pub fn float_or(&self, position: usize, default: f64) -> Result<f64> {
        match self.argument(position) {
            None => Ok(default),
            Some(Arg::Float(x)) if (0.0..=16.0).contains(x) => Ok(*x),
            Some(Arg::Int(n)) if (0..=16).contains(n) => Ok(*n as f64),
            Some(_) => Err(self.wrong(position, "a number between 0 and 16")),
        }
    }

    /// An error that names the line.
    pub fn error(&self, reason: &str) -> ModelError {
        layer_error(self.index, self.entry, reason)
    }

    fn int_at(&self, position: usize) -> Result<Option<usize>> {
        match self.argument(position) {
            None => Ok(None),
            Some(Arg::Str(s)) if s == "None" => Ok(None),
            Some(Arg::Int(n)) => match usize::try_from(*n) {
                Ok(n) if n <= 1 << 20 => Ok(Some(n)),
                _ => Err(self.wrong(position, "a whole number up to 1048576")),
            },
            Some(_) => Err(self.wrong(position, "a whole number")),
        }
    }

    fn argument(&self, position: usize) -> Option<&Arg> {
        self.entry.3.get(position).filter(|argument| !matches!(argument, Arg::Null(())))
    }

    fn wrong(&self, position: usize, expected: &str) -> ModelError {
        self.error(&format!("needs {expected} as argument {}", position + 1))
    }
}
