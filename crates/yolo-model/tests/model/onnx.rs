//! ONNX files: what is in them, read back with a small reader of our own.

mod reader;
mod structure;

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::{Architecture, Checkpoint};

/// A detector whose batch normalisation is not the identity and whose signal does not fade.
fn lively(architecture: Architecture) -> Checkpoint {
    let mut rng = StdRng::seed_from_u64(5);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng).unwrap();
    for conv in checkpoint.architecture.convs().iter().filter(|conv| !conv.is_bare) {
        for (what, range) in [
            ("weight", 1.0..2.0),
            ("bias", -0.5..0.5),
            ("running_mean", -0.2..0.2),
            ("running_var", 0.5..1.5),
        ] {
            let values = checkpoint.weights.get_mut(&conv.bn(what)).unwrap().f32s_mut().unwrap();
            values.iter_mut().for_each(|value| *value = rand::Rng::random_range(&mut rng, range.clone()));
        }
    }
    checkpoint
}

fn yolov5n(num_classes: usize) -> Checkpoint {
    lively(Architecture::variant("yolov5n", Some(num_classes)).unwrap())
}
