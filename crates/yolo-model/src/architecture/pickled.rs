//! The architecture behind a pickled YOLOv5 model: read off its module objects, so that a network with other
//! kernels or widths than any yaml is described as it is.

use super::{Activation, Architecture, ConvForm, ConvSpec, Layer, NormSpec};
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
        // Release 1.0 called it `md`.
        let yaml = root.attribute("yaml").or_else(|| root.attribute("md"));
        let channels = yaml.and_then(|yaml| yaml.get("ch").or_else(|| yaml.get("channels")));
        let in_channels = channels.and_then(whole).unwrap_or(3);
        let mut found = Self {
            in_channels,
            fused: !layers.children.iter().any(|(_, layer)| has_normalised_block(layer)),
            // The other family shares one always.
            activations: shared_activations(root).filter(|_| has_anchors(layers)),
            layers: Vec::new(),
        };
        if let Some((index, (_, head))) = layers.children.iter().enumerate().next_back() {
            check_outputs(index, head)?;
        }
        let mut lowering = Lowering::new(in_channels);
        for (index, (name, module)) in layers.children.iter().enumerate() {
            // Suppression that was saved with the network follows the head.
            if module.class_name() == "NMS" && index + 1 == layers.children.len() {
                break;
            }
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
        found.set_head(weights, strides)?;
        found.validate()?;
        Ok(found)
    }
}

/// Checks that the head returns a box, an objectness and classes, and says so before any layer that only such networks have.
fn check_outputs(index: usize, head: &PickledModule) -> Result<()> {
    let number = |name: &str| head.attribute(name).and_then(whole);
    match (head.class_name(), number("nc"), number("no")) {
        ("Detect", Some(classes), Some(outputs)) if head.child("m").is_some() && outputs != classes + 5 => {
            Err(architecture(format!(
                "layer {index} (Detect) is a keypoint head (no = {outputs}, nc = {classes}), which is not a detector's"
            )))
        }
        _ => Ok(()),
    }
}

/// Whether the last layer is a head with anchors.
fn has_anchors(layers: &PickledModule) -> bool {
    layers.children.iter().any(|(_, layer)| layer.buffers.contains_key("anchors"))
}

/// Whether there is a block whose batch normalisation is not folded in.
fn has_normalised_block(module: &PickledModule) -> bool {
    let is_block = module.child("conv").is_some() && module.child("bn").is_some();
    is_block || module.children.iter().any(|(_, child)| has_normalised_block(child))
}

/// The number of activation objects, if blocks share some of them.
fn shared_activations(root: &PickledModule) -> Option<usize> {
    fn collect(module: &PickledModule, found: &mut Vec<usize>) {
        for (name, child) in &module.children {
            if name == "act" {
                found.push(child.identity);
            }
            collect(child, found);
        }
    }
    let mut found = Vec::new();
    collect(root, &mut found);
    let uses = found.len();
    found.sort_unstable();
    found.dedup();
    (found.len() < uses).then_some(found.len())
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

    /// The class without its Python module.
    pub fn class_name(&self) -> &'a str {
        self.module.class_name()
    }

    /// Whether it has a parameter of that name, masked or not.
    pub fn has_parameter(&self, name: &str) -> bool {
        self.module.parameters.contains_key(name)
            || self.module.parameters.contains_key(&format!("{name}_orig"))
    }

    /// Whether an attribute is `None` or not there.
    pub fn is_absent(&self, name: &str) -> bool {
        !self.has_parameter(name) && matches!(self.attribute(name), None | Some(PlainValue::None))
    }

    /// A list of whole numbers of at least 0, or one number.
    ///
    /// # Errors
    /// The attribute is not there, or something else.
    pub fn wholes(&self, name: &str) -> Result<Vec<usize>> {
        let value = self.module.attribute(name);
        if let Some(number) = value.and_then(whole) {
            return Ok(vec![number; 4]);
        }
        let list = value.and_then(PlainValue::as_slice).and_then(|list| list.iter().map(whole).collect());
        list.ok_or_else(|| self.error(&format!("has no whole numbers {name}")))
    }

    /// The module that its class stands for.
    ///
    /// # Errors
    /// A class, part or attribute that is not understood.
    pub fn block(&self) -> Result<Block> {
        let unknown =
            || self.error(&format!("is of a class that is not known here; known are {}", registry::names()));
        let kind = registry::by_pickled_class(self.module.class_name()).ok_or_else(unknown)?;
        (kind.from_pickle)(self)
    }

    /// The convolution of a `Conv`, with its activation.
    ///
    /// # Errors
    /// A part or attribute that is missing or not understood.
    pub fn conv(&self) -> Result<ConvSpec> {
        let conv = self.child("conv")?;
        Ok(ConvSpec { activation: self.activation()?, form: ConvForm::Block, ..conv.lone_conv()? })
    }

    /// A `Conv2d` with nothing behind it.
    ///
    /// # Errors
    /// An attribute that is missing or not understood.
    pub fn lone_conv(&self) -> Result<ConvSpec> {
        if let Some(mode) = self.attribute("padding_mode").and_then(PlainValue::as_str)
            && mode != "zeros"
        {
            return Err(self.error(&format!("pads with {mode:?}; only zeros are known here")));
        }
        Ok(ConvSpec {
            in_channels: self.whole("in_channels")?,
            out_channels: self.whole("out_channels")?,
            kernel: self.pair("kernel_size")?,
            stride: self.pair("stride")?,
            padding: self.pair("padding")?,
            dilation: self.pair("dilation")?,
            groups: self.whole("groups")?,
            activation: Activation::Identity,
            form: if self.has_parameter("bias") { ConvForm::Bare } else { ConvForm::Plain },
        })
    }

    /// A `Linear` over channels.
    ///
    /// # Errors
    /// An attribute that is missing or not understood.
    pub fn linear(&self) -> Result<ConvSpec> {
        let (input, output) = (self.whole("in_features")?, self.whole("out_features")?);
        Ok(ConvSpec::linear(input, output, self.has_parameter("bias")))
    }

    /// The part `bn` with the activation `act` behind it.
    ///
    /// # Errors
    /// A part or attribute that is missing or not understood.
    pub fn norm(&self) -> Result<NormSpec> {
        let activation = self.child("act")?.own_activation()?;
        Ok(NormSpec { channels: self.child("bn")?.norm_channels()?, activation })
    }

    /// Channels of a `BatchNorm2d`.
    ///
    /// # Errors
    /// An attribute that is missing or not understood.
    pub fn norm_channels(&self) -> Result<usize> {
        self.whole("num_features")
    }

    fn activation(&self) -> Result<Activation> {
        // Models built by v7.0 share one activation and may not store it on the block.
        match self.child("act") {
            Ok(activation) => activation.own_activation(),
            Err(_) => Ok(Activation::default()),
        }
    }

    /// The activation that this module is.
    ///
    /// # Errors
    /// Another class, or one that is not known here.
    pub fn own_activation(&self) -> Result<Activation> {
        let name = self.class_name();
        let number = |name: &str| self.attribute(name).and_then(PlainValue::as_float);
        let is_approximate =
            self.attribute("approximate").and_then(PlainValue::as_str).is_some_and(|how| how != "none");
        Activation::of_class(name, number)
            .filter(|_| !is_approximate)
            .ok_or_else(|| self.error(&format!("is the activation {name}, which is not known here")))
    }
}

fn whole(value: &PlainValue) -> Option<usize> {
    value.as_int().and_then(|n| usize::try_from(n).ok())
}
