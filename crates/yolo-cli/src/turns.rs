//! Times of several networks on the same machine: one image each in turns, so that whatever else the machine does slows all
//! of them alike, and no images are loaded meanwhile.

use std::time::Instant;

use anyhow::Result;
use yolo_detect::{Detector, Images, RunOptions};
use yolo_device::Backend;
use yolo_model::{FusedCheckpoint, NmsOptions};
use yolo_report::results::Turns;

use crate::console::progress_bar;

/// Runs that do not count: kernels and caches are made ready.
const WARM_UP: usize = 3;
/// Rounds, at least and at most, and the seconds that they should take.
const ROUNDS: [usize; 2] = [15, 100];
const SECONDS: f64 = 3.0;

/// Milliseconds of every network for an image of `image_size` pixels square, from pixels to boxes before suppression.
pub(crate) fn in_turns<'a>(
    backend: &Backend,
    networks: impl IntoIterator<Item = FusedCheckpoint<'a>>,
    image_size: usize,
) -> Result<Vec<Turns>> {
    let detectors =
        networks.into_iter().map(|network| backend.detector(network)).collect::<Result<Vec<_>, _>>()?;
    let size = [image_size; 2];
    // Grey noise from a short formula: something that no kernel can make use of.
    let pixels: Vec<u8> =
        (0..3 * image_size * image_size).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut times = vec![Vec::new(); detectors.len()];
    let bar = progress_bar("Timing", ROUNDS[1] as u64);
    for detector in &detectors {
        detector.prepare(size, false)?;
        for _ in 0..WARM_UP {
            run(detector, &pixels, size)?;
        }
    }
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < ROUNDS[0] || (rounds < ROUNDS[1] && start.elapsed().as_secs_f64() < SECONDS) {
        for (detector, times) in detectors.iter().zip(&mut times) {
            times.push(run(detector, &pixels, size)?);
        }
        rounds += 1;
        bar.set_position(rounds as u64);
    }
    bar.finish_and_clear();
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
