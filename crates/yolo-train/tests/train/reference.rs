//! Loss, gradients and steps of YOLOv5n on four images, against the reference.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_model::Checkpoint;
use yolo_model::weights::{StateDict, read_safetensors};
use yolo_nn::{NamedValues, Yolo};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::{DetectionLoss, Loss};

use crate::shared;

/// Relative difference of a loss and its parts.
const LOSS: f64 = 1e-4;
/// Relative difference after some steps.
const STEPS: f64 = 1e-3;
/// Difference of a gradient's norm: relative, or absolute.
const GRADIENT: (f64, f64) = (2e-3, 1e-6);

struct Reference {
    json: serde_json::Value,
    pixels: Vec<f32>,
    shape: [usize; 4],
    targets: Vec<Target>,
    checkpoint: Checkpoint,
}

fn reference() -> Option<Reference> {
    let json = std::fs::read(shared("reference/yolov5n/loss.json")?).unwrap();
    let (tensors, _) = read_safetensors(shared("reference/yolov5n/loss_batch.safetensors")?).unwrap();
    let checkpoint = Checkpoint::load(&shared("weights/yolov5n.pt")?).unwrap();
    let images = tensors.require("images_u8").unwrap();
    let targets = tensors.f32s("targets").unwrap().chunks(6).map(|row| Target {
        image: row[0] as usize,
        class: row[1] as u32,
        bbox_norm: Cxcywh { cx: row[2], cy: row[3], w: row[4], h: row[5] },
    });
    Some(Reference {
        json: serde_json::from_slice(&json).unwrap(),
        pixels: images.i64s().unwrap().iter().map(|&pixel| pixel as f32 / 255.0).collect(),
        shape: images.shape.clone().try_into().unwrap(),
        targets: targets.collect(),
        checkpoint,
    })
}

impl Reference {
    fn loss(&self, checkpoint: &Checkpoint, device: &Device) -> (Yolo, Loss) {
        let model = Yolo::from_checkpoint(checkpoint, device).unwrap();
        let images = Tensor::<4>::from_data(TensorData::new(self.pixels.clone(), self.shape), device);
        let head = model.architecture().head();
        let options = Hyperparameters::default().loss_options(head, 640, 0.0, false);
        let loss = DetectionLoss::new(head, options).forward(&model.forward(images), &self.targets).unwrap();
        (model, loss)
    }
}

fn assert_loss(loss: &Loss, expected: &serde_json::Value, tolerance: f64, what: &str) {
    let total = f64::from(loss.total.clone().into_scalar::<f32>());
    let terms = loss.terms.iter().map(|(term, value)| (term.short_name(), value));
    let got = std::iter::once(("loss", total)).chain(terms);
    for (key, got) in got {
        let expected = expected[key].as_f64().unwrap();
        assert!((got - expected).abs() <= tolerance * expected, "{what}, {key}: {got} instead of {expected}");
    }
}

fn descend(weights: &mut StateDict, gradients: &[NamedValues]) {
    for (name, gradient) in gradients {
        let values = weights.get_mut(name).unwrap().f32s_mut().unwrap();
        values.iter_mut().zip(gradient).for_each(|(value, gradient)| *value -= 1e-4 * gradient);
    }
}

#[test]
fn loss_gradients_and_steps_equal_the_reference() {
    let Some(mut reference) = reference() else { return };
    let device = Device::flex();
    let (_, eval) = reference.loss(&reference.checkpoint, &device);
    assert_loss(&eval, &reference.json["eval_mode"], LOSS, "eval mode");

    let steps = reference.json["steps"].as_array().unwrap().clone();
    for (step, expected) in steps.iter().enumerate() {
        let (model, loss) = reference.loss(&reference.checkpoint, &device.clone().autodiff());
        let tolerance = if step == 0 { LOSS } else { STEPS };
        assert_loss(&loss, expected, tolerance, &format!("step {step}"));
        let gradients = model.gradients(&loss.total.backward()).unwrap();
        if let Some(norms) = expected["grad_norms"].as_object() {
            assert_eq!(gradients.len(), norms.len());
            for (name, gradient) in &gradients {
                let got = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
                let expected = norms[name].as_f64().unwrap();
                let limit = (GRADIENT.0 * expected).max(GRADIENT.1);
                assert!((got - expected).abs() <= limit, "{name}: {got} instead of {expected}");
            }
        }
        descend(&mut reference.checkpoint.weights, &gradients);
    }
}
