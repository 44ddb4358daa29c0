//! The convolutions that a pruning may change, and those that it leaves alone, with reasons.

use yolo_model::Layout;
use yolo_model::architecture::ConvRef;
use yolo_model::program::{Operation, OperationKind};

use crate::allocation::{AllocationError, Layer, Limit};
use crate::error::{PruneError, Result};
use crate::options::PruneOptions;
use crate::pattern::Structure;
use crate::plan::Skipped;

/// A convolution that may be pruned.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Which.
    pub(crate) conv: ConvRef,
    /// Its shape and operations, for the division of the amount.
    pub(crate) layer: Layer,
    /// Limits of the fraction removed.
    pub(crate) limit: Limit,
}

/// An error of dividing the amount, with the name of the convolution that it is about.
pub(crate) fn allocation_error(error: AllocationError, candidates: &[Candidate]) -> PruneError {
    let layer = error.layer().and_then(|layer| candidates.get(layer));
    let layer = layer.map(|candidate| format!("{}: ", candidate.conv.name)).unwrap_or_default();
    PruneError::Allocation { layer, error }
}

impl Candidate {
    /// Number of weights.
    pub(crate) fn weights(&self) -> usize {
        self.layer.weights()
    }
}

/// The convolutions that `options` do not exclude, in the order of the state dict, and the others.
///
/// # Errors
/// A pattern that matches nothing, patterns that match everything, a structure that fits no convolution.
pub(crate) fn candidates(
    layout: &dyn Layout,
    options: &PruneOptions,
) -> Result<(Vec<Candidate>, Vec<Skipped>)> {
    let convs = layout.convs();
    let patterns = options.exclude.iter().chain(options.limits.keys());
    for pattern in patterns {
        if !convs.iter().any(|conv| pattern.matches(&conv.name)) {
            let example = convs.first().map(|c| c.name.clone()).unwrap_or_default();
            return Err(PruneError::Pattern { pattern: pattern.as_str().to_owned(), example });
        }
    }
    let flops = flops(layout);
    let (mut chosen, mut skipped, mut misfits) = (Vec::new(), Vec::new(), 0);
    for conv in convs {
        if let Some(pattern) = options.exclude.iter().find(|pattern| pattern.matches(&conv.name)) {
            let reason = format!("excluded by {:?}", pattern.as_str());
            skipped.push(Skipped { tensor: conv.weight(), reason });
        } else if let Some(reason) = misfit(&conv, options) {
            misfits += 1;
            skipped.push(Skipped { tensor: conv.weight(), reason });
        } else {
            let flops = flops.iter().find(|(name, _)| *name == conv.name).map_or(0, |(_, flops)| *flops);
            let layer = Layer { shape: conv.spec.weight_shape(), flops };
            let limit = options.limit_of(&conv.name);
            chosen.push(Candidate { conv, layer, limit });
        }
    }
    skipped.extend(transposed(layout));
    match (chosen.is_empty(), misfits) {
        (false, _) => Ok((chosen, skipped)),
        (true, 0) => Err(PruneError::NothingLeft),
        (true, _) => Err(PruneError::NothingFits { structure: options.structure.to_string() }),
    }
}

/// The transposed convolutions. Costs, kernels and counts of zeros are those of other convolutions, so zeros there would
/// make nothing smaller or faster.
fn transposed(layout: &dyn Layout) -> Vec<Skipped> {
    let skip = |operation: &Operation| match &operation.kind {
        OperationKind::Transposed(transposed) => Some(Skipped {
            tensor: transposed.weight(),
            reason: "the weights of transposed convolutions are not pruned".to_owned(),
        }),
        _ => None,
    };
    layout.program().operations.iter().filter_map(skip).collect()
}

/// Why the options do not fit a convolution.
fn misfit(conv: &ConvRef, options: &PruneOptions) -> Option<String> {
    let [out, inp, _, _] = conv.spec.weight_shape();
    match options.structure {
        // What the kernels that profit from n:m ask for; other convolutions would lose accuracy for nothing.
        Structure::NofM { n, m } if out % 8 != 0 || inp % (4 * m) != 0 => Some(format!(
            "{n}:{m} needs output channels in eights and input channels in {}s; it has {out} and {inp}",
            4 * m
        )),
        _ if conv.spec.groups != 1 && options.needs_images() => {
            Some(format!("its {} groups are not calibrated", conv.spec.groups))
        }
        _ => None,
    }
}

/// Two operations per multiply-add of every convolution, for one image.
fn flops(layout: &dyn Layout) -> Vec<(String, u64)> {
    let program = layout.program();
    let sizes = program.sizes(layout.image_size());
    let flops = |(index, conv): (usize, &ConvRef)| {
        let [height, width] = sizes[index + 1];
        let weights: usize = conv.spec.weight_shape().iter().product();
        (conv.name.clone(), 2 * (height * width * weights) as u64)
    };
    program.convs().map(flops).collect()
}
