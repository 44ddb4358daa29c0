//! One network on one back end, ready to be timed.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Predictions, RawMap};
use yolo_nn::{Yolo, host_values};
use yolo_runtime::{Network, Options, Plan};

use super::agreement::{Agreement, compare};
use super::peer::Peer;
use super::short_name;
use crate::args::BackendArg;
use crate::device;
use crate::resolve::Weights;

pub(super) struct Contender {
    pub(super) name: String,
    pub(super) backend: String,
    pub(super) batch: usize,
    /// 10⁹ operations per image, those with zeros included.
    pub(super) gflops: f64,
    runner: Runner,
}

enum Runner {
    Compiled { plan: Plan, input: Vec<f32>, output: Vec<f32> },
    OnDevice { model: Arc<Yolo>, input: Vec<f32>, dims: [usize; 4], device: Device },
    Peer(Peer),
}

impl Contender {
    /// The network compiled for this processor; its kernels are measured now.
    pub(super) fn compiled(
        weights: &Weights,
        batch: usize,
        image: [usize; 2],
        options: &Options,
    ) -> Result<Self> {
        let place = || weights.path.display().to_string();
        let checkpoint = weights.checkpoint.fuse().with_context(place)?;
        let network = Network::of(&checkpoint, batch, image).with_context(place)?.decoded(&checkpoint);
        let plan = Plan::new(network, options).with_context(place)?;
        let output = vec![0.0; plan.output_len()];
        let runner = Runner::Compiled { plan, input: noise(batch, image), output };
        Ok(Self::new(weights, "runtime", batch, image, runner))
    }

    /// The network on a device of Burn.
    pub(super) fn on_device(
        weights: &Weights,
        backend: BackendArg,
        batch: usize,
        image: [usize; 2],
    ) -> Result<Self> {
        let name = if backend == BackendArg::Tch { "tch" } else { "flex" };
        let device = device::parse(name)?;
        let place = || weights.path.display().to_string();
        let model = Yolo::from_checkpoint(&*weights.checkpoint.fuse().with_context(place)?, &device)?;
        let dims = [batch, 3, image[0], image[1]];
        let runner = Runner::OnDevice { model: Arc::new(model), input: noise(batch, image), dims, device };
        Ok(Self::new(weights, name, batch, image, runner))
    }

    fn new(
        weights: &Weights,
        backend: &str,
        batch: usize,
        [height, width]: [usize; 2],
        runner: Runner,
    ) -> Self {
        let per_640 = weights.checkpoint.architecture.summary().gflops;
        let gflops = per_640 * (height * width) as f64 / (640.0 * 640.0);
        Self { name: short_name(&weights.path), backend: backend.to_owned(), batch, gflops, runner }
    }

    /// The plan, where there is one.
    pub(super) fn plan(&self) -> Option<&Plan> {
        match &self.runner {
            Runner::Compiled { plan, .. } => Some(plan),
            Runner::OnDevice { .. } | Runner::Peer(_) => None,
        }
    }

    /// Another program that runs the network of `weights`; with the largest differences from ours if it gives away
    /// what it computes.
    pub(super) fn peer(
        command: &str,
        weights: &Weights,
        batch: usize,
        image: [usize; 2],
    ) -> Result<(Self, Option<Agreement>)> {
        let mut peer = Peer::start(command)?;
        let agreement = if peer.is_comparable {
            let images = noise(batch, image);
            let (ours, shape) = rows(weights, batch, image, &images)?;
            let theirs = peer.output(&images)?;
            Some(compare(&ours, shape, &theirs).with_context(|| format!("--peer {command}"))?)
        } else {
            None
        };
        let name = peer.name.clone();
        Ok((Self::new(weights, &name, batch, image, Runner::Peer(peer)), agreement))
    }

    /// From the floats of a batch to decoded rows on the host; the milliseconds of it.
    pub(super) fn run(&mut self) -> Result<f64> {
        let start = Instant::now();
        match &mut self.runner {
            Runner::Peer(peer) => return peer.run(),
            Runner::Compiled { plan, input, output } => plan.run(input, output)?,
            Runner::OnDevice { model, input, dims, device } => {
                let images = Tensor::<4>::from_data(TensorData::new(input.clone(), *dims), &*device);
                decode_all(model, model.forward(images))?;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }
}

/// What the network of `weights` computes here, with images, rows and numbers per row.
fn rows(
    weights: &Weights,
    batch: usize,
    image: [usize; 2],
    images: &[f32],
) -> Result<(Vec<f32>, [usize; 3])> {
    let place = || weights.path.display().to_string();
    let checkpoint = weights.checkpoint.fuse().with_context(place)?;
    let network = Network::of(&checkpoint, batch, image).with_context(place)?.decoded(&checkpoint);
    let plan = Plan::new(network, &Options::default()).with_context(place)?;
    let mut output = vec![0.0; plan.output_len()];
    plan.run(images, &mut output)?;
    let width = 4 + weights.checkpoint.architecture.num_classes();
    let shape = [batch, output.len() / (batch * width), width];
    Ok((output, shape))
}

/// Every row of every image.
fn decode_all(model: &Yolo, maps: Vec<Tensor<4>>) -> Result<Vec<Predictions>> {
    let read = |map: Tensor<4>| -> Result<([usize; 4], Vec<f32>)> { Ok((map.dims(), host_values(map)?)) };
    let maps = maps.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    let n = maps.first().map_or(0, |(dims, _)| dims[0]);
    let image = |image: usize| {
        let levels: Vec<RawMap> = maps.iter().map(|map| raw_map(map, image)).collect();
        // All rows are kept, as a compiled network returns them.
        model.architecture().head().decode(&levels, -1.0)
    };
    Ok((0..n).map(image).collect())
}

fn raw_map(([_, channels, height, width], logits): &([usize; 4], Vec<f32>), image: usize) -> RawMap<'_> {
    let length = channels * height * width;
    RawMap { logits: &logits[image * length..(image + 1) * length], height: *height, width: *width }
}

/// Pixels of `batch` images, the same every time.
fn noise(batch: usize, [height, width]: [usize; 2]) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(0);
    (0..batch * 3 * height * width).map(|_| rng.random::<f32>()).collect()
}
