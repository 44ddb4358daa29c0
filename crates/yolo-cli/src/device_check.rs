//! Whether a device computes what the processor does, and how fast: the checks behind `device-check`.

mod epoch;
mod layers;
mod losses;
mod peer;
mod rows;
mod speed;
mod steps;
mod val;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::{Architecture, Checkpoint};
use yolo_nn::HalfFormat;

use crate::args::DeviceCheckArgs;
use crate::device::{self, DeviceName, catching, first_line};

pub(crate) use rows::{Outcome, Row, table};

/// What the checks compare and on what.
pub(crate) struct Subject<'a> {
    args: &'a DeviceCheckArgs,
    /// The device that is checked, and its name; the first of several.
    device: Device,
    name: String,
    /// The one that it is compared with.
    reference: Device,
    /// When nothing new begins any more.
    deadline: Instant,
}

/// A check: its name, and what it does.
type Check = (&'static str, fn(&Subject) -> Result<Vec<Row>>);

/// The checks, those that tell most first.
const CHECKS: [Check; 8] = [
    ("layers", layers::stock),
    ("odd widths", layers::odd_widths),
    ("loss", losses::compared),
    ("reference", losses::reference),
    ("training", steps::check),
    ("an epoch", epoch::check),
    ("figures", val::check),
    ("speed", speed::check),
];

/// Runs every check; one that fails or panics is a row of its own. `hear` is told the rows of each.
///
/// # Errors
/// A device that cannot be opened.
pub(crate) fn run(args: &DeviceCheckArgs, mut hear: impl FnMut(&Row)) -> Result<Vec<Row>> {
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    let name = DeviceName::parse(&args.device)?.first().to_string();
    let (device, reference) = (device::parse(&name)?, device::parse("flex")?);
    let subject = Subject { args, device, name, reference, deadline };
    let mut rows = Vec::new();
    for (name, check) in CHECKS {
        let found = if subject.is_late() {
            vec![Row::late(name)]
        } else {
            outcome(name, catching(|| check(&subject)).map_err(|panic| first_line(&panic.message)))
        };
        found.iter().for_each(&mut hear);
        rows.extend(found);
    }
    Ok(rows)
}

fn outcome(name: &str, outcome: std::result::Result<Result<Vec<Row>>, String>) -> Vec<Row> {
    match outcome {
        Ok(Ok(rows)) => rows,
        Ok(Err(error)) => vec![Row::failed(name, &first_line(&format!("{error:#}")))],
        Err(panic) => vec![Row::failed(name, &panic)],
    }
}

impl Subject<'_> {
    /// Whether nothing new is to begin.
    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Side of the images of comparisons, in pixels.
    fn image_size(&self) -> usize {
        if self.args.quick { 128 } else { 320 }
    }

    /// The formats of 16 bits that the device has, and that a network can be compared in.
    fn formats(&self) -> impl Iterator<Item = HalfFormat> {
        let has = |format: &HalfFormat| self.device.supports_dtype(format.dtype());
        [HalfFormat::Fp16, HalfFormat::Bf16].into_iter().filter(has)
    }

    /// Names of the stock networks that are compared.
    fn networks(&self) -> &'static [&'static str] {
        if self.args.quick { &["yolov5n"] } else { &["yolov5n", "yolov5s"] }
    }
}

/// A stock network with random weights, the same every time.
fn network(name: &str) -> Result<Checkpoint> {
    let architecture = Architecture::variant(name, Some(80)).with_context(|| name.to_owned())?;
    let mut checkpoint = Checkpoint::random(architecture, &mut StdRng::seed_from_u64(0))?;
    // With scales of 1 and statistics of no data, a random network lets the signal fade until nothing is compared.
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_head) {
        if let Some(scales) = checkpoint.weights.get_mut(&conv.bn("weight")) {
            scales.f32s_mut()?.fill(2.5);
        }
    }
    Ok(checkpoint)
}

/// Images `[n, 3, size, size]` of smooth noise, the same on every device.
fn pictures(n: usize, size: usize, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(picture_values(n, size), [n, 3, size, size]), device)
}

fn picture_values(n: usize, size: usize) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(1);
    let value =
        |i: usize| 0.5 + 0.4 * ((i % size) as f32 * 0.07).sin() * ((i / size % size) as f32 * 0.05).cos();
    (0..n * 3 * size * size).map(|i| (value(i) + 0.1 * rng.random::<f32>()).clamp(0.0, 1.0)).collect()
}

/// Ten objects for each of `n` images.
fn targets(n: usize, classes: usize) -> Vec<Target> {
    let place = |i: usize, step: f32| (i as f32 * step).fract() * 0.8 + 0.1;
    let target = |i: usize| Target {
        image: i / 10,
        class: (i * 7 % classes) as u32,
        bbox_norm: Cxcywh { cx: place(i, 0.37), cy: place(i, 0.61), w: place(i, 0.17) * 0.4, h: 0.2 },
    };
    (0..10 * n).map(target).collect()
}

/// `‖got − expected‖ / ‖expected‖`; infinite where a value is not a number.
fn relative_error(got: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = got.iter().zip(expected);
    let difference = square(&mut pairs.map(|(&g, &e)| f64::from(g) - f64::from(e)));
    let size = square(&mut expected.iter().map(|&e| f64::from(e)));
    let error = (difference / size.max(f64::MIN_POSITIVE)).sqrt();
    if error.is_finite() && got.len() == expected.len() { error } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_never_hidden() {
        assert_eq!(relative_error(&[3.0, 4.0], &[3.0, 4.0]), 0.0);
        assert!((relative_error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-9);
        assert_eq!(relative_error(&[f32::NAN], &[1.0]), f64::INFINITY);
        assert_eq!(relative_error(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }

    #[test]
    fn a_check_that_breaks_is_a_row() {
        let broken = outcome("loss", Err("no kernel image".to_owned()));
        assert_eq!(broken[0].outcome, Outcome::Failed);
        let broken = outcome("loss", Ok(Err(anyhow::anyhow!("one\ntwo"))));
        assert_eq!((broken[0].outcome, broken[0].measured.as_str()), (Outcome::Failed, "one"));
    }
}
