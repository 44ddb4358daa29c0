//! The update rules on numbers that were worked out by hand from their formulas.

use yolo_model::weights::{HostTensor, StateDict};
use yolo_train::optimizer::{Group, Optimizer, PerParameter, Rule, accumulate, clip};
use yolo_train::schedule::Rates;

const WEIGHT: &str = "model.0.conv.weight";
const SCALE: &str = "model.0.bn.weight";
const BIAS: &str = "model.0.bn.bias";

fn weights() -> StateDict {
    let mut weights = StateDict::new();
    weights.insert(WEIGHT, HostTensor::from_f32s([1, 1, 1, 1], vec![1.0]));
    weights.insert(SCALE, HostTensor::from_f32s([1], vec![1.0]));
    weights.insert(BIAS, HostTensor::from_f32s([1], vec![1.0]));
    weights
}

fn gradients(value: f32) -> PerParameter {
    [WEIGHT, SCALE, BIAS].map(|name| (name.to_owned(), vec![value])).into_iter().collect()
}

fn values(weights: &StateDict) -> [f64; 3] {
    [WEIGHT, SCALE, BIAS].map(|name| f64::from(weights.f32s(name).unwrap()[0]))
}

fn assert_close(got: [f64; 3], expected: [f64; 3]) {
    for (got, expected) in got.into_iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
    }
}

const RATES: Rates = Rates { bias_lr: 0.2, lr: 0.1, momentum: 0.9, accumulate: 1 };

#[test]
fn sgd_has_nesterov_momentum_without_dampening_and_decay_on_weights_only() {
    let (mut weights, mut optimizer) = (weights(), Optimizer::new(Rule::Sgd, 0.5));
    optimizer.step(&mut weights, &gradients(2.0), &RATES).unwrap();
    // Weight: g = 2 + 0.5·1 = 2.5, b = 2.5, p = 1 − 0.1·(2.5 + 0.9·2.5). Scale: g = b = 2. Bias: twice the rate.
    assert_close(values(&weights), [1.0 - 0.475, 1.0 - 0.38, 1.0 - 0.76]);
    optimizer.step(&mut weights, &gradients(-1.0), &RATES).unwrap();
    // Weight: g = −1 + 0.5·0.525, b = 0.9·2.5 + g. Scale: g = −1, b = 0.8.
    let g = -1.0 + 0.5 * 0.525;
    let b = 2.25 + g;
    assert_close(values(&weights), [0.525 - 0.1 * (g + 0.9 * b), 0.62 + 0.1 * 0.28, 0.24 + 0.2 * 0.28]);
}

#[test]
fn adamw_corrects_its_means_and_decays_apart_from_the_gradient() {
    let (mut weights, mut optimizer) = (weights(), Optimizer::new(Rule::AdamW, 0.5));
    optimizer.step(&mut weights, &gradients(2.0), &RATES).unwrap();
    // The first corrected step is the rate itself, whatever the gradient.
    assert_close(values(&weights), [1.0 * (1.0 - 0.1 * 0.5) - 0.1, 0.9, 0.8]);
    optimizer.step(&mut weights, &gradients(-1.0), &RATES).unwrap();
    let m = (0.9 * 0.2 - 0.1) / (1.0 - 0.81);
    let v = (0.999 * 0.004 + 0.001) / (1.0 - 0.999f64.powi(2));
    let step = m / (v.sqrt() + 1e-8);
    assert_close(values(&weights), [0.85 * 0.95 - 0.1 * step, 0.9 - 0.1 * step, 0.8 - 0.2 * step]);
}

#[test]
fn adam_has_the_decay_in_its_gradient() {
    let (mut weights, mut optimizer) = (weights(), Optimizer::new(Rule::Adam, 0.5));
    optimizer.step(&mut weights, &gradients(2.0), &RATES).unwrap();
    // The first corrected step is the rate itself, whatever the gradient.
    assert_close(values(&weights), [0.9, 0.9, 0.8]);
    optimizer.step(&mut weights, &gradients(-1.0), &RATES).unwrap();
    // Weight: g₁ = 2 + 0.5·1, g₂ = −1 + 0.5·0.9. The others have no decay.
    let step = |first: f64, second: f64| {
        let m = (0.9 * 0.1 * first + 0.1 * second) / (1.0 - 0.81);
        let v = 0.001 * (0.999 * first * first + second * second) / (1.0 - 0.999f64.powi(2));
        m / (v.sqrt() + 1e-8)
    };
    let plain = step(2.0, -1.0);
    assert_close(values(&weights), [0.9 - 0.1 * step(2.5, -0.55), 0.9 - 0.1 * plain, 0.8 - 0.2 * plain]);
}

#[test]
fn parameters_without_gradient_stay() {
    let (mut weights, mut optimizer) = (weights(), Optimizer::new(Rule::Sgd, 0.5));
    let mut gradients = gradients(1.0);
    gradients.shift_remove(WEIGHT);
    optimizer.step(&mut weights, &gradients, &RATES).unwrap();
    assert_eq!(values(&weights)[0], 1.0);
    gradients.insert(WEIGHT.to_owned(), vec![1.0, 2.0]);
    assert!(optimizer.step(&mut weights, &gradients, &RATES).is_err());
}

#[test]
fn groups_are_those_of_the_specification() {
    assert_eq!(Group::of(WEIGHT, 4), Group::Weight);
    assert_eq!(Group::of(SCALE, 1), Group::Norm);
    assert_eq!(Group::of(BIAS, 1), Group::Bias);
    assert_eq!(Group::of("model.24.m.0.bias", 1), Group::Bias);
}

#[test]
fn gradients_add_up_and_are_clipped_together() {
    let mut sum = PerParameter::new();
    accumulate(&mut sum, vec![("a".to_owned(), vec![3.0]), ("b".to_owned(), vec![0.0, 1.0])]);
    accumulate(&mut sum, vec![("a".to_owned(), vec![27.0]), ("b".to_owned(), vec![0.0, 39.0])]);
    assert_eq!(clip(&mut sum), 50.0);
    let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
    assert!(close(sum["a"][0], 6.0) && close(sum["b"][1], 8.0) && sum["b"][0] == 0.0);
    let before = sum.clone();
    assert!((clip(&mut sum) - 10.0).abs() < 1e-4);
    assert!(close(sum["a"][0], before["a"][0]));
}
