//! The architecture behind a bare state dict, from names and shapes.

use super::{Architecture, ConvRef, ConvSpec, VARIANTS};
use crate::error::{ModelError, Result};
use crate::program::architecture_error as architecture;
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
        template.fitted_to(weights, strides)
    }

    /// The same graph with the widths, depths, kernels, classes and anchors of the tensors in `weights`.
    ///
    /// # Errors
    /// [`ModelError`] names a tensor that the graph needs and `weights` lacks, or one that does not fit.
    pub(crate) fn fitted_to(self, weights: &StateDict, strides: Option<&[f32]>) -> Result<Self> {
        let mut found = self.with_widths_of(weights)?;
        found.set_anchors(weights, strides)?;
        found.validate()?;
        Ok(found)
    }

    /// The same graph with the widths, depths and kernels of the tensors in `weights`.
    fn with_widths_of(mut self, weights: &StateDict) -> Result<Self> {
        self.fused = !weights.names().any(|name| name.contains(".bn."));
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.block.fit_repeats(&|path| weights.contains(&format!("model.{index}.{path}")));
            let mut outcome = Ok(());
            let mut rows = 0;
            layer.block.visit_convs(&mut |path, spec| {
                let conv = ConvRef::of_layer(index, path, spec);
                let resized = resize(spec, &conv.weight(), weights);
                outcome = std::mem::replace(&mut outcome, Ok(())).and(resized);
                rows = spec.out_channels;
            });
            outcome?;
            if let Some(head) = layer.block.head_mut() {
                let name = format!("model.{index}.anchors");
                let n_anchors = weights.require(&name)?.shape.get(1).copied().unwrap_or(0);
                head.fit_classes(rows, n_anchors).map_err(|reason| ModelError::Tensor {
                    name: format!("model.{index}.m.0.weight"),
                    reason,
                })?;
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
        let Some(detect) = self.head_mut() else {
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

fn resize(conv: &mut ConvSpec, weight: &str, weights: &StateDict) -> Result<()> {
    let [out, input, height, width] = weight_shape(weight, weights)?;
    conv.out_channels = out;
    conv.in_channels = input * conv.groups;
    if conv.kernel != [height, width] {
        conv.kernel = [height, width];
        conv.padding = [height / 2, width / 2];
    }
    Ok(())
}
