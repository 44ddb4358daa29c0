//! Target assignment and loss on the golden vectors of the specification (B9), and term by term.

use burn::tensor::{Device, Tensor, TensorData};
use yolo_data::train_loader::Target;
use yolo_eval::Cxcywh;
use yolo_eval::boxes;
use yolo_model::modules::DetectSpec;
use yolo_model::{Architecture, Head, LossTerm};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::{BceOptions, DetectionLoss, Loss, LossOptions, assign, bce_with_logits, ciou};

fn term(loss: &Loss, term: LossTerm) -> f64 {
    loss.terms.get(term).unwrap()
}

fn detect_of(num_classes: usize) -> DetectSpec {
    let architecture = Architecture::variant("yolov5n", Some(num_classes)).unwrap();
    let Head::AnchorBased(detect) = architecture.head() else { panic!("another head") };
    detect.clone()
}

fn detect() -> DetectSpec {
    detect_of(80)
}

fn targets() -> Vec<Target> {
    let target = |image, class, cx, cy, w, h| Target { image, class, bbox_norm: Cxcywh { cx, cy, w, h } };
    vec![
        target(0, 5, 0.5, 0.5, 0.3, 0.4),
        target(0, 17, 0.26, 0.74, 0.9, 0.8),
        target(1, 0, 0.1, 0.9, 0.15, 0.1),
    ]
}

/// Gains as they stand in the file, not scaled.
fn options() -> LossOptions {
    let hyp = Hyperparameters::default();
    LossOptions {
        box_gain: hyp.box_gain,
        objectness_gain: hyp.obj,
        class_gain: hyp.cls,
        ..hyp.loss_options(Head::AnchorBased(&detect()), 640, 0.0, false)
    }
}

/// Logits per level of a 64×64 input for two images: `value(k)` at index `k` of `[2, 3, ny, nx, 85]`.
fn maps(value: impl Fn(usize) -> f32) -> Vec<Tensor<4>> {
    let map = |side: usize| {
        let mut map = vec![0.0; 2 * 255 * side * side];
        for k in 0..map.len() {
            let (output, column, row) = (k % 85, k / 85 % side, k / 85 / side % side);
            let anchor_of_image = k / 85 / side / side;
            map[((anchor_of_image * 85 + output) * side + row) * side + column] = value(k);
        }
        Tensor::from_data(TensorData::new(map, [2, 255, side, side]), &Device::flex())
    };
    [8, 4, 2].map(map).to_vec()
}

fn assert_close(got: f64, expected: f64) {
    assert!((got - expected).abs() <= 2e-6 * expected.abs(), "{got} instead of {expected}");
}

#[test]
fn assignment_equals_the_golden_vectors() {
    let level = |level, side| assign(&targets(), &detect(), level, [side, side], 4.0);
    assert_eq!([level(0, 8).len(), level(1, 4).len(), level(2, 2).len()], [27, 19, 6]);
    let classes = level(0, 8).class;
    let (centre, neighbours) = classes.split_at(7);
    assert_eq!(centre, [5, 0, 5, 17, 5, 17, 0]);
    let expected = [5, 5, 17, 5, 17, 5, 0, 5, 5, 0, 5, 0, 5, 5, 0, 5, 5, 17, 5, 17];
    assert_eq!(neighbours, expected);
    let none = assign(&[], &detect(), 0, [8, 8], 4.0);
    assert!(none.is_empty());
}

#[test]
fn matches_are_cells_of_the_grid_that_hold_their_object() {
    let target = Target { image: 0, class: 1, bbox_norm: Cxcywh { cx: 1.0, cy: 0.0, w: 0.2, h: 0.2 } };
    let matches = assign(&[target], &detect(), 0, [8, 8], 4.0);
    assert!(!matches.is_empty());
    for ([row, column], bbox) in matches.cell.iter().zip(&matches.bbox) {
        assert!(*row < 8 && *column < 8);
        assert_eq!(bbox[0] + *column as f32, 8.0, "the box is where the object is");
    }
}

#[test]
fn the_loss_equals_the_golden_vectors() {
    let loss = DetectionLoss::new(Head::AnchorBased(&detect()), options());
    let zero = loss.forward(&maps(|_| 0.0), &targets()).unwrap();
    assert_close(term(&zero, LossTerm::Box), 0.113_307_30);
    assert_close(term(&zero, LossTerm::Objectness), 3.742_994_55);
    assert_close(term(&zero, LossTerm::Class), 1.039_721_01);
    assert_close(zero.total.into_scalar::<f32>().into(), 9.792_045_59);
    let wave = loss.forward(&maps(|k| (0.37f32 * k as f32).sin()), &targets()).unwrap();
    assert_close(term(&wave, LossTerm::Box), 0.129_903_60);
    assert_close(term(&wave, LossTerm::Objectness), 4.332_005_98);
    assert_close(term(&wave, LossTerm::Class), 1.102_148_53);
    assert_close(wave.total.into_scalar::<f32>().into(), 11.128_116_61);
}

#[test]
fn images_without_objects_only_have_objectness() {
    let loss = DetectionLoss::new(Head::AnchorBased(&detect()), options());
    let empty = loss.forward(&maps(|_| 0.0), &[]).unwrap();
    assert_eq!((term(&empty, LossTerm::Box), term(&empty, LossTerm::Class)), (0.0, 0.0));
    assert_close(term(&empty, LossTerm::Objectness), 5.4 * std::f64::consts::LN_2);
}

#[test]
fn one_class_has_no_class_term() {
    let detect = detect_of(1);
    let loss = DetectionLoss::new(Head::AnchorBased(&detect), options());
    let map = |side| Tensor::<4>::zeros([1, 18, side, side], &Device::flex());
    let target = Target { image: 0, class: 0, ..targets()[0] };
    let loss = loss.forward(&[map(8), map(4), map(2)], &[target]).unwrap();
    assert!(term(&loss, LossTerm::Class) == 0.0 && term(&loss, LossTerm::Box) > 0.0);
}

#[test]
fn ciou_equals_the_scalar_one_and_is_differentiable() {
    let device = Device::flex().autodiff();
    let a = [[0.5, 0.5, 1.0, 2.0], [3.0, 1.0, 0.7, 0.2], [0.1, -0.3, 2.0, 2.5]];
    let b = [[0.6, 0.4, 1.5, 1.5], [9.0, 1.0, 0.7, 0.9], [0.1, -0.3, 2.0, 2.5]];
    let tensor = |boxes: [[f32; 4]; 3]| Tensor::<2>::from_floats(boxes, &device);
    let predicted = tensor(a).require_grad();
    let overlaps = ciou(predicted.clone(), tensor(b));
    let got = overlaps.clone().into_data().try_into_vec_as::<f32>().unwrap();
    let centred = |[cx, cy, w, h]: [f32; 4]| Cxcywh { cx, cy, w, h };
    for ((a, b), got) in a.into_iter().zip(b).zip(&got) {
        let expected = boxes::ciou(centred(a), centred(b));
        assert!((f64::from(*got) - f64::from(expected)).abs() < 1e-5, "{got} {expected}");
    }
    let gradients = overlaps.sum().backward();
    let gradient = predicted.grad(&gradients).unwrap().into_data().try_into_vec_as::<f32>().unwrap();
    // Moving the first box to the right, towards the second, raises the overlap; equal boxes are at the top.
    assert!(gradient[0] > 0.0 && gradient[4] > 0.0);
    assert!(gradient.iter().all(|g| g.is_finite()));
}

#[test]
fn cross_entropy_options_follow_their_formulas() {
    let device = Device::flex();
    let logits = [-30.0f32, -1.0, 0.0, 0.5, 2.0, 40.0];
    let wanted = [0.0f32, 1.0, 0.25, 0.9, 0.0, 1.0];
    for (positive_weight, focal_gamma) in [(1.0, 0.0), (0.6, 0.0), (1.0, 1.5), (1.3, 2.0)] {
        let expected: f64 = logits
            .iter()
            .zip(wanted)
            .map(|(&x, t)| {
                let (x, t) = (f64::from(x), f64::from(t));
                let p = 1.0 / (1.0 + (-x).exp());
                let log_p = -(-x).exp().ln_1p();
                let log_not_p = -x.exp().ln_1p();
                let loss = -positive_weight * t * log_p - (1.0 - t) * log_not_p;
                let p_t = t * p + (1.0 - t) * (1.0 - p);
                match focal_gamma {
                    0.0 => loss,
                    gamma => loss * (t * 0.25 + (1.0 - t) * 0.75) * (1.0 - p_t).powf(gamma),
                }
            })
            .sum::<f64>()
            / 6.0;
        let options = BceOptions { positive_weight, focal_gamma };
        let got = bce_with_logits(
            Tensor::<1>::from_floats(logits, &device),
            Tensor::<1>::from_floats(wanted, &device),
            options,
        );
        assert!((f64::from(got.into_scalar::<f32>()) - expected).abs() < 1e-5 * expected, "{options:?}");
    }
}

#[test]
fn smoothing_and_balance_change_what_they_should() {
    let plain = DetectionLoss::new(Head::AnchorBased(&detect()), options())
        .forward(&maps(|_| 1.0), &targets())
        .unwrap();
    let smooth = LossOptions { label_smoothing: 0.2, ..options() };
    let smooth =
        DetectionLoss::new(Head::AnchorBased(&detect()), smooth).forward(&maps(|_| 1.0), &targets()).unwrap();
    // All logits are 1 and one of 80 classes is right: the mean changes by (79·ε/2·(−1) + ε/2)/80 per level.
    let change = 0.5 * 3.0 * (79.0 * -0.1 + 0.1) / 80.0;
    assert!((term(&smooth, LossTerm::Class) - term(&plain, LossTerm::Class) - change).abs() < 1e-5);
    assert_eq!(term(&smooth, LossTerm::Box), term(&plain, LossTerm::Box));

    let mut balanced =
        DetectionLoss::new(Head::AnchorBased(&detect()), LossOptions { auto_balance: true, ..options() });
    balanced.rebalance(&[0.5, 0.25, 0.125]);
    let raw = [4.0 * 0.9999 + 0.0002, 0.9999 + 0.0004, 0.4 * 0.9999 + 0.0008];
    for (got, raw_value) in balanced.balance().iter().zip(raw) {
        assert_close(*got, raw_value / raw[1]);
    }
    let mut fixed = DetectionLoss::new(Head::AnchorBased(&detect()), options());
    fixed.rebalance(&[0.5, 0.25, 0.125]);
    assert_eq!(fixed.balance(), [4.0, 1.0, 0.4]);
}
