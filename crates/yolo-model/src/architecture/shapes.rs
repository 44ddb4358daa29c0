//! The architecture behind a bare state dict, from names and shapes.

use super::validate::architecture;
use super::{Architecture, Block, BottleneckSpec, ConvSpec, DetectSpec, VARIANTS};
use crate::error::{ModelError, Result};
use crate::weights::StateDict;

impl Architecture {
    /// Recognises one of YOLOv5's graphs by the number of layers and takes every width from the tensors.
    /// Strides are those of the graph where `strides` is not given.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] where the tensors are not those of a YOLOv5 detector.
    pub fn from_state_dict(weights: &StateDict, strides: Option<&[f32]>) -> Result<Self> {
        let head = weights.names().find_map(|name| name.strip_suffix(".anchors")).ok_or_else(|| {
            architecture(
                "there is no tensor model.N.anchors, so these are not the weights of a YOLOv5 detector",
            )
        })?;
        let template = VARIANTS
            .iter()
            .filter_map(|(name, _)| Self::variant(name, None).ok())
            .find(|variant| variant.anchors_name() == format!("{head}.anchors"))
            .ok_or_else(|| {
                architecture(format!(
                    "the head {head} belongs to none of the graphs known here (model.24 for P5, model.33 for P6); \
                     use the .pt that YOLOv5 saves, which describes its own graph"
                ))
            })?;
        let mut found = template.with_widths_of(weights)?;
        found.set_anchors(weights, strides)?;
        found.validate()?;
        Ok(found)
    }

    /// The same graph with the widths, depths and kernels of the tensors in `weights`.
    fn with_widths_of(mut self, weights: &StateDict) -> Result<Self> {
        self.fused = !weights.names().any(|name| name.contains(".bn."));
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let prefix = format!("model.{index}");
            match &mut layer.block {
                Block::Conv(conv) => resize(conv, &prefix, weights)?,
                Block::Bottleneck(bottleneck) => resize_bottleneck(bottleneck, &prefix, weights)?,
                Block::C3(c3) => {
                    resize(&mut c3.cv1, &format!("{prefix}.cv1"), weights)?;
                    resize(&mut c3.cv2, &format!("{prefix}.cv2"), weights)?;
                    resize(&mut c3.cv3, &format!("{prefix}.cv3"), weights)?;
                    let pattern = c3.m.first().cloned();
                    let depth =
                        (0..).take_while(|j| weights.contains(&format!("{prefix}.m.{j}.cv1.conv.weight")));
                    c3.m = depth
                        .filter_map(|j| pattern.clone().map(|bottleneck| (j, bottleneck)))
                        .map(|(j, mut bottleneck)| {
                            resize_bottleneck(&mut bottleneck, &format!("{prefix}.m.{j}"), weights)?;
                            Ok(bottleneck)
                        })
                        .collect::<Result<_>>()?;
                }
                Block::Sppf(sppf) => {
                    resize(&mut sppf.cv1, &format!("{prefix}.cv1"), weights)?;
                    resize(&mut sppf.cv2, &format!("{prefix}.cv2"), weights)?;
                }
                Block::Upsample { .. } | Block::Concat => {}
                Block::Detect(detect) => resize_detect(detect, &prefix, weights)?,
            }
        }
        Ok(self)
    }

    /// Takes the anchors, `[levels, anchors, 2]` in cells, from `weights`, and the strides where given.
    pub(super) fn set_anchors(&mut self, weights: &StateDict, strides: Option<&[f32]>) -> Result<()> {
        let name = self.anchors_name();
        let tensor = weights.require(&name)?;
        let cells = weights.f32s(&name)?;
        let &[levels, n_anchors, 2] = tensor.shape.as_slice() else {
            let reason = format!("has shape {:?}, not [levels, anchors, 2]", tensor.shape);
            return Err(ModelError::Tensor { name, reason });
        };
        self.set_strides()?;
        let Some(Block::Detect(detect)) = self.layers.last_mut().map(|layer| &mut layer.block) else {
            return Err(architecture("the last layer must be Detect"));
        };
        if let Some(strides) = strides {
            let whole: Vec<usize> = strides.iter().map(|s| *s as usize).collect();
            if whole != detect.strides {
                return Err(architecture(format!(
                    "the file says strides {strides:?}, its layers say {:?}",
                    detect.strides
                )));
            }
        }
        if levels != detect.strides.len() || n_anchors == 0 {
            let reason =
                format!("has {levels} levels of {n_anchors} anchors for {} strides", detect.strides.len());
            return Err(ModelError::Tensor { name, reason });
        }
        let level = |(level, &stride): (usize, &usize)| {
            let sides = &cells[level * n_anchors * 2..(level + 1) * n_anchors * 2];
            sides.chunks_exact(2).map(|wh| [wh[0] * stride as f32, wh[1] * stride as f32]).collect()
        };
        detect.anchors = detect.strides.iter().enumerate().map(level).collect();
        Ok(())
    }
}

/// The four dimensions of a convolution's weight.
fn weight_shape(name: &str, weights: &StateDict) -> Result<[usize; 4]> {
    let shape = &weights.require(name)?.shape;
    <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| ModelError::Tensor {
        name: name.to_owned(),
        reason: format!("has shape {shape:?}; the weight of a convolution has four dimensions"),
    })
}

fn resize(conv: &mut ConvSpec, prefix: &str, weights: &StateDict) -> Result<()> {
    let [out, input, height, width] = weight_shape(&format!("{prefix}.conv.weight"), weights)?;
    conv.out_channels = out;
    conv.in_channels = input * conv.groups;
    if conv.kernel != [height, width] {
        conv.kernel = [height, width];
        conv.padding = [height / 2, width / 2];
    }
    Ok(())
}

fn resize_bottleneck(bottleneck: &mut BottleneckSpec, prefix: &str, weights: &StateDict) -> Result<()> {
    resize(&mut bottleneck.cv1, &format!("{prefix}.cv1"), weights)?;
    resize(&mut bottleneck.cv2, &format!("{prefix}.cv2"), weights)
}

fn resize_detect(detect: &mut DetectSpec, prefix: &str, weights: &StateDict) -> Result<()> {
    let name = format!("{prefix}.anchors");
    let n_anchors = weights.require(&name)?.shape.get(1).copied().unwrap_or(0);
    for (level, channels) in detect.in_channels.iter_mut().enumerate() {
        let name = format!("{prefix}.m.{level}.weight");
        let [out, input, _, _] = weight_shape(&name, weights)?;
        if n_anchors == 0 || out % n_anchors != 0 || out / n_anchors <= 5 {
            let reason = format!("has {out} rows, which is not {n_anchors} anchors × (5 + classes)");
            return Err(ModelError::Tensor { name, reason });
        }
        detect.num_classes = out / n_anchors - 5;
        *channels = input;
    }
    Ok(())
}
