//! How long the convolutions of a network take in their places, at several sparsities.

use std::collections::BTreeMap;
use std::time::Instant;

use super::strew;
use crate::error::Result;
use crate::network::{Network, Op};
use crate::noise::Noise;
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
/// their channels. `progress` is called with the number of sparsities done.
///
/// Whatever else the machine does makes a step slower, never faster, so of many runs its fastest counts. What is left of
/// the noise would still mislead a planner, which looks for the shortest times: the fastest run of a kernel that
/// computes with zeros as with other numbers counts for every sparsity, and times of kernels that skip zeros, which grow
/// with the number of weights, are replaced by the straight line through them.
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
    let mut whole = Vec::new();
    let mut rows: BTreeMap<String, Vec<Measured>> = BTreeMap::new();
    for (index, &sparsity) in sparsities.iter().enumerate() {
        let plan = Plan::new(with_zeros(network, sparsity), &options)?;
        let steps = fastest_steps(&plan)?;
        whole.push(steps.iter().map(|(_, ms)| ms).sum::<f64>());
        for share in shares(network, &plan) {
            let step = steps.iter().find(|(name, _)| *name == share.step);
            let ms = share.of_step * step.map_or(0.0, |(_, ms)| *ms);
            let measured = Measured { density: 1.0 - sparsity, ms, is_dense: share.is_dense };
            rows.entry(share.conv).or_default().push(measured);
        }
        progress(index + 1);
    }
    let mut convs = BTreeMap::new();
    for (conv, row) in rows {
        let smooth = smooth(&row);
        for ((whole, measured), smooth) in whole.iter_mut().zip(&row).zip(&smooth) {
            *whole += smooth - measured.ms;
        }
        convs.insert(conv, smooth);
    }
    Ok(NetworkTimes { whole, convs })
}

/// A convolution's time at one density.
#[derive(Clone, Copy)]
struct Measured {
    density: f64,
    ms: f64,
    /// Whether its kernel computes with zeros as with other numbers.
    is_dense: bool,
}

/// The times without what noise put on them.
fn smooth(row: &[Measured]) -> Vec<f64> {
    let dense = row.iter().filter(|m| m.is_dense).fold(f64::INFINITY, |least, m| least.min(m.ms));
    let sparse: Vec<(f64, f64)> = row.iter().filter(|m| !m.is_dense).map(|m| (m.density, m.ms)).collect();
    let [offset, slope] = line(&sparse);
    let time = |m: &Measured| if m.is_dense { dense } else { (offset + slope * m.density).clamp(0.0, dense) };
    row.iter().map(time).collect()
}

/// Offset and slope, which is not negative, of the line through points of which less than a quarter may be far off: the
/// median of the slopes between any two (Theil 1950, Sen 1968).
fn line(points: &[(f64, f64)]) -> [f64; 2] {
    let pairs = points.iter().enumerate().flat_map(|(i, a)| points[..i].iter().map(move |b| (a, b)));
    let slopes = pairs.map(|(a, b)| (a.1 - b.1) / (a.0 - b.0)).filter(|slope| slope.is_finite());
    let slope = median(slopes.collect()).max(0.0);
    [median(points.iter().map(|(x, y)| y - slope * x).collect()), slope]
}

/// The middle one; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
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
    ((0..plan.input_len()).map(|_| noise.unit() as f32).collect(), vec![0.0; plan.output_len()])
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
            is_dense: report.chosen.is_dense(),
        }));
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_measurement_moves_no_line() {
        let [offset, slope] = line(&[(0.1, 1.2), (0.2, 1.4), (0.3, 9.0), (0.4, 1.8), (0.5, 2.0)]);
        assert!((offset - 1.0).abs() < 1e-9 && (slope - 2.0).abs() < 1e-9, "{offset} {slope}");
        assert_eq!(line(&[(0.5, 3.0)]), [3.0, 0.0]);
        // Fewer weights are never slower.
        assert_eq!(line(&[(0.1, 3.0), (0.2, 2.0)])[1], 0.0);
    }

    #[test]
    fn dense_kernels_count_with_their_fastest_run_and_bound_the_others() {
        let row =
            [(1.0, 5.0, true), (0.9, 4.0, true), (0.5, 4.5, false), (0.3, 2.5, false), (0.1, 0.5, false)];
        let row = row.map(|(density, ms, is_dense)| Measured { density, ms, is_dense });
        let times = smooth(&row);
        let expected = [4.0, 4.0, 4.0, 2.5, 0.5];
        assert!(
            times.iter().zip(expected).all(|(time, expected)| (time - expected).abs() < 1e-9),
            "{times:?}"
        );
    }
}
