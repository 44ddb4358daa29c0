//! Batch normalisation by the statistics of the batch, with SiLU behind it in the same pass.
//!
//! A task is one channel of all images: it stays in the cache between the passes, and no sum crosses tasks, so
//! results do not depend on the number of threads or on scheduling.
#![allow(unsafe_code, reason = "walks planes with vector loads and stores")]

#[cfg(test)]
mod tests;

use rayon::prelude::*;
use yolo_simd::{Kernel, Simd, Unit};

use super::activation::{silu, silu_gradient};
use super::buffer::{Output, Target};
use super::conv::Planes;

/// Independent sums per plane; more would not hide more latency.
const SUMS: usize = 4;

/// Mean and biased variance of every channel.
pub(crate) struct Statistics {
    pub(crate) mean: Vec<f32>,
    pub(crate) var: Vec<f32>,
}

/// The parameters, all `[C]`.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) epsilon: f64,
    /// Whether SiLU follows.
    pub(crate) silu: bool,
}

/// The gradients of a batch normalisation.
pub(crate) struct NormGradients {
    pub(crate) x: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

/// `z = γ · (x − mean) / √(var + ε) + β`, then SiLU if asked, with mean and biased variance over images and
/// pixels: `x` `[N, C, H, W]`, `channels` its `C`.
pub(crate) fn batch_norm_train(
    unit: Unit,
    x: Planes<'_>,
    [batch, channels]: [usize; 2],
    affine: Affine<'_>,
) -> (Vec<f32>, Statistics) {
    apply(unit, x, [batch, channels], affine, None)
}

/// As [`batch_norm_train`] with given mean and variance.
pub(crate) fn batch_norm_infer(
    unit: Unit,
    x: Planes<'_>,
    dims: [usize; 2],
    affine: Affine<'_>,
    statistics: &Statistics,
) -> Vec<f32> {
    apply(unit, x, dims, affine, Some(statistics)).0
}

fn apply(
    unit: Unit,
    x: Planes<'_>,
    [batch, channels]: [usize; 2],
    affine: Affine<'_>,
    given: Option<&Statistics>,
) -> (Vec<f32>, Statistics) {
    assert!(affine.gamma.len() == channels && affine.beta.len() == channels);
    let [height, width] = x.size();
    let len = batch * channels * height * width;
    let mut output = Output::new(len);
    let target = output.target();
    let channel = |channel: usize| {
        let fixed = given.map(|given| [given.mean[channel], given.var[channel]]);
        let planes = Channel { x, batch, channels, channel };
        unit.run(Forward { planes, affine, fixed, target })
    };
    let statistics: Vec<[f32; 2]> = (0..channels).into_par_iter().map(channel).collect();
    // SAFETY: the channels cover the output.
    let y = unsafe { output.finish(len) };
    let [mean, var] = [0, 1].map(|i| statistics.iter().map(|s| s[i]).collect());
    (y, Statistics { mean, var })
}

/// The gradients of [`batch_norm_train`] given `dy`. With `x̂ = (x − mean) / σ`, `M` the number of values of a
/// channel and `dz = dy · act′(z)`: `dβ = Σ dz`, `dγ = Σ dz · x̂`, `dx = γ / σ · (dz − dβ / M − x̂ · dγ / M)`.
pub(crate) fn batch_norm_backward(
    unit: Unit,
    x: Planes<'_>,
    dy: Planes<'_>,
    [batch, channels]: [usize; 2],
    affine: Affine<'_>,
    statistics: &Statistics,
) -> NormGradients {
    let [height, width] = x.size();
    let len = batch * channels * height * width;
    let mut output = Output::new(len);
    let target = output.target();
    let [gamma, beta] = backward(unit, x, Some(dy), [batch, channels], affine, statistics, target);
    // SAFETY: the channels cover the output.
    NormGradients { x: unsafe { output.finish(len) }, gamma, beta }
}

/// As [`batch_norm_backward`] where `dy` is dense and becomes the gradient of `x`, which spares the memory another
/// tensor. Returns the gradients of `γ` and `β`.
pub(crate) fn batch_norm_backward_in_place(
    unit: Unit,
    x: Planes<'_>,
    dy: &mut [f32],
    dims: [usize; 2],
    affine: Affine<'_>,
    statistics: &Statistics,
) -> [Vec<f32>; 2] {
    backward(unit, x, None, dims, affine, statistics, Target::over(dy))
}

/// Writes the gradient of `x` to `target`, where `dy` lies already if it is not given.
fn backward(
    unit: Unit,
    x: Planes<'_>,
    dy: Option<Planes<'_>>,
    [batch, channels]: [usize; 2],
    affine: Affine<'_>,
    statistics: &Statistics,
    target: Target<'_>,
) -> [Vec<f32>; 2] {
    assert!(dy.is_none_or(|dy| dy.size() == x.size()));
    let channel = |channel: usize| {
        let planes = Channel { x, batch, channels, channel };
        let statistics = [statistics.mean[channel], statistics.var[channel]];
        unit.run(Backward { planes, dy, affine, statistics, target })
    };
    let sums: Vec<[f32; 2]> = (0..channels).into_par_iter().map(channel).collect();
    [1, 0].map(|i| sums.iter().map(|s| s[i]).collect())
}

/// One channel of all images.
#[derive(Clone, Copy)]
struct Channel<'a> {
    x: Planes<'a>,
    batch: usize,
    channels: usize,
    channel: usize,
}

impl<'a> Channel<'a> {
    fn plane(&self, image: usize) -> &'a [f32] {
        self.x.channels(image, self.channel, 1)
    }

    /// Where the plane of `image` starts in a contiguous output.
    fn start(&self, image: usize, pixels: usize) -> usize {
        (image * self.channels + self.channel) * pixels
    }
}

struct Forward<'a> {
    planes: Channel<'a>,
    affine: Affine<'a>,
    /// Mean and variance, if they are not to be computed.
    fixed: Option<[f32; 2]>,
    target: Target<'a>,
}

impl Kernel for Forward<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 2] {
        let Self { planes, affine, fixed, target } = self;
        let [mean, var] = match fixed {
            Some(statistics) => statistics,
            None => moments(s, planes),
        };
        let channel = planes.channel;
        let scale = f64::from(affine.gamma[channel]) / (f64::from(var) + affine.epsilon).sqrt();
        let (scale, mean_v) = (s.splat(scale as f32), s.splat(mean));
        let shift = s.splat(affine.beta[channel]);
        for image in 0..planes.batch {
            let x = planes.plane(image);
            // SAFETY: no other task has this channel.
            let to = unsafe { target.at(planes.start(image, x.len()), x.len()) };
            for start in (0..x.len()).step_by(S::LANES) {
                let n = S::LANES.min(x.len() - start);
                // SAFETY: `n` numbers from `start` on lie inside both planes.
                unsafe {
                    let x = s.load_first(x.as_ptr().add(start), n);
                    let z = s.mul_add(s.sub(x, mean_v), scale, shift);
                    let y = if affine.silu { silu(s, z) } else { z };
                    s.store_first(to.add(start), y, n);
                }
            }
        }
        [mean, var]
    }
}

/// Mean and biased variance.
#[inline(always)]
fn moments<S: Simd>(s: S, planes: Channel<'_>) -> [f32; 2] {
    let (mut sum, mut count) = (0.0, 0);
    for image in 0..planes.batch {
        let x = planes.plane(image);
        sum += deviations::<S, false>(s, x, 0.0);
        count += x.len();
    }
    let mean = (sum / count as f64) as f32;
    let mut squares = 0.0;
    for image in 0..planes.batch {
        squares += deviations::<S, true>(s, planes.plane(image), mean);
    }
    [mean, (squares / count as f64) as f32]
}

/// The sum of the deviations from `mean`, or of their squares.
#[inline(always)]
fn deviations<S: Simd, const SQUARED: bool>(s: S, x: &[f32], mean: f32) -> f64 {
    let mean = s.splat(mean);
    let mut sums = [s.splat(0.0); SUMS];
    let step = SUMS * S::LANES;
    let whole = x.len() / step * step;
    for start in (0..whole).step_by(step) {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `whole` is at most the length.
            let d = s.sub(unsafe { s.load(x.as_ptr().add(start + i * S::LANES)) }, mean);
            *sum = if SQUARED { s.mul_add(d, d, *sum) } else { s.add(*sum, d) };
        }
    }
    let [a, b, c, d] = sums;
    let mut total = f64::from(s.sum(s.add(s.add(a, b), s.add(c, d))));
    let mean = s.sum(mean) / S::LANES as f32;
    for x in &x[whole..] {
        let d = f64::from(x - mean);
        total += if SQUARED { d * d } else { d };
    }
    total
}

struct Backward<'a> {
    planes: Channel<'a>,
    /// In `target` if not given.
    dy: Option<Planes<'a>>,
    affine: Affine<'a>,
    statistics: [f32; 2],
    target: Target<'a>,
}

impl Kernel for Backward<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; 2] {
        let Self { planes, dy, affine, statistics: [mean, var], target } = self;
        let channel = planes.channel;
        let inverse = 1.0 / (f64::from(var) + affine.epsilon).sqrt();
        let scale = (f64::from(affine.gamma[channel]) * inverse) as f32;
        let shift = affine.beta[channel];
        let (mean_v, scale_v) = (s.splat(mean), s.splat(scale));
        let (mut d_beta, mut d_centred, mut count) = (0.0, 0.0, 0);
        for image in 0..planes.batch {
            let x = planes.plane(image);
            // SAFETY: no other task has this channel.
            let to = unsafe { target.at(planes.start(image, x.len()), x.len()) };
            let dy = match dy {
                Some(dy) => dy.channels(image, channel, 1).as_ptr(),
                None => to.cast_const(),
            };
            // SAFETY: a plane of `dy` is as large as one of `x`, and so is the place at `to`.
            let sums = unsafe { first_pass(s, x, dy, to, [mean, scale, shift], affine.silu) };
            let [beta, centred] = sums;
            d_beta += beta;
            d_centred += centred;
            count += x.len();
        }
        let d_gamma = d_centred * inverse;
        // dx = scale · (dz − a − (x − mean) · b)
        let a = s.splat((d_beta / count as f64) as f32);
        let b = s.splat((-d_gamma * inverse / count as f64) as f32);
        for image in 0..planes.batch {
            let x = planes.plane(image);
            // SAFETY: as above, and the first pass wrote the plane.
            let to = unsafe { target.at(planes.start(image, x.len()), x.len()) };
            for start in (0..x.len()).step_by(S::LANES) {
                let n = S::LANES.min(x.len() - start);
                // SAFETY: `n` numbers from `start` on lie inside both planes.
                unsafe {
                    let x = s.load_first(x.as_ptr().add(start), n);
                    let dz = s.load_first(to.add(start), n);
                    let dx = s.mul_add(s.sub(x, mean_v), b, s.sub(dz, a));
                    s.store_first(to.add(start), s.mul(dx, scale_v), n);
                }
            }
        }
        [d_beta as f32, d_gamma as f32]
    }
}

/// Writes `dz` of a plane to `to` and returns `Σ dz` and `Σ dz · (x − mean)`.
///
/// # Safety
/// `dy` and `to` have as many numbers as `x`; they may be the same.
#[inline(always)]
unsafe fn first_pass<S: Simd>(
    s: S,
    x: &[f32],
    dy: *const f32,
    to: *mut f32,
    constants: [f32; 3],
    silu: bool,
) -> [f64; 2] {
    let [mean, scale, shift] = constants;
    let (mean, scale, shift) = (s.splat(mean), s.splat(scale), s.splat(shift));
    let mut sums = [[s.splat(0.0); 2]; 2];
    for (i, start) in (0..x.len()).step_by(S::LANES).enumerate() {
        let n = S::LANES.min(x.len() - start);
        // SAFETY: `n` numbers from `start` on lie inside all three planes. Lanes past `n` hold x = 0, dy = 0
        // and so add nothing.
        unsafe {
            let d = s.sub(s.load_first(x.as_ptr().add(start), n), mean);
            let dy = s.load_first(dy.add(start), n);
            let dz = if silu { silu_gradient(s, s.mul_add(d, scale, shift), dy) } else { dy };
            s.store_first(to.add(start), dz, n);
            let [beta, centred] = &mut sums[i % 2];
            *beta = s.add(*beta, dz);
            *centred = s.mul_add(dz, d, *centred);
        }
    }
    let [[b0, c0], [b1, c1]] = sums;
    let (beta, centred) = (s.sum(s.add(b0, b1)), s.sum(s.add(c0, c1)));
    [f64::from(beta), f64::from(centred)]
}
