//! Overlapping batches give the results of batches one by one.

use burn::tensor::Device;
use yolo_detect::Detector;
use yolo_train::{Validation, ValidationOptions, validate, validate_watched};

use crate::example::{Example, SIZE, network};

/// The validation, the numbers of its batches as `watch` got them, and of images as `progress` did.
fn measured(example: &Example, threads: usize) -> (Validation, Vec<usize>, Vec<usize>) {
    // One thread leaves a batch to the device while the next is prepared; several share the images of one.
    let detector = Detector::on_device(&network().fuse().unwrap(), &Device::flex(), threads).unwrap();
    let options = ValidationOptions { batch_size: 2, ..ValidationOptions::new(SIZE) };
    let (mut batches, mut images) = (Vec::new(), Vec::new());
    let validation = validate_watched(
        &detector,
        &example.val,
        &options,
        |n| images.push(n),
        |seen| {
            assert_eq!(seen.detections.len(), seen.batch.samples.len());
            batches.push(seen.index);
        },
    );
    (validation.unwrap(), batches, images)
}

#[test]
fn batches_that_overlap_give_the_same_boxes_in_the_same_order() {
    let example = Example::new();
    let ((overlapped, batches, images), (in_turn, ..)) = (measured(&example, 1), measured(&example, 2));
    assert_eq!((batches, images), (vec![0, 1, 2], vec![2, 4, 6]));
    assert_eq!((overlapped.instances, overlapped.native.map), (in_turn.instances, in_turn.native.map));
    let boxes = |validation: &Validation| -> Vec<_> {
        validation.detections.iter().map(|image| (image.item_idx, image.detections.clone())).collect()
    };
    assert_eq!(boxes(&overlapped), boxes(&in_turn));
    assert!(boxes(&overlapped).iter().all(|(_, boxes)| !boxes.is_empty()));
    let speed = overlapped.speed;
    assert!(speed.preprocess > 0.0 && speed.inference > 0.0 && speed.nms > 0.0, "{speed:?}");
}

#[test]
fn an_error_ends_batches_that_overlap() {
    let example = Example::new();
    let mut broken = network();
    let bias = broken.weights.iter_mut().find(|(name, _)| name.ends_with("m.0.bias")).unwrap();
    bias.1.f32s_mut().unwrap().fill(f32::NAN);
    let detector = Detector::on_device(&broken.fuse().unwrap(), &Device::flex(), 1).unwrap();
    let options = ValidationOptions { batch_size: 1, ..ValidationOptions::new(SIZE) };
    let error = validate(&detector, &example.val, &options, |_| {}).unwrap_err();
    assert!(error.to_string().contains("finite"), "{error}");
}
