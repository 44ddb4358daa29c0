//! The architecture behind a pickled YOLOv5 model: read off its module objects, so that a network with other
//! kernels or widths than any yaml is described as it is.

use super::yaml::parse_activation;
use super::{Activation, Architecture, ConvSpec, Layer};
use crate::error::{ModelError, Result};
use crate::modules::{Block, registry};
use crate::program::{Lowering, architecture_error as architecture};
use crate::weights::{PickledModule, PlainValue, StateDict};

impl Architecture {
    /// Reads the graph from `root` (the model object), and the anchors from `weights`.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] names the layer whose class or attribute is not understood.
    pub(crate) fn from_module_tree(
        root: &PickledModule,
        weights: &StateDict,
        strides: Option<&[f32]>,
    ) -> Result<Self> {
        let layers = root
            .child("model")
            .ok_or_else(|| architecture(format!("{} has no list of layers called model", root.class)))?;
        let in_channels = root.attribute("yaml").and_then(|yaml| yaml.get("ch")).and_then(whole).unwrap_or(3);
        let fused = !weights.names().any(|name| name.contains(".bn."));
        let mut found = Self { in_channels, fused, layers: Vec::new() };
        let mut lowering = Lowering::new(in_channels);
        for (index, (name, module)) in layers.children.iter().enumerate() {
            if *name != index.to_string() {
                return Err(architecture(format!("layer {index} is called {name:?}")));
            }
            let path = format!("layer {index} ({})", module.class_name());
            let mut layer = PickledLayer { path, module, inputs: Vec::new() };
            let from = layer.from()?;
            layer.inputs =
                lowering.sources(&from)?.into_iter().map(|value| lowering.channels(value)).collect();
            let layer = Layer { from, block: layer.block()? };
            lowering.layer(&layer)?;
            found.layers.push(layer);
        }
        found.set_anchors(weights, strides)?;
        found.validate()?;
        Ok(found)
    }
}

/// A module of a pickled network, or a part of one, with its place for errors.
#[derive(Debug)]
pub struct PickledLayer<'a> {
    path: String,
    module: &'a PickledModule,
    inputs: Vec<usize>,
}

impl<'a> PickledLayer<'a> {
    /// An error that names the place.
    pub fn error(&self, reason: &str) -> ModelError {
        architecture(format!("{} {reason}", self.path))
    }

    /// Channels of every input of the layer.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// The part called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn child(&self, name: &str) -> Result<PickledLayer<'a>> {
        let module = self.module.child(name).ok_or_else(|| self.error(&format!("has no part {name}")))?;
        Ok(self.part(name, module))
    }

    /// All parts, in order.
    pub fn children(&self) -> Vec<PickledLayer<'a>> {
        self.module.children.iter().map(|(name, module)| self.part(name, module)).collect()
    }

    fn part(&self, name: &str, module: &'a PickledModule) -> PickledLayer<'a> {
        PickledLayer { path: format!("{} {name}", self.path), module, inputs: self.inputs.clone() }
    }

    /// An attribute of any type.
    pub fn attribute(&self, name: &str) -> Option<&'a PlainValue> {
        self.module.attribute(name)
    }

    /// Whether the attribute is there and true.
    pub fn flag(&self, name: &str) -> bool {
        self.attribute(name).and_then(PlainValue::as_bool).unwrap_or(false)
    }

    /// A whole number of at least 0.
    ///
    /// # Errors
    /// The attribute is not there, or something else.
    pub fn whole(&self, name: &str) -> Result<usize> {
        let value = self.module.attribute(name).and_then(whole);
        value.ok_or_else(|| self.error(&format!("has no whole number {name}")))
    }

    /// A pair of whole numbers, or one number for both.
    ///
    /// # Errors
    /// The attribute is not there, or something else.
    pub fn pair(&self, name: &str) -> Result<[usize; 2]> {
        let value = self.module.attribute(name);
        if let Some(side) = value.and_then(whole) {
            return Ok([side; 2]);
        }
        let pair = value.and_then(PlainValue::as_slice).map(|list| list.iter().map(whole).collect());
        match pair {
            Some::<Vec<Option<usize>>>(pair) if pair.len() == 2 => match (pair[0], pair[1]) {
                (Some(first), Some(second)) => Ok([first, second]),
                _ => Err(self.error(&format!("has no pair of whole numbers {name}"))),
            },
            _ => Err(self.error(&format!("has no pair of whole numbers {name}"))),
        }
    }

    fn from(&self) -> Result<Vec<i64>> {
        let value = self.module.attribute("f");
        if let Some(from) = value.and_then(PlainValue::as_int) {
            return Ok(vec![from]);
        }
        let list = value.and_then(PlainValue::as_slice);
        list.and_then(|list| list.iter().map(PlainValue::as_int).collect())
            .ok_or_else(|| self.error("does not say where it reads (attribute f)"))
    }

    fn block(&self) -> Result<Block> {
        let unknown =
            || self.error(&format!("is of a class that is not known here; known are {}", registry::names()));
        let kind = registry::by_class(self.module.class_name()).ok_or_else(unknown)?;
        (kind.from_pickle)(self)
    }

    /// The convolution of a `Conv`, with its activation.
    ///
    /// # Errors
    /// A part or attribute that is missing or not understood.
    pub fn conv(&self) -> Result<ConvSpec> {
        let conv = self.child("conv")?;
        if let Some(mode) = conv.module.attribute("padding_mode").and_then(PlainValue::as_str)
            && mode != "zeros"
        {
            return Err(conv.error(&format!("pads with {mode:?}; only zeros are known here")));
        }
        Ok(ConvSpec {
            in_channels: conv.whole("in_channels")?,
            out_channels: conv.whole("out_channels")?,
            kernel: conv.pair("kernel_size")?,
            stride: conv.pair("stride")?,
            padding: conv.pair("padding")?,
            dilation: conv.pair("dilation")?,
            groups: conv.whole("groups")?,
            activation: self.activation()?,
        })
    }

    fn activation(&self) -> Result<Activation> {
        // Models built by v7.0 share one activation and may not store it on the block.
        let Some(module) = self.module.child("act") else { return Ok(Activation::default()) };
        let name = module.class_name();
        let text = match module.attribute("negative_slope").and_then(PlainValue::as_float) {
            Some(slope) if name == "LeakyReLU" => format!("{name}({slope})"),
            _ => format!("{name}()"),
        };
        parse_activation(&text).map_err(|error| self.error(&error.to_string()))
    }
}

fn whole(value: &PlainValue) -> Option<usize> {
    value.as_int().and_then(|n| usize::try_from(n).ok())
}
