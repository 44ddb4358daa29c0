//! Networks on back ends of any kind, and other programs, timed in turns.

mod agreement;
pub mod explain;
mod peer;

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Checkpoint, Predictions, RawMap};
use yolo_nn::{Yolo, host_values};
use yolo_report::timings::Timing;
use yolo_runtime::{Network, Options, Plan};

use crate::Result;
use agreement::compare;
use peer::{Peer, wrong};

pub use agreement::Agreement;

/// Rounds before the clock counts: caches fill, pages are mapped, clocks rise.
pub const WARM_UP: usize = 3;

/// One network on one back end, or another program, ready to be timed.
pub struct Contender {
    /// How the network is called in tables.
    pub name: String,
    /// What it runs on.
    pub backend: String,
    /// Images per run.
    pub batch: usize,
    /// 10⁹ operations per image, those with zeros included.
    pub gflops: f64,
    runner: Runner,
}

enum Runner {
    Compiled { plan: Plan, input: Vec<f32>, output: Vec<f32> },
    OnDevice { model: Arc<Yolo>, input: Vec<f32>, dims: [usize; 4], device: Device },
    Peer(Peer),
}

impl Contender {
    /// The network compiled for this processor, for `batch` images of `image` (height and width); its kernels are measured
    /// now.
    ///
    /// # Errors
    /// A network that does not fit images of this size.
    pub fn compiled(
        name: &str,
        network: &Checkpoint,
        batch: usize,
        image: [usize; 2],
        options: &Options,
    ) -> Result<Self> {
        let plan = plan(network, batch, image, options)?;
        let output = vec![0.0; plan.output_len()];
        let runner = Runner::Compiled { plan, input: noise(batch, image), output };
        Ok(Self::new(name, network, "runtime", batch, image, runner))
    }

    /// The network on a device of Burn, which tables call `backend`.
    ///
    /// # Errors
    /// A network that cannot be loaded there.
    pub fn on_device(
        name: &str,
        network: &Checkpoint,
        (backend, device): (&str, &Device),
        batch: usize,
        image: [usize; 2],
    ) -> Result<Self> {
        let model = Arc::new(Yolo::from_checkpoint(&*network.fuse()?, device)?);
        let dims = [batch, 3, image[0], image[1]];
        let runner = Runner::OnDevice { model, input: noise(batch, image), dims, device: device.clone() };
        Ok(Self::new(name, network, backend, batch, image, runner))
    }

    fn new(
        name: &str,
        network: &Checkpoint,
        backend: &str,
        batch: usize,
        [height, width]: [usize; 2],
        runner: Runner,
    ) -> Self {
        let per_640 = network.architecture.summary().gflops;
        let gflops = per_640 * (height * width) as f64 / (640.0 * 640.0);
        Self { name: name.to_owned(), backend: backend.to_owned(), batch, gflops, runner }
    }

    /// The plan, where there is one.
    fn plan(&self) -> Option<&Plan> {
        match &self.runner {
            Runner::Compiled { plan, .. } => Some(plan),
            Runner::OnDevice { .. } | Runner::Peer(_) => None,
        }
    }

    /// Another program that runs the same network; with the largest differences from ours if it gives away what it
    /// computes. `command` are words separated by spaces, or a JSON array of words.
    ///
    /// # Errors
    /// A program that cannot be started, does not answer, or computes another network.
    pub fn peer(
        command: &str,
        name: &str,
        network: &Checkpoint,
        batch: usize,
        image: [usize; 2],
    ) -> Result<(Self, Option<Agreement>)> {
        let mut peer = Peer::start(command)?;
        let agreement = if peer.is_comparable {
            let images = noise(batch, image);
            let (ours, shape) = rows(network, batch, image, &images)?;
            let theirs = peer.output(&images)?;
            Some(compare(&ours, shape, &theirs).map_err(|error| wrong(command, error))?)
        } else {
            None
        };
        let backend = peer.name.clone();
        Ok((Self::new(name, network, &backend, batch, image, Runner::Peer(peer)), agreement))
    }

    /// From the floats of a batch to decoded rows on the host; the milliseconds of it.
    ///
    /// # Errors
    /// A device or a program that fails.
    pub fn run(&mut self) -> Result<f64> {
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

/// Times all contenders in turns, so that a busy machine slows all of them alike; ratios are against the first. After every
/// run, `go_on` is told how many rounds are done, warm-up included; none if it says no.
///
/// # Errors
/// A run that fails.
pub fn take_turns(
    contenders: &mut [Contender],
    repetitions: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Vec<Timing>>> {
    let mut times = vec![Vec::with_capacity(repetitions); contenders.len()];
    let last = contenders.len().saturating_sub(1);
    for repetition in 0..WARM_UP + repetitions {
        for (index, (contender, times)) in contenders.iter_mut().zip(&mut times).enumerate() {
            let ms = contender.run()?;
            if repetition >= WARM_UP {
                times.push(ms / contender.batch as f64);
            }
            if !go_on(repetition + usize::from(index == last)) {
                return Ok(None);
            }
        }
    }
    let mut first = None;
    let timings = contenders.iter().zip(&mut times).map(|(contender, times)| {
        times.sort_by(f64::total_cmp);
        let quantile = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize];
        let median = quantile(0.5);
        Timing {
            weights: contender.name.clone(),
            backend: contender.backend.clone(),
            batch_size: contender.batch,
            ms_per_image: median,
            ms_fast: quantile(0.1),
            ms_slow: quantile(0.9),
            gflops_per_second: contender.gflops / median * 1e3,
            ratio: median / *first.get_or_insert(median),
        }
    });
    Ok(Some(timings.collect()))
}

/// The network compiled for this processor, from pixels to boxes.
fn plan(network: &Checkpoint, batch: usize, image: [usize; 2], options: &Options) -> Result<Plan> {
    let fused = network.fuse()?;
    Ok(Plan::new(Network::of(&fused, batch, image)?.decoded(&fused), options)?)
}

/// What the network computes here, with images, rows and numbers per row.
fn rows(
    network: &Checkpoint,
    batch: usize,
    image: [usize; 2],
    images: &[f32],
) -> Result<(Vec<f32>, [usize; 3])> {
    let plan = plan(network, batch, image, &Options::default())?;
    let mut output = vec![0.0; plan.output_len()];
    plan.run(images, &mut output)?;
    let width = 4 + network.architecture.num_classes();
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
