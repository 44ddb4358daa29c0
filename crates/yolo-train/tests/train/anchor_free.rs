//! The loss of heads without anchors, against the reference's on the logits of its train forward, and on cases made by hand.

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use yolo_data::train_loader::Target;
use yolo_eval::{Cxcywh, Xyxy};
use yolo_model::LossTerm;
use yolo_model::weights::{StateDict, read_safetensors};
use yolo_train::hyper::Hyperparameters;
use yolo_train::loss::anchor_free::overlap;
use yolo_train::loss::{
    AnchorFreeLoss, AnchorFreeShape, BranchWeights, DetectionLoss, Loss, LossOptions, LossTerms,
    TrainedBranches,
};

use crate::shared;

/// Relative difference of a loss and its parts.
const LOSS: f64 = 1e-5;
/// Relative difference of a gradient's norm.
const GRADIENT: f64 = 1e-4;
const STRIDES: [usize; 3] = [8, 16, 32];
/// Sides of the reference's images in pixels.
const SIZE: usize = 256;

struct Reference {
    json: Value,
    tensors: StateDict,
    targets: Vec<Target>,
}

fn reference(model: &str) -> Option<Reference> {
    let json = std::fs::read(shared(&format!("reference/ultralytics/loss-{model}.json"))?).unwrap();
    let file = shared(&format!("reference/ultralytics/loss-{model}.safetensors"))?;
    let (tensors, _) = read_safetensors(file).unwrap();
    let target = |row: &[f32]| Target {
        image: row[0] as usize,
        class: row[1] as u32,
        bbox_norm: Cxcywh { cx: row[2], cy: row[3], w: row[4], h: row[5] },
    };
    let targets = tensors.f32s("labels").unwrap().chunks_exact(6).map(target).collect();
    Some(Reference { json: serde_json::from_slice(&json).unwrap(), tensors, targets })
}

/// Gains of the reference: 7.5, 0.5 and 1.5.
fn options() -> LossOptions {
    let hyp = Hyperparameters::parse(
        include_str!("../../../../configs/hyps/ultralytics.yaml"),
        std::path::Path::new("ultralytics.yaml"),
    );
    hyp.unwrap().unscaled_loss_options()
}

fn loss_of(num_classes: usize, reg_max: usize, branches: TrainedBranches) -> AnchorFreeLoss {
    let shape = AnchorFreeShape { num_classes, reg_max, strides: STRIDES.to_vec(), branches };
    AnchorFreeLoss::new(shape, &options())
}

impl Reference {
    /// The maps of one set of branches, per level boxes and classes.
    fn maps(&self, set: &str, device: &Device) -> Vec<Tensor<4>> {
        let read = |what: &str| {
            let tensor = self.tensors.require(&format!("{set}_{what}")).unwrap();
            let [n, channels, cells] = tensor.shape.clone().try_into().unwrap();
            (tensor.f32s().unwrap().to_vec(), [n, channels, cells])
        };
        let parts = ["boxes", "scores"].map(read);
        let mut first = 0;
        let level = |stride: usize| {
            let side = SIZE / stride;
            let part = |(values, [n, channels, cells]): &(Vec<f32>, [usize; 3])| {
                let mut map = Vec::new();
                for row in values.chunks_exact(*cells) {
                    map.extend_from_slice(&row[first..first + side * side]);
                }
                Tensor::<4>::from_data(TensorData::new(map, [*n, *channels, side, side]), device)
            };
            let map = Tensor::cat(parts.iter().map(part).collect(), 1);
            first += side * side;
            map
        };
        STRIDES.into_iter().map(level).collect()
    }
}

fn assert_close(got: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() <= tolerance * expected.abs(), "{what}: {got} instead of {expected}");
}

fn assert_items(terms: &LossTerms, items: &Value, what: &str) {
    let third = if items.get("dfl_loss").is_some() { "dfl_loss" } else { "l1_loss" };
    let names = [(LossTerm::Box, "box_loss"), (LossTerm::Class, "cls_loss"), (LossTerm::Distribution, third)];
    for (term, name) in names {
        assert_close(terms.get(term).unwrap(), &items[name], LOSS, &format!("{what}, {name}"));
    }
}

/// `[image, cell, object of the image]`, as the reference lists them.
fn assert_positives(loss: &AnchorFreeLoss, maps: &[Tensor<4>], targets: &[Target], lists: &[&Value]) {
    let cells: usize = STRIDES.iter().map(|stride| (SIZE / stride).pow(2)).sum();
    for (set, list) in loss.positives(maps, targets).unwrap().iter().zip(lists) {
        let row = |positive: &yolo_train::loss::anchor_free::assigner::Positive| {
            let image = positive.cell / cells;
            let before = targets.iter().filter(|target| target.image < image).count();
            [image, positive.cell % cells, positive.object - before]
        };
        let expected: Vec<[usize; 3]> = serde_json::from_value(list["fg"].clone()).unwrap();
        assert_eq!(set.iter().map(row).collect::<Vec<_>>(), expected);
    }
}

/// The gradients of the last biases are the gradients of the maps, summed over images and cells.
fn assert_gradients(loss: &Loss, maps: &[Tensor<4>], names: &[&str], norms: &Value, boxes: usize) {
    let gradients = loss.total.backward();
    for (index, map) in maps.iter().enumerate() {
        let gradient = map.grad(&gradients).unwrap();
        let [n, channels, h, w] = gradient.dims();
        let sums = gradient.reshape([n, channels, h * w]).sum_dim(2).sum_dim(0).reshape([channels]);
        let sums = sums.into_data().try_into_vec_as::<f32>().unwrap();
        let norm = |part: &[f32]| part.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let (level, set) = (index % STRIDES.len(), names[index / STRIDES.len()]);
        for (branch, part) in [("cv2", &sums[..boxes]), ("cv3", &sums[boxes..])] {
            let name = format!("{set}{branch}.{level}.2.bias");
            assert_close(norm(part), &norms[&name], GRADIENT, &name);
        }
    }
}

#[test]
fn a_single_set_of_branches_equals_the_reference() {
    for (model, layer) in [("yolov5n", 24), ("yolov8n", 22), ("yolo11n", 23)] {
        let Some(reference) = reference(model) else { return };
        let maps = reference.maps("single", &Device::flex().autodiff());
        let maps: Vec<_> = maps.into_iter().map(Tensor::require_grad).collect();
        let anchor_free = loss_of(5, 16, TrainedBranches::OneToMany);
        let expected = &reference.json["epoch0"];
        assert_positives(&anchor_free, &maps, &reference.targets, &[&expected["assign_single"]]);
        let loss = DetectionLoss::from(anchor_free).forward(&maps, &reference.targets).unwrap();
        assert_items(&loss.terms, &expected["items"], model);
        assert_close(f64::from(loss.total.clone().into_scalar::<f32>()), &expected["total"], LOSS, model);
        assert!(loss.other_branch.is_none() && loss.is_finite());
        assert_gradients(&loss, &maps, &[&format!("model.{layer}.")], &expected["grad_norms"], 64);
    }
}

#[test]
fn two_sets_of_branches_equal_the_reference_at_both_weights() {
    let Some(reference) = reference("yolo26n") else { return };
    for (epoch, key) in [(0, "epoch0"), (5, "mid")] {
        let device = Device::flex().autodiff();
        let sets = ["one2many", "one2one"].map(|set| reference.maps(set, &device));
        let maps: Vec<_> = sets.concat().into_iter().map(Tensor::require_grad).collect();
        let anchor_free = loss_of(5, 1, TrainedBranches::Both);
        let expected = &reference.json[key];
        if key == "epoch0" {
            let lists = [&expected["assign_one2many"], &expected["assign_one2one"]];
            assert_positives(&anchor_free, &maps, &reference.targets, &lists);
        }
        let mut loss = DetectionLoss::from(anchor_free);
        loss.begin_epoch(epoch, 11);
        let loss = loss.forward(&maps, &reference.targets).unwrap();
        assert_items(&loss.terms, &expected["items"], key);
        assert_items(&loss.terms, &expected["one2one"]["items"], key);
        assert_items(loss.other_branch.as_ref().unwrap(), &expected["one2many"]["items"], key);
        assert_close(f64::from(loss.total.clone().into_scalar::<f32>()), &expected["total"], LOSS, key);
        let names = ["model.23.", "model.23.one2one_"];
        assert_gradients(&loss, &maps, &names, &expected["grad_norms"], 4);
    }
}

/// Maps of images of 64 × 32 pixels, with every logit at `value`.
fn maps(n: usize, channels: usize, value: f32) -> Vec<Tensor<4>> {
    let map =
        |stride: usize| Tensor::<4>::full([n, channels, 32 / stride, 64 / stride], value, &Device::flex());
    STRIDES.into_iter().map(map).collect()
}

fn term(loss: &Loss, term: LossTerm) -> f64 {
    loss.terms.get(term).unwrap()
}

#[test]
fn images_without_objects_have_a_class_term_against_zeros() {
    let loss = loss_of(3, 16, TrainedBranches::OneToMany).forward(&maps(2, 67, 0.5), &[]).unwrap();
    // 32 + 8 + 2 cells of 3 classes, two images.
    let expected = 0.5 * 2.0 * 42.0 * 3.0 * (1.0 + 0.5f64.exp()).ln();
    assert!((term(&loss, LossTerm::Class) / expected - 1.0).abs() < 1e-6);
    assert_eq!((term(&loss, LossTerm::Box), term(&loss, LossTerm::Distribution)), (0.0, 0.0));
    let total = f64::from(loss.total.into_scalar::<f32>());
    assert!((total / (2.0 * expected) - 1.0).abs() < 1e-6, "times the number of images");
}

/// Maps of a 64 × 32 image on which every cell predicts this box, left, top, right and bottom in pixels, a bin per distance.
fn maps_that_find(bbox_px: [f32; 4]) -> Vec<Tensor<4>> {
    let map = |stride: usize| {
        let (rows, columns) = (32 / stride, 64 / stride);
        let middle = |cell: usize| cell as f32 + 0.5;
        let value = |i: usize| {
            let (channel, x, y) = (i / rows / columns, middle(i % columns), middle(i / columns % rows));
            let side = |side: usize| bbox_px[side] / stride as f32;
            match channel {
                0 => x - side(0),
                1 => y - side(1),
                2 => side(2) - x,
                3 => side(3) - y,
                _ => 0.6,
            }
        };
        let values: Vec<f32> = (0..7 * rows * columns).map(value).collect();
        Tensor::from_data(TensorData::new(values, [1, 7, rows, columns]), &Device::flex())
    };
    STRIDES.into_iter().map(map).collect()
}

#[test]
fn a_tiny_object_is_predicted_by_the_cells_around_it() {
    let bbox_norm = Cxcywh { cx: 24.0 / 64.0, cy: 0.5, w: 2.0 / 64.0, h: 1.0 / 32.0 };
    let target = Target { image: 0, class: 2, bbox_norm };
    let maps = maps_that_find([23.0, 15.5, 25.0, 16.5]);
    let cells = |branches| -> Vec<usize> {
        let positives = loss_of(3, 1, branches).positives(&maps, &[target]).unwrap().remove(0);
        assert!(positives.iter().all(|positive| (positive.target - 1.0).abs() < 1e-4));
        positives.iter().map(|positive| positive.cell).collect()
    };
    // It is between the middles of cells; with sides of 16 pixels it has those that touch (24, 16).
    assert_eq!(cells(TrainedBranches::OneToMany), [10, 11, 18, 19], "columns 2 and 3 of rows 1 and 2");
    assert_eq!(cells(TrainedBranches::OneToOne).len(), 1);
    let loss = loss_of(3, 1, TrainedBranches::OneToMany).forward(&maps, &[target]).unwrap();
    assert!(term(&loss, LossTerm::Box) < 1e-4 && term(&loss, LossTerm::Distribution) < 1e-4);
    // All cells elsewhere should score 0, and one class of four cells 1.
    let softplus = (1.0 + 0.6f64.exp()).ln();
    let expected = 0.5 * (42.0 * 3.0 * softplus - 4.0 * 0.6) / 4.0;
    assert!((term(&loss, LossTerm::Class) / expected - 1.0).abs() < 1e-4);
}

#[test]
fn maps_and_classes_of_another_head_are_refused() {
    let loss = loss_of(3, 16, TrainedBranches::Both);
    assert!(loss.forward(&maps(1, 67, 0.0), &[]).unwrap_err().to_string().contains("2 times 3 levels of 67"));
    let loss = loss_of(3, 16, TrainedBranches::OneToOne);
    assert!(loss.forward(&maps(1, 66, 0.0), &[]).is_err());
    let target = Target { image: 0, class: 3, bbox_norm: Cxcywh { cx: 0.5, cy: 0.5, w: 0.5, h: 0.5 } };
    assert!(loss.forward(&maps(1, 67, 0.0), &[target]).unwrap_err().to_string().contains("class 3"));
}

#[test]
fn weights_of_branches_do_not_touch_a_single_set() {
    let target = Target { image: 0, class: 1, bbox_norm: Cxcywh { cx: 0.5, cy: 0.5, w: 0.5, h: 0.5 } };
    let mut loss = loss_of(3, 16, TrainedBranches::OneToOne);
    let before = loss.forward(&maps(1, 67, 0.1), &[target]).unwrap().total.into_scalar::<f32>();
    loss.set_weights(BranchWeights::at(9, 10));
    assert_eq!(loss.forward(&maps(1, 67, 0.1), &[target]).unwrap().total.into_scalar::<f32>(), before);
}

#[test]
fn both_forms_agree_and_equal_boxes_overlap_wholly() {
    let rows = [
        ([0.0, 0.0, 4.0, 2.0], [1.0, 0.5, 6.0, 3.0]),
        ([2.0, 3.0, 5.0, 9.0], [2.0, 3.0, 5.0, 9.0]),
        // Apart, and inside out.
        ([0.0, 0.0, 1.0, 1.0], [9.0, 8.0, 11.0, 9.0]),
        ([3.0, 3.0, 2.0, 5.0], [0.0, 1.0, 4.0, 6.0]),
    ];
    let device = Device::flex();
    let tensor =
        |boxes: Vec<[f32; 4]>| Tensor::<1>::from_floats(boxes.concat().as_slice(), &device).reshape([4, 4]);
    let (a, b): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let got = overlap::ciou_of_corner_rows(tensor(a.clone()), tensor(b.clone()));
    let got = got.into_data().try_into_vec_as::<f32>().unwrap();
    let corners = |[x1, y1, x2, y2]: [f32; 4]| Xyxy { x1, y1, x2, y2 };
    for ((a, b), got) in a.into_iter().zip(b).zip(&got) {
        let expected = overlap::ciou_of_corners(corners(a), corners(b));
        assert!((got - expected).abs() < 1e-6, "{got} {expected}");
    }
    assert!((got[1] - 1.0).abs() < 1e-6 && got[2] < 0.0, "{got:?}");
    // Intersection 3·1.5, union 8 + 12.5 − 4.5, distance of the centres (1.5, 0.75), enclosing box 6 × 3.
    let v = 4.0 / std::f64::consts::PI.powi(2) * (2.0f64.atan() - 2.0f64.atan()).powi(2);
    let expected = 4.5 / 16.0 - (1.5f64.powi(2) + 0.75f64.powi(2)) / 45.0 - v;
    assert!((f64::from(got[0]) - expected).abs() < 1e-6, "{} {expected}", got[0]);
}
