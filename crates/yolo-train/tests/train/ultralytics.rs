//! Loss, gradients and steps of the family's trained networks on three images, against the reference.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::Checkpoint;
use yolo_model::weights::read_safetensors;
use yolo_nn::{NamedValues, Yolo};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::{DetectionLoss, Loss};

use crate::shared;

/// Relative difference of a loss and its parts.
const LOSS: f64 = 1e-4;
/// Relative difference after some steps.
const STEPS: f64 = 1e-3;
/// Difference of a gradient's norm: relative, or of the largest norm.
const GRADIENT: (f64, f64) = (2e-3, 2e-5);

struct Case {
    json: Value,
    pixels: TensorData,
    targets: Vec<Target>,
    checkpoint: Checkpoint,
}

fn case(model: &str) -> Option<Case> {
    let folder = "reference/ultralytics";
    let json = std::fs::read(shared(&format!("{folder}/loss-{model}.json"))?).unwrap();
    let (tensors, _) = read_safetensors(shared(&format!("{folder}/loss-{model}.safetensors"))?).unwrap();
    let checkpoint = Checkpoint::load(&shared(&format!("{folder}/{model}-demo.pt"))?).unwrap();
    let images = tensors.require("img_u8").unwrap();
    let pixels: Vec<f32> = images.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect();
    let target = |row: &[f32]| Target {
        image: row[0] as usize,
        class: row[1] as u32,
        bbox_norm: Cxcywh { cx: row[2], cy: row[3], w: row[4], h: row[5] },
    };
    Some(Case {
        json: serde_json::from_slice(&json).unwrap(),
        pixels: TensorData::new(pixels, images.shape.clone()),
        targets: tensors.f32s("labels").unwrap().chunks_exact(6).map(target).collect(),
        checkpoint,
    })
}

impl Case {
    /// Of the reference's eleven epochs.
    fn loss(&self, epoch: usize) -> (Yolo, Loss) {
        let device = Device::flex().autodiff();
        let model = Yolo::from_checkpoint(&self.checkpoint, &device).unwrap();
        let images = Tensor::<4>::from_data(self.pixels.clone(), &device);
        let head = self.checkpoint.architecture.head();
        let hyp = Hyperparameters::default().with_gains_of(head.family());
        let mut loss = DetectionLoss::new(head, hyp.loss_options(head, 256, 0.0, false));
        loss.begin_epoch(epoch, 11);
        let loss = loss.forward(&model.forward(images), &self.targets).unwrap();
        (model, loss)
    }

    fn assert_gradients(&self, gradients: &[NamedValues], norms: &Value, what: &str) {
        let norms = norms.as_object().unwrap();
        assert_eq!(gradients.len(), norms.len(), "{what}");
        let largest = norms.values().filter_map(Value::as_f64).fold(0.0, f64::max);
        for (name, gradient) in gradients {
            let got = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let expected = norms[name].as_f64().unwrap();
            let limit = (GRADIENT.0 * expected).max(GRADIENT.1 * largest);
            assert!((got - expected).abs() <= limit, "{what}, {name}: {got} instead of {expected}");
        }
    }
}

fn assert_total(loss: &Loss, expected: &Value, tolerance: f64, what: &str) {
    let got = f64::from(loss.total.clone().into_scalar::<f32>());
    // What is left after the last step has a name of its own.
    let expected = expected.get("total").unwrap_or(&expected["after_last_step_total"]).as_f64().unwrap();
    assert!((got / expected - 1.0).abs() <= tolerance, "{what}: {got} instead of {expected}");
}

#[test]
fn losses_gradients_and_steps_equal_the_reference() {
    let is_slow = std::env::var_os("YOLO_SLOW_TESTS").is_some();
    let models: &[&str] = if is_slow { &["yolov5n", "yolov8n", "yolo11n", "yolo26n"] } else { &["yolo26n"] };
    if !is_slow {
        eprintln!("skipped: yolov5n, yolov8n, yolo11n and steps; set YOLO_SLOW_TESTS to run them");
    }
    for model in models {
        let Some(mut case) = case(model) else { return };
        for (epoch, key) in [(0, "epoch0"), (5, "mid")] {
            let expected = &case.json[key];
            if expected.is_object() {
                let (network, loss) = case.loss(epoch);
                assert_total(&loss, expected, LOSS, &format!("{model}, {key}"));
                let gradients = network.gradients(&loss.total.backward()).unwrap();
                case.assert_gradients(&gradients, &expected["grad_norms"], &format!("{model}, {key}"));
            }
        }
        let steps = case.json["gd"]["steps"].as_array().unwrap().clone();
        for (step, expected) in steps.iter().enumerate().filter(|_| is_slow) {
            let (network, loss) = case.loss(0);
            assert_total(
                &loss,
                expected,
                if step == 0 { LOSS } else { STEPS },
                &format!("{model}, step {step}"),
            );
            for (name, gradient) in network.gradients(&loss.total.backward()).unwrap() {
                let values = case.checkpoint.weights.get_mut(&name).unwrap().f32s_mut().unwrap();
                values.iter_mut().zip(&gradient).for_each(|(value, gradient)| *value -= 1e-3 * gradient);
            }
        }
    }
}
