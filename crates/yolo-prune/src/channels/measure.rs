//! Statistics of channels on calibration images: means for [`super::compensate()`], magnitudes and gradients for scores.

use std::cell::RefCell;
use std::collections::HashMap;

use burn::tensor::Tensor;
use rayon::prelude::*;
use yolo_model::Model;
use yolo_model::program::{OperationKind, Program};
use yolo_nn::host_values;

use super::compensate::ChannelMeans;
use super::scores::{ChannelScores, TaylorOf};
use crate::calibration::{Calibration, walk_observed};
use crate::error::Result;
use crate::fused::Fused;
use crate::gradient::{Labels, gradients};

/// Statistics of a network on images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelStatistics {
    /// Means of the outputs of every convolution, and of inputs that come through a max-pool.
    pub means: ChannelMeans,
    /// By convolution, the mean magnitude of every output channel, behind the activation: what
    /// [`ChannelScores::activation`] takes.
    pub magnitudes: HashMap<String, Vec<f64>>,
}

impl ChannelStatistics {
    /// Measures `model`, fused or not, on the images of `calibration`; every pixel of every map counts the same.
    ///
    /// # Errors
    /// A model whose tensors are not those of its layout; a device that does not return its results.
    pub fn measure(model: &dyn Model, calibration: &mut Calibration) -> Result<Self> {
        model.check_tensors()?;
        let fused = Fused::of(model)?;
        let pooled = behind_pools(&fused.program);
        let (images, device) = (calibration.images, calibration.device);
        calibration.start("Measuring channels", fused.program.convs().count());
        let (mut inputs, mut outputs) = (HashMap::new(), HashMap::new());
        let mut magnitudes = HashMap::new();
        walk_observed(
            &fused,
            images,
            device,
            |visit| {
                if pooled.contains(&visit.conv.name) {
                    inputs.insert(visit.conv.name.clone(), means(visit.dense)?.0);
                }
                Ok(None)
            },
            |conv, output| {
                let (mean, magnitude) = means(output)?;
                outputs.insert(conv.name.clone(), mean);
                magnitudes.insert(conv.name.clone(), magnitude);
                calibration.step();
                Ok(())
            },
        )?;
        Ok(Self { means: ChannelMeans { outputs, inputs }, magnitudes })
    }
}

/// Names of the convolutions that read something behind a max-pool or another operation whose output's mean does not follow
/// from that of its input.
fn behind_pools(program: &Program) -> Vec<String> {
    let mut pooled = vec![false];
    let mut names = Vec::new();
    for operation in &program.operations {
        let reads = operation.inputs.iter().any(|&input| pooled[input]);
        pooled.push(match &operation.kind {
            OperationKind::MaxPool { .. }
            | OperationKind::Pool(_)
            | OperationKind::Norm(_)
            | OperationKind::Transposed(_)
            | OperationKind::Attention(_)
            | OperationKind::ZeroPad { .. }
            | OperationKind::SpaceToDepth { .. }
            | OperationKind::DepthToSpace { .. } => true,
            OperationKind::Conv(conv) => {
                names.extend(reads.then(|| conv.name.clone()));
                false
            }
            _ => reads,
        });
    }
    names
}

/// Mean and mean magnitude of every channel over batches `[n, C, H, W]`.
fn means(batches: &[Tensor<4>]) -> Result<(Vec<f64>, Vec<f64>)> {
    let channels = batches.first().map_or(0, |batch| batch.dims()[1]);
    let (mut sums, mut magnitudes, mut count) = (vec![0.0; channels], vec![0.0; channels], 0);
    for batch in batches {
        let [n, _, height, width] = batch.dims();
        let values = host_values(batch.clone())?;
        // One sum per map, then in order: the result does not depend on the number of threads.
        let of_map = |map: &[f32]| {
            let add = |(sum, magnitude): (f64, f64), value: &f32| {
                (sum + f64::from(*value), magnitude + f64::from(value.abs()))
            };
            map.iter().fold((0.0, 0.0), add)
        };
        let maps: Vec<(f64, f64)> = values.par_chunks((height * width).max(1)).map(of_map).collect();
        for (map, (sum, magnitude)) in maps.into_iter().enumerate() {
            sums[map % channels] += sum;
            magnitudes[map % channels] += magnitude;
        }
        count += n * height * width;
    }
    let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / count.max(1) as f64).collect();
    Ok((mean(sums), mean(magnitudes)))
}

/// Taylor scores from calibration images without labels: the mean over batches of the squared first-order change
/// of the loss (Molchanov et al. 2019), against answers drawn from the network's own probabilities. Batch
/// normalisation keeps to its running statistics.
///
/// # Errors
/// Gradients that are not finite; a model whose tensors are not those of its layout; a device that does not return its
/// results.
pub fn taylor_scores(model: &dyn Model, calibration: &mut Calibration) -> Result<ChannelScores> {
    let of = if model.layout().is_fused() { TaylorOf::Weights } else { TaylorOf::BatchNorm };
    let (images, device) = (calibration.images, calibration.device);
    let n_batches = images.batches().len();
    calibration.start("Gradients", n_batches);
    let batch: RefCell<HashMap<String, Vec<f32>>> = RefCell::default();
    let mut scored: Vec<Result<ChannelScores>> = Vec::new();
    gradients(
        model,
        images,
        device,
        Labels::Drawn,
        |name, gradient| {
            batch.borrow_mut().insert(name.to_owned(), gradient.to_vec());
            Ok(())
        },
        || {
            scored.push(ChannelScores::taylor(model, &batch.take(), of));
            calibration.step();
        },
    )?;
    let mut sum: Option<ChannelScores> = None;
    for scores in scored {
        let mut scores = scores?;
        for value in scores.groups.values_mut().flatten() {
            *value = *value * *value / n_batches as f64;
        }
        sum = Some(match sum {
            None => scores,
            Some(mut sum) => {
                for (group, more) in &scores.groups {
                    let values = sum.groups.get_mut(group).into_iter().flatten();
                    values.zip(more).for_each(|(value, more)| *value += more);
                }
                sum
            }
        });
    }
    sum.ok_or(crate::error::PruneError::NeedsImages)
}
