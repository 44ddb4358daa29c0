//! The networks, weights and images behind the golden files. All are made from numbers, without files.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::{Architecture, Checkpoint};

/// The small network of the demo.
pub(super) fn demo_network() -> Architecture {
    Architecture::from_yaml(include_str!("../../../configs/models/demo.yaml"), None).unwrap()
}

/// A network of every module with unusual numbers.
pub(super) fn mixed_network() -> Architecture {
    Architecture::from_yaml(include_str!("../../golden/mixed.yaml"), None).unwrap()
}

/// Random weights with a batch normalisation that differs from channel to channel and lets the signal through.
pub(super) fn varied(architecture: Architecture, seed: u64) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        for (what, low, high) in [
            ("weight", 0.5, 3.0),
            ("bias", -0.5, 0.5),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 2.0),
        ] {
            let values = checkpoint.weights.get_mut(&conv.bn(what)).unwrap().f32s_mut().unwrap();
            values.iter_mut().for_each(|value| *value = rng.random_range(low..high));
        }
    }
    checkpoint
}

/// Pixels of `batch` images of `[height, width]`, RGB in `[0, 1]`, and the shape `[N, 3, H, W]`.
pub(super) fn image(batch: usize, [height, width]: [usize; 2]) -> (Vec<f32>, [usize; 4]) {
    let mut pixels = Vec::with_capacity(batch * 3 * height * width);
    for plane in 0..batch * 3 {
        for y in 0..height {
            for x in 0..width {
                let value = (x * (5 + plane) + y * (11 - plane) + x * y * (plane + 1) / 16) % 256;
                pixels.push(value as f32 / 255.0);
            }
        }
    }
    (pixels, [batch, 3, height, width])
}

/// Logits between −6 and 4, scattered.
pub(super) fn logits(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i * 7919 % 1009) as f32 / 100.9 - 6.0).collect()
}
