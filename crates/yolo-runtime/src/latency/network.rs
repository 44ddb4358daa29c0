//! How long the convolutions of a network take in their places, at several sparsities.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Noise, strew};
use crate::error::Result;
use crate::network::{Network, Op};
use crate::plan::{Options, Plan, Selection};

/// Runs before the clock counts.
const WARM_UP: usize = 3;
/// Runs of a plan, at least and at most, and the seconds that they should take.
const RUNS: [usize; 2] = [9, 41];
const SECONDS: f64 = 0.8;

/// Milliseconds of a network, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkTimes {
    /// Of a whole run at each sparsity, the same for all convolutions.
    pub whole: Vec<f64>,
    /// Of every convolution by its name, at each sparsity.
    pub convs: BTreeMap<String, Vec<f64>>,
}

/// Times the network and each of its convolutions with the share `sparsities[i]` of all weights at zero, strewn at
/// random; the weights that `network` has do not matter. Kernels are chosen anew for every sparsity, and runs are those
/// of the whole network, so that caches are as they are in use. Convolutions that run as one share their time by their
/// channels. `progress` hears how many sparsities are done.
///
/// Every run takes turns with one of the dense network, and its times count as multiples of that one's: what else the
/// machine does slows both alike. Medians of these multiples are turned into milliseconds by the dense network's time
/// when the machine was least busy.
///
/// Threads, vector unit and limits are those of `options`; its selection and choices are not used.
///
/// # Errors
/// As for [`Plan::new`].
pub fn measure_network(
    network: &Network,
    sparsities: &[f64],
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<NetworkTimes> {
    let options = Options { selection: Selection::Measure, choices: Default::default(), ..options.clone() };
    let dense = Plan::new(with_zeros(network, 0.0), &options)?;
    let mut fastest = f64::INFINITY;
    let mut times = NetworkTimes { whole: Vec::new(), convs: BTreeMap::new() };
    for (index, &sparsity) in sparsities.iter().enumerate() {
        let sparse = match sparsity {
            0.0 => None,
            _ => Some(Plan::new(with_zeros(network, sparsity), &options)?),
        };
        let plan = sparse.as_ref().unwrap_or(&dense);
        let turns = turns(&dense, plan)?;
        fastest = fastest.min(turns.dense);
        times.whole.push(turns.whole);
        for (name, share, step) in shares(network, plan) {
            let multiple = turns.steps.get(&step).copied().unwrap_or(0.0);
            times.convs.entry(name).or_default().push(multiple * share);
        }
        progress(index + 1);
    }
    times.whole.iter_mut().chain(times.convs.values_mut().flatten()).for_each(|time| *time *= fastest);
    Ok(times)
}

/// What came of runs that took turns.
struct Turns {
    /// Median milliseconds of the first plan.
    dense: f64,
    /// Runs of the second plan, in runs of the first.
    whole: f64,
    /// Its steps by name, in runs of the first plan.
    steps: BTreeMap<String, f64>,
}

fn turns(first: &Plan, second: &Plan) -> Result<Turns> {
    let (mut first_buffers, mut buffers) = (buffers(first), buffers(second));
    let (mut dense, mut whole) = (Vec::new(), Vec::new());
    let mut steps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let start = Instant::now();
    let mut runs = 0;
    while more(runs, start) {
        let reference = timed(|| first.run(&first_buffers.0, &mut first_buffers.1))?.1;
        let (profile, milliseconds) = timed(|| second.profile(&buffers.0, &mut buffers.1))?;
        runs += 1;
        if runs <= WARM_UP {
            continue;
        }
        dense.push(reference);
        whole.push(milliseconds / reference);
        for (name, seconds) in profile {
            steps.entry(name).or_default().push(seconds * 1e3 / reference);
        }
    }
    let steps = steps.into_iter().map(|(name, times)| (name, median(times))).collect();
    Ok(Turns { dense: median(dense), whole: median(whole), steps })
}

/// Median milliseconds of whole runs of each plan on noise; the plans take turns.
///
/// # Errors
/// As for [`Plan::run`].
pub fn measure_plans(plans: &[&Plan]) -> Result<Vec<f64>> {
    let mut buffers: Vec<_> = plans.iter().map(|plan| buffers(plan)).collect();
    let mut times = vec![Vec::new(); plans.len()];
    let start = Instant::now();
    while more(times.first().map_or(RUNS[1], Vec::len), start) {
        // In turns, so that a busy machine slows all of them alike.
        for ((plan, (input, output)), times) in plans.iter().zip(&mut buffers).zip(&mut times) {
            times.push(timed(|| plan.run(input, output))?.1);
        }
    }
    Ok(times.into_iter().map(|times| median(times.get(WARM_UP..).unwrap_or_default().to_vec())).collect())
}

/// What some work gives, and its milliseconds.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let start = Instant::now();
    let result = work()?;
    Ok((result, start.elapsed().as_secs_f64() * 1e3))
}

/// Whether another run is worth its time.
fn more(runs: usize, start: Instant) -> bool {
    runs < WARM_UP + RUNS[0] || (runs < WARM_UP + RUNS[1] && start.elapsed().as_secs_f64() < SECONDS)
}

fn buffers(plan: &Plan) -> (Vec<f32>, Vec<f32>) {
    let mut noise = Noise::new();
    ((0..plan.input_len()).map(|_| noise.next() as f32).collect(), vec![0.0; plan.output_len()])
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The network with other weights.
fn with_zeros(network: &Network, sparsity: f64) -> Network {
    let mut noise = Noise::new();
    let mut network = network.clone();
    for op in &mut network.ops {
        if let Op::Conv(conv) = op {
            let inputs = conv.weight.len() / conv.out_channels.max(1);
            strew(&mut conv.weight, inputs, sparsity, &mut noise);
        }
    }
    network
}

/// Every convolution by name, with its step and its share of it: convolutions that run as one have joined names.
fn shares(network: &Network, plan: &Plan) -> Vec<(String, f64, String)> {
    let mut channels: BTreeMap<&str, usize> = BTreeMap::new();
    for op in &network.ops {
        if let Op::Conv(conv) = op {
            channels.insert(&conv.name, conv.out_channels);
        }
    }
    let of = |name: &str| channels.get(name).copied().unwrap_or(0);
    let mut shares = Vec::new();
    for report in plan.convolutions() {
        let whole: usize = report.name.split('+').map(of).sum();
        let share = |name: &str| of(name) as f64 / whole.max(1) as f64;
        shares.extend(report.name.split('+').map(|name| (name.to_owned(), share(name), report.name.clone())));
    }
    shares
}
