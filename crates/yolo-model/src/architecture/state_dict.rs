//! The architecture behind a bare state dict, from names and shapes.

use std::collections::HashSet;

use super::{Architecture, ConvRef, ConvSpec, SCALED, Scaled, VARIANTS};
use crate::error::{ModelError, Result};
use crate::heads::HeadMut;
use crate::program::architecture_error as architecture;
use crate::weights::StateDict;

impl Architecture {
    /// Recognises one of YOLOv5's graphs by the number of layers and takes every width from the tensors.
    /// Strides are those of the graph where `strides` is not given.
    ///
    /// # Errors
    /// [`ModelError::Architecture`] where the tensors are not those of a YOLOv5 detector.
    pub fn from_state_dict(weights: &StateDict, strides: Option<&[f32]>) -> Result<Self> {
        let template = match weights.names().find_map(|name| name.strip_suffix(".anchors")) {
            Some(head) => Self::anchor_based_template(head)?,
            None => Self::anchor_free_template(weights).ok_or_else(|| {
                architecture(
                    "there is no tensor model.N.anchors, so these are not the weights of a YOLOv5 detector",
                )
            })?,
        };
        let found = template.fitted_to(weights, strides)?;
        match found.parameter_beside(weights) {
            None => Ok(found),
            Some(name) => Err(architecture(format!(
                "{name} belongs to none of the graphs that tensors are recognised as; this network needs its yaml"
            ))),
        }
    }

    /// The first parameter or statistic of a layer in `weights` that the network does not have: it is another network then.
    fn parameter_beside<'a>(&self, weights: &'a StateDict) -> Option<&'a str> {
        let own: HashSet<String> = self.tensors().into_iter().map(|tensor| tensor.name).collect();
        let counts = |name: &&str| {
            let end = name.rsplit('.').next().unwrap_or_default();
            name.starts_with("model.")
                && (end.ends_with("weight") || end.ends_with("bias") || end.starts_with("running_"))
        };
        weights.names().filter(counts).find(|name| !own.contains(*name))
    }

    /// The graph of YOLOv5 whose head has the name `head`, `model.24`.
    fn anchor_based_template(head: &str) -> Result<Self> {
        VARIANTS
            .iter()
            .filter_map(|(name, _)| Self::variant(name, None).ok())
            .find(|variant| variant.anchors_name() == format!("{head}.anchors"))
            .ok_or_else(|| {
                architecture(format!(
                    "the head {head} belongs to none of the graphs known here (model.24 for P5, model.33 for P6); \
                     use the .pt that YOLOv5 saves, which describes its own graph"
                ))
            })
    }

    /// The same graph with the widths, depths, kernels, classes and anchors of the tensors in `weights`.
    ///
    /// # Errors
    /// [`ModelError`] names a tensor that the graph needs and `weights` lacks, or one that does not fit.
    pub(crate) fn fitted_to(self, weights: &StateDict, strides: Option<&[f32]>) -> Result<Self> {
        let mut found = self.with_widths_of(weights)?;
        found.set_head(weights, strides)?;
        found.validate()?;
        Ok(found)
    }

    /// The graph of the Ultralytics family with exactly the tensors of `weights`, if there is one. Sizes of one family differ
    /// in widths, which the tensors say, and in repeats.
    fn anchor_free_template(weights: &StateDict) -> Option<Self> {
        let names: HashSet<&str> = weights.names().collect();
        let is_fused = !names.iter().any(|name| name.contains(".bn."));
        let variants = SCALED.iter().flat_map(Scaled::names);
        variants.filter_map(|name| Self::variant(&name, None).ok()).find_map(|variant| {
            let forms = if is_fused { variant.fused_forms() } else { vec![variant] };
            forms.into_iter().find(|form| {
                let tensors = form.tensors();
                tensors.len() == names.len()
                    && tensors.iter().all(|tensor| names.contains(tensor.name.as_str()))
            })
        })
    }

    /// The network with batch normalisation folded in, once for each kind of branches that may answer.
    fn fused_forms(self) -> Vec<Self> {
        [false, true].map(|end_to_end| self.clone().with_end_to_end(end_to_end).without_batch_norm()).to_vec()
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
            if let Some(HeadMut::AnchorFree(head)) = layer.block.head_mut() {
                head.fit_widths();
            } else if let Some(HeadMut::AnchorBased(head)) = layer.block.head_mut() {
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

    /// Takes strides from the graph, which have to be those that are given, and anchors from `weights` if the head has any.
    pub(super) fn set_head(&mut self, weights: &StateDict, strides: Option<&[f32]>) -> Result<()> {
        match self.head_mut() {
            Some(HeadMut::AnchorFree(_)) => {
                self.set_strides()?;
                let found: Vec<f32> = self.head().strides().iter().map(|&stride| stride as f32).collect();
                match strides {
                    Some(stated) if stated != found => Err(architecture(format!(
                        "the file says strides {stated:?}, its layers say {found:?}"
                    ))),
                    _ => Ok(()),
                }
            }
            _ => self.set_anchors(weights, strides),
        }
    }

    /// Takes the anchors, `[levels, anchors, 2]` in cells, from `weights`, and the strides where given.
    fn set_anchors(&mut self, weights: &StateDict, strides: Option<&[f32]>) -> Result<()> {
        let name = self.anchors_name();
        let tensor = weights.require(&name)?;
        let cells = weights.f32s(&name)?;
        let &[levels, n_anchors, 2] = tensor.shape.as_slice() else {
            let reason = format!("has shape {:?}, not [levels, anchors, 2]", tensor.shape);
            return Err(ModelError::Tensor { name, reason });
        };
        self.set_strides()?;
        let Some(HeadMut::AnchorBased(detect)) = self.head_mut() else {
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

/// The four dimensions of a convolution's weight; the last two are 1 where it is stored as a matrix.
fn weight_shape(conv: &ConvSpec, name: &str, weights: &StateDict) -> Result<[usize; 4]> {
    let shape = &weights.require(name)?.shape;
    if let (true, &[out, input]) = (conv.form.is_linear(), shape.as_slice()) {
        return Ok([out, input, 1, 1]);
    }
    <[usize; 4]>::try_from(shape.as_slice()).map_err(|_| ModelError::Tensor {
        name: name.to_owned(),
        reason: format!("has shape {shape:?}; the weight of a convolution has four dimensions"),
    })
}

fn resize(conv: &mut ConvSpec, weight: &str, weights: &StateDict) -> Result<()> {
    let [out, input, height, width] = weight_shape(conv, weight, weights)?;
    if conv.is_depthwise() && input == 1 {
        conv.groups = out;
    }
    conv.out_channels = out;
    conv.in_channels = input * conv.groups;
    if conv.kernel != [height, width] {
        conv.kernel = [height, width];
        conv.padding = [height / 2, width / 2];
    }
    Ok(())
}
