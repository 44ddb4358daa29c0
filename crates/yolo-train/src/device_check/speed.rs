//! How many images a second go through networks, forward and in training.

use std::time::{Duration, Instant};

use burn::tensor::{DType, Int, Tensor, TensorData};
use yolo_model::Checkpoint;
use yolo_nn::{HalfFormat, Yolo, host_values};

use super::{DeviceCheck, Row, stock_network, targets};
use crate::error::Result;
use crate::hyper::Hyperparameters;
use crate::loss::DetectionLoss;
use crate::optimizer::{Optimizer, PerParameter, Rule, clip};
use crate::schedule::Rates;

/// Runs before the clock counts: kernels are chosen and compiled.
const WARM_UP: usize = 5;
/// How long is measured, at least.
const SPAN: Duration = Duration::from_secs(4);
const RATES: Rates = Rates { bias_lr: 1e-6, lr: 1e-6, momentum: 0.9, accumulate: 1 };

/// How fast a network is at something.
type Measure = fn(&Checkpoint, &DeviceCheck, Load, Option<HalfFormat>) -> Result<f64>;

/// What is measured.
const TASKS: [(&str, Measure); 2] = [("inference", inference), ("training", training)];

/// On how much, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Images per batch.
    pub batch: usize,
    /// Their side in pixels.
    pub size: usize,
    warm_up: usize,
    span: Duration,
}

impl Load {
    /// What is measured, and the stock networks that it is measured with.
    pub fn usual(is_quick: bool) -> (Self, &'static [&'static str]) {
        match is_quick {
            true => (Self { batch: 2, size: 96, warm_up: 1, span: Duration::from_millis(500) }, &["yolov5n"]),
            false => (
                Self { batch: 32, size: 640, warm_up: WARM_UP, span: SPAN },
                &["yolov5n", "yolov5s", "yolov5x"],
            ),
        }
    }
}

/// How fast a network is.
#[derive(Clone, Debug, PartialEq)]
pub struct Speed {
    /// The network, such as `yolov5n`.
    pub model: String,
    /// `inference` or `training`.
    pub task: &'static str,
    /// What was measured.
    pub images_per_second: f64,
}

impl Speed {
    /// The figure as a row; `format` is what was computed in.
    pub fn row(&self, load: Load, format: Option<HalfFormat>) -> Row {
        let Self { model, task, images_per_second } = self;
        let format = format.map_or("f32".to_owned(), |format| format.to_string());
        let what = format!("{task} of {model}, batch {}, {} px, {format}", load.batch, load.size);
        Row::info(what, format!("{images_per_second:.1} images/s"))
    }
}

/// Inference in half and training in mixed precision, and a row for each that there was no time for.
pub(super) fn measure(check: &DeviceCheck) -> Result<(Vec<Speed>, Vec<Row>)> {
    let (load, names) = Load::usual(check.is_quick);
    let format = check.formats().next();
    let (mut speeds, mut rows) = (Vec::new(), Vec::new());
    for name in names {
        let checkpoint = stock_network(name)?;
        for (task, measure) in TASKS {
            if check.is_late() {
                rows.push(Row::late(format!("{task} of {name}")));
                continue;
            }
            let images_per_second = measure(&checkpoint, check, load, format)?;
            speeds.push(Speed { model: (*name).to_owned(), task, images_per_second });
        }
    }
    rows.extend(speeds.iter().map(|speed| speed.row(load, format)));
    Ok((speeds, rows))
}

/// Images per second from bytes on the host to logits on the host.
fn inference(
    checkpoint: &Checkpoint,
    check: &DeviceCheck,
    load: Load,
    format: Option<HalfFormat>,
) -> Result<f64> {
    let model = Yolo::from_checkpoint(&*checkpoint.fuse()?, check.device)?;
    let model = if let Some(format) = format { model.in_half(format) } else { model };
    images_per_second(load, || {
        for map in model.forward(uploaded(check, load, format)) {
            host_values(map)?;
        }
        Ok(())
    })
}

/// Images per second of whole steps: upload, forward, loss, backward, optimiser, and the weights back to the device.
fn training(
    checkpoint: &Checkpoint,
    check: &DeviceCheck,
    load: Load,
    format: Option<HalfFormat>,
) -> Result<f64> {
    let device = check.device.clone().autodiff();
    let head = checkpoint.architecture.head();
    let options = Hyperparameters::default().loss_options(head, load.size, 0.0, false);
    let loss = DetectionLoss::new(head, options);
    let targets = targets(load.batch, 80);
    let mut checkpoint = checkpoint.clone();
    let mut optimizer = Optimizer::new(Rule::Sgd, 5e-4);
    images_per_second(load, || {
        let model = Yolo::from_checkpoint(&checkpoint, &device)?;
        let model = if let Some(format) = format { model.in_mixed_precision(format) } else { model };
        let maps = model.forward(Tensor::from_inner(uploaded(check, load, None)));
        let total = loss.forward(&maps, &targets)?.total;
        let mut gradients: PerParameter = model.gradients(&total.backward())?.into_iter().collect();
        clip(&mut gradients);
        optimizer.step(&mut checkpoint.weights, &gradients, &RATES)?;
        Ok(())
    })
}

fn uploaded(check: &DeviceCheck, load: Load, format: Option<HalfFormat>) -> Tensor<4> {
    let shape = [load.batch, 3, load.size, load.size];
    let bytes: Vec<u8> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 251) as u8).collect();
    let bytes = Tensor::<4, Int>::from_data(TensorData::new(bytes, shape), (check.device, DType::U8));
    let format = format.map_or(burn::tensor::FloatDType::F32, HalfFormat::dtype);
    bytes.cast(format).div_scalar(255.0)
}

fn images_per_second(load: Load, mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    (0..load.warm_up).try_for_each(|_| run())?;
    let start = Instant::now();
    let mut runs = 0;
    while runs < 3 || start.elapsed() < load.span {
        run()?;
        runs += 1;
    }
    Ok((runs * load.batch) as f64 / start.elapsed().as_secs_f64())
}
