//! How many images a second go through networks, forward and in training.

use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::{DType, Int, Tensor, TensorData};
use yolo_model::Checkpoint;
use yolo_nn::{HalfFormat, Yolo, host_values};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::DetectionLoss;
use yolo_train::optimizer::{Optimizer, PerParameter, Rule, clip};
use yolo_train::schedule::Rates;

use super::peer::{self, Figure};
use super::{Row, Subject, network, targets};
use crate::device::DeviceName;

/// Runs before the clock counts: kernels are chosen and compiled.
const WARM_UP: usize = 5;
/// How long is measured, at least.
const SPAN: Duration = Duration::from_secs(4);
const RATES: Rates = Rates { bias_lr: 1e-6, lr: 1e-6, momentum: 0.9, accumulate: 1 };

/// How fast a network is at something.
type Measure = fn(&Checkpoint, &Subject, Load, Option<HalfFormat>) -> Result<f64>;

/// What is measured, by the names that the peer uses.
const TASKS: [(&str, Measure); 2] = [("inference", inference), ("training", training)];

/// On how much, and how long.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) batch: usize,
    pub(super) size: usize,
    warm_up: usize,
    span: Duration,
}

/// Inference in half and training in mixed precision for n, s and x, beside the peer's.
pub(super) fn check(subject: &Subject) -> Result<Vec<Row>> {
    let (names, load): (&[&str], Load) = if subject.args.quick {
        (&["yolov5n"], Load { batch: 2, size: 160, warm_up: 1, span: Duration::from_millis(500) })
    } else {
        (&["yolov5n", "yolov5s", "yolov5x"], Load { batch: 32, size: 640, warm_up: WARM_UP, span: SPAN })
    };
    let format = subject.formats().next();
    let mut rows = Vec::new();
    let mut ours = Vec::new();
    for name in names {
        let checkpoint = network(name)?;
        for (task, measure) in TASKS {
            if subject.is_late() {
                rows.push(Row::late(format!("{task} of {name}")));
                continue;
            }
            let images_per_second = measure(&checkpoint, subject, load, format)?;
            let (model, task) = ((*name).to_owned(), task.to_owned());
            ours.push(Figure { model, task, layout: String::new(), images_per_second });
        }
    }
    let format = format.map_or("f32".to_owned(), |format| format.to_string());
    rows.extend(ours.iter().map(|figure| {
        let Figure { model, task, images_per_second, .. } = figure;
        let what = format!("{task} of {model}, batch {}, {} px, {format}", load.batch, load.size);
        Row::info(what, format!("{images_per_second:.1} images/s"))
    }));
    let is_gpu = DeviceName::parse(&subject.args.device)?.is_gpu();
    match &subject.args.peer {
        Some(_) if subject.is_late() => rows.push(Row::late("the peer")),
        Some(command) => rows.extend(peer::beside(command, names, load, &ours, is_gpu)?),
        None => {}
    }
    Ok(rows)
}

/// Images per second from bytes on the host to logits on the host.
fn inference(
    checkpoint: &Checkpoint,
    subject: &Subject,
    load: Load,
    format: Option<HalfFormat>,
) -> Result<f64> {
    let model = Yolo::from_checkpoint(&*checkpoint.fuse()?, &subject.device)?;
    let model = if let Some(format) = format { model.in_half(format) } else { model };
    images_per_second(load, || {
        for map in model.forward(uploaded(subject, load, format)) {
            host_values(map)?;
        }
        Ok(())
    })
}

/// Images per second of whole steps: upload, forward, loss, backward, optimiser, and the weights back to the device.
fn training(
    checkpoint: &Checkpoint,
    subject: &Subject,
    load: Load,
    format: Option<HalfFormat>,
) -> Result<f64> {
    let device = subject.device.clone().autodiff();
    let detect = checkpoint.architecture.detect();
    let options = Hyperparameters::default().loss_options(detect, load.size, 0.0, false);
    let loss = DetectionLoss::new(detect, options);
    let targets = targets(load.batch, 80);
    let mut checkpoint = checkpoint.clone();
    let mut optimizer = Optimizer::new(Rule::Sgd, 5e-4);
    images_per_second(load, || {
        let model = Yolo::from_checkpoint(&checkpoint, &device)?;
        let model = if let Some(format) = format { model.in_mixed_precision(format) } else { model };
        let maps = model.forward(Tensor::from_inner(uploaded(subject, load, None)));
        let total = loss.forward(&maps, &targets)?.total;
        let mut gradients: PerParameter = model.gradients(&total.backward())?.into_iter().collect();
        clip(&mut gradients);
        optimizer.step(&mut checkpoint.weights, &gradients, &RATES)?;
        Ok(())
    })
}

fn uploaded(subject: &Subject, load: Load, format: Option<HalfFormat>) -> Tensor<4> {
    let shape = [load.batch, 3, load.size, load.size];
    let bytes: Vec<u8> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 251) as u8).collect();
    let bytes = Tensor::<4, Int>::from_data(TensorData::new(bytes, shape), (&subject.device, DType::U8));
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
