//! Sizes, rows and pixels of the three passes.
#![allow(clippy::unwrap_used)]
use super::*;

/// Golden vectors B11.
#[test]
fn sizes_are_those_of_the_reference() {
    let sizes = |pass: usize, side: usize, stride: usize| {
        let [inner, padded] = Pass::AUGMENTED[pass].sizes([side, side], stride);
        (inner[0], padded[1])
    };
    assert_eq!((sizes(1, 640, 32), sizes(2, 640, 32)), ((531, 544), (428, 448)));
    assert_eq!((sizes(1, 672, 32), sizes(2, 672, 32)), ((557, 576), (450, 480)));
    assert_eq!((sizes(1, 1536, 64), sizes(2, 1536, 64)), ((1274, 1280), (1029, 1088)));
    assert_eq!(Pass::AUGMENTED[0].sizes([672, 512], 32), [[672, 512]; 2]);
}

/// Golden vectors B11: rows that are left of three levels of strides 8, 16 and 32 with three anchors.
#[test]
fn row_counts_are_those_of_the_reference() {
    let counts = |size: [usize; 2]| {
        Pass::AUGMENTED.map(|pass| {
            let [_, [height, width]] = pass.sizes(size, 32);
            let rows = [8, 16, 32].map(|stride| 3 * (height / stride) * (width / stride)).iter().sum();
            pass.rows(rows, 3).len()
        })
    };
    assert_eq!(counts([640, 640]), [24_000, 18_207, 2_940]);
    assert_eq!(counts([672, 512]), [20_160, 15_876, 2_475]);
    let four = Pass::AUGMENTED.map(|pass| pass.rows(85, 4));
    assert_eq!(four, [0..84, 0..85, 64..85]);
}

/// Halving four pixels averages pairs; five into two have their centres at 0.75 and 3.25.
#[test]
fn resizing_maps_centres_to_centres() {
    let line = [0.0, 10.0, 20.0, 30.0, 40.0];
    let resized = |length: usize, to: usize| -> Vec<f32> {
        taps(length, to).iter().map(|tap| tap.between(&line)).collect()
    };
    assert_eq!(resized(4, 2), [5.0, 25.0]);
    assert_eq!(resized(5, 2), [7.5, 32.5]);
    assert_eq!(resized(2, 4), [0.0, 2.5, 7.5, 10.0]);
    assert_eq!(resized(5, 5), line);
}

fn pictures() -> (Vec<f32>, [usize; 2]) {
    let (size, n) = ([64, 96], 2 * 3 * 64 * 96);
    ((0..n).map(|i| ((i * 37 + i / 96 * 11) % 255) as f32 / 255.0).collect(), size)
}

#[cfg(feature = "nn")]
#[test]
fn tensors_are_transformed_as_floats_are() {
    use burn::tensor::{Device, TensorData};
    use yolo_nn::host_values;

    let (images, size) = pictures();
    for pass in Pass::AUGMENTED {
        let tensor = TensorData::new(images.clone(), [2, 3, size[0], size[1]]);
        let tensor = pass.transform_tensor(Tensor::from_data(tensor, &Device::flex()), 32);
        let [_, padded] = pass.sizes(size, 32);
        assert_eq!(tensor.dims(), [2, 3, padded[0], padded[1]]);
        let (floats, tensor) = (pass.transform(&images, size, 32), host_values(tensor).unwrap());
        assert_eq!(floats.len(), tensor.len());
        let worst = floats.iter().zip(&tensor).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{pass:?}: {worst}");
    }
}

#[test]
fn a_smaller_image_has_a_border_to_the_right_and_below() {
    let (images, size) = pictures();
    let transformed = Pass::AUGMENTED[2].transform(&images, size, 32);
    // 64 × 96 at 0.67 is 42 × 64, in 64 × 96.
    let at = |x: usize, y: usize| transformed[y * 96 + x];
    assert!(at(63, 41) != BORDER && at(64, 41) == BORDER && at(63, 42) == BORDER);
}

/// A box that is moved as the image is, and back.
#[test]
fn boxes_come_back_to_where_they_were() {
    let (x, y, w, h, width) = (100.0, 200.0, 30.0, 40.0, 640.0_f32);
    for pass in Pass::AUGMENTED {
        let scale = pass.scale as f32;
        let moved_x = if pass.mirrored { width - x } else { x };
        let moved = Cxcywh { cx: moved_x * scale, cy: y * scale, w: w * scale, h: h * scale };
        let mut predictions = Predictions::new(1);
        predictions.push(moved, [0.9]);
        pass.undo(&mut predictions, width as usize);
        let (bbox, scores) = predictions.rows().next().unwrap();
        assert_eq!(scores, [0.9]);
        for (found, expected) in [bbox.cx, bbox.cy, bbox.w, bbox.h].into_iter().zip([x, y, w, h]) {
            assert!((found - expected).abs() < 1e-3, "{pass:?}: {found} {expected}");
        }
    }
}

#[test]
fn the_mirrored_pass_mirrors() {
    let images: Vec<f32> = (0..3 * 32 * 32).map(|i| (i % 32) as f32 / 31.0).collect();
    let line = &Pass::AUGMENTED[1].transform(&images, [32, 32], 32)[..26];
    assert!(line.is_sorted_by(|a, b| a > b), "{line:?}");
    assert!(line[0] > 0.95 && line[25] < 0.05, "{line:?}");
}
