//! Times of several networks on the same machine: one image each in turns, so that whatever else the machine does slows all
//! of them alike, and no images are loaded meanwhile.

use std::time::Instant;

use yolo_detect::{Detector, Images, RunOptions};
use yolo_model::NmsOptions;
use yolo_report::results::Turns;

use crate::Result;

/// Runs that do not count: kernels and caches are made ready.
const WARM_UP: usize = 3;
/// Rounds, at least; and the seconds that all of them should take.
const LEAST_ROUNDS: usize = 15;
const SECONDS: f64 = 3.0;

/// Rounds, at most.
pub const MOST_ROUNDS: usize = 100;

/// Milliseconds of every detector for an image of `image_size` pixels square, from pixels to boxes before suppression.
/// `progress` is told the rounds that are done, of [`MOST_ROUNDS`] at most.
///
/// # Errors
/// An image size that does not fit a network, or a device that fails.
pub fn in_turns(
    detectors: &[Detector],
    image_size: usize,
    mut progress: impl FnMut(usize),
) -> Result<Vec<Turns>> {
    let size = [image_size; 2];
    // Grey noise from a short formula: something that no kernel can make use of.
    let pixels: Vec<u8> =
        (0..3 * image_size * image_size).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut times = vec![Vec::new(); detectors.len()];
    for detector in detectors {
        detector.prepare(size, false)?;
        for _ in 0..WARM_UP {
            run(detector, &pixels, size)?;
        }
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < LEAST_ROUNDS || (rounds < MOST_ROUNDS && start.elapsed().as_secs_f64() < SECONDS) {
        for (detector, times) in detectors.iter().zip(&mut times) {
            times.push(run(detector, &pixels, size)?);
        }
        rounds += 1;
        progress(rounds);
    }
    Ok(times.into_iter().map(Turns::of).collect())
}

/// Milliseconds of one run.
fn run(detector: &Detector, pixels: &[u8], size: [usize; 2]) -> Result<f64> {
    let batch = detector.upload(Images::new(pixels, size)?)?;
    batch.wait()?;
    let score_threshold = NmsOptions::detection().score_threshold;
    let start = Instant::now();
    batch.run(RunOptions { score_threshold, augment: false, keep_logits: false })?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
