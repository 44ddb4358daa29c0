//! How long the convolutions of a network take in their places, at several sparsities.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Noise, strew};
use crate::choice::Family;
use crate::error::Result;
use crate::network::{Network, Op};
use crate::plan::{Options, Plan, Selection};

/// Runs of a plan, at least and at most, and the seconds that they should take.
const RUNS: [usize; 2] = [15, 60];
const SECONDS: f64 = 1.5;

/// Milliseconds of a network, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkTimes {
    /// Of all steps of a run at each sparsity, the same for all convolutions.
    pub whole: Vec<f64>,
    /// Of every convolution by its name, at each sparsity.
    pub convs: BTreeMap<String, Vec<f64>>,
}

/// Times the convolutions of a network with the share `sparsities[i]` of all weights at zero, strewn at random; the
/// weights that `network` has do not matter. Kernels are chosen anew for every sparsity, and times are those of steps in
/// runs of the whole network, so that caches are as they are in use. Convolutions that run as one share their time by
/// their channels. `progress` hears how many sparsities are done.
///
/// Whatever else the machine does makes a step slower, never faster, so of many runs its fastest counts; and where the
/// best kernel is one that computes with zeros as with other numbers, its time counts for every sparsity.
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
    let mut times = NetworkTimes { whole: Vec::new(), convs: BTreeMap::new() };
    // Fastest time of a convolution whose zeros did not matter.
    let mut dense: BTreeMap<String, f64> = BTreeMap::new();
    for (index, &sparsity) in sparsities.iter().enumerate() {
        let plan = Plan::new(with_zeros(network, sparsity), &options)?;
        let steps = fastest_steps(&plan)?;
        times.whole.push(steps.iter().map(|(_, ms)| ms).sum());
        for share in shares(network, &plan) {
            let step = steps.iter().find(|(name, _)| *name == share.step);
            let time = share.of_step * step.map_or(0.0, |(_, ms)| *ms);
            if share.is_dense {
                let fastest = dense.entry(share.conv.clone()).or_insert(f64::INFINITY);
                *fastest = fastest.min(time);
            }
            times.convs.entry(share.conv).or_default().push(time);
        }
        progress(index + 1);
    }
    for (conv, row) in &mut times.convs {
        let most = dense.get(conv).copied().unwrap_or(f64::INFINITY);
        for (time, whole) in row.iter_mut().zip(&mut times.whole) {
            *whole -= *time - time.min(most);
            *time = time.min(most);
        }
    }
    Ok(times)
}

/// Milliseconds of the fastest whole run of each plan on noise; the plans take turns.
///
/// # Errors
/// As for [`Plan::run`].
pub fn measure_plans(plans: &[&Plan]) -> Result<Vec<f64>> {
    let mut buffers: Vec<_> = plans.iter().map(|plan| buffers(plan)).collect();
    let mut fastest = vec![f64::INFINITY; plans.len()];
    let (start, mut runs) = (Instant::now(), 0);
    while more(runs, start) {
        for ((plan, (input, output)), fastest) in plans.iter().zip(&mut buffers).zip(&mut fastest) {
            let start = Instant::now();
            plan.run(input, output)?;
            *fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
        }
        runs += 1;
    }
    Ok(fastest)
}

/// The steps of a plan with the milliseconds of their fastest runs.
fn fastest_steps(plan: &Plan) -> Result<Vec<(String, f64)>> {
    let (input, mut output) = buffers(plan);
    let mut steps: Vec<(String, f64)> = Vec::new();
    let (start, mut runs) = (Instant::now(), 0);
    while more(runs, start) {
        let profile = plan.profile(&input, &mut output)?;
        if steps.is_empty() {
            steps = profile.iter().map(|(name, _)| (name.clone(), f64::INFINITY)).collect();
        }
        for ((_, fastest), (_, seconds)) in steps.iter_mut().zip(profile) {
            *fastest = fastest.min(seconds * 1e3);
        }
        runs += 1;
    }
    Ok(steps)
}

/// Whether another run is worth its time.
fn more(runs: usize, start: Instant) -> bool {
    runs < RUNS[0] || (runs < RUNS[1] && start.elapsed().as_secs_f64() < SECONDS)
}

fn buffers(plan: &Plan) -> (Vec<f32>, Vec<f32>) {
    let mut noise = Noise::new();
    ((0..plan.input_len()).map(|_| noise.next() as f32).collect(), vec![0.0; plan.output_len()])
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

/// A convolution's part of a step.
struct Share {
    conv: String,
    step: String,
    of_step: f64,
    /// Whether the step computes with zeros as with other numbers.
    is_dense: bool,
}

/// The step of every convolution: those that run as one have joined names.
fn shares(network: &Network, plan: &Plan) -> Vec<Share> {
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
        shares.extend(report.name.split('+').map(|name| Share {
            conv: name.to_owned(),
            step: report.name.clone(),
            of_step: of(name) as f64 / whole.max(1) as f64,
            is_dense: report.chosen.family == Family::Dense || report.chosen.is_winograd(),
        }));
    }
    shares
}
