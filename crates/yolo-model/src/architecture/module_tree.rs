//! The architecture behind a pickled YOLOv5 model: read off its module objects, so that a network with other
//! kernels or widths than any yaml is described as it is.

use super::validate::architecture;
use super::yaml::parse_activation;
use super::{Activation, Architecture, Block, BottleneckSpec, C3Spec, ConvSpec, DetectSpec, Layer, SppfSpec};
use crate::error::{ModelError, Result};
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
        for (index, (name, module)) in layers.children.iter().enumerate() {
            if *name != index.to_string() {
                return Err(architecture(format!("layer {index} is called {name:?}")));
            }
            let at = At { path: format!("layer {index} ({})", module.class_name()), module };
            let outputs = found.out_channels();
            let from = at.from()?;
            let input = |from: &i64| super::resolve(index, *from).and_then(|s| outputs.get(s).copied());
            let inputs: Vec<usize> = from.iter().map(|f| input(f).unwrap_or(in_channels)).collect();
            let block = at.block(&inputs)?;
            found.layers.push(Layer { from, block });
        }
        found.set_anchors(weights, strides)?;
        found.validate()?;
        Ok(found)
    }
}

/// A module with its place, for errors.
struct At<'a> {
    path: String,
    module: &'a PickledModule,
}

impl<'a> At<'a> {
    fn error(&self, reason: &str) -> ModelError {
        architecture(format!("{} {reason}", self.path))
    }

    fn child(&self, name: &str) -> Result<At<'a>> {
        let module = self.module.child(name).ok_or_else(|| self.error(&format!("has no part {name}")))?;
        Ok(At { path: format!("{} {name}", self.path), module })
    }

    fn whole(&self, name: &str) -> Result<usize> {
        let value = self.module.attribute(name).and_then(whole);
        value.ok_or_else(|| self.error(&format!("has no whole number {name}")))
    }

    /// A pair of numbers, or one number for both.
    fn pair(&self, name: &str) -> Result<[usize; 2]> {
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

    fn block(&self, inputs: &[usize]) -> Result<Block> {
        Ok(match self.module.class_name() {
            "Conv" => Block::Conv(self.conv()?),
            "Bottleneck" => Block::Bottleneck(self.bottleneck()?),
            "C3" => {
                let m = self.child("m")?;
                let each = m.module.children.iter();
                Block::C3(C3Spec {
                    cv1: self.child("cv1")?.conv()?,
                    cv2: self.child("cv2")?.conv()?,
                    cv3: self.child("cv3")?.conv()?,
                    m: each.map(|(j, _)| m.child(j)?.bottleneck()).collect::<Result<_>>()?,
                })
            }
            "SPPF" => Block::Sppf(SppfSpec {
                cv1: self.child("cv1")?.conv()?,
                cv2: self.child("cv2")?.conv()?,
                pool: self.child("m")?.pair("kernel_size")?[0],
            }),
            "Upsample" => Block::Upsample { scale: self.scale()? },
            "Concat" => Block::Concat,
            "Detect" => Block::Detect(DetectSpec {
                num_classes: self.whole("nc")?,
                in_channels: inputs.to_vec(),
                anchors: Vec::new(),
                strides: Vec::new(),
            }),
            _ => {
                let known = "Conv, Bottleneck, C3, SPPF, Upsample, Concat, Detect";
                return Err(self.error(&format!("is of a class that is not known here; known are {known}")));
            }
        })
    }

    fn scale(&self) -> Result<usize> {
        if let Some(mode) = self.module.attribute("mode").and_then(PlainValue::as_str)
            && mode != "nearest"
        {
            return Err(self.error(&format!("enlarges by {mode:?}; only nearest is known here")));
        }
        let factor = self.module.attribute("scale_factor").and_then(PlainValue::as_float);
        match factor {
            Some(factor) if factor.fract() == 0.0 && (1.0..=8.0).contains(&factor) => Ok(factor as usize),
            _ => Err(self.error("has no whole scale_factor")),
        }
    }

    fn conv(&self) -> Result<ConvSpec> {
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

    fn bottleneck(&self) -> Result<BottleneckSpec> {
        let add = matches!(self.module.attribute("add"), Some(PlainValue::Bool(true)));
        Ok(BottleneckSpec { cv1: self.child("cv1")?.conv()?, cv2: self.child("cv2")?.conv()?, add })
    }
}

fn whole(value: &PlainValue) -> Option<usize> {
    value.as_int().and_then(|n| usize::try_from(n).ok())
}
