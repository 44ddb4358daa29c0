//! The network on Burn against the reference's figures and against onnxruntime. Tests on real weights use `../shared`,
//! others need Python with onnxruntime or OpenCV; they say when they are skipped.
#![allow(clippy::unwrap_used)]

mod attention;
mod forward;
mod modules;
mod onnx_equality;
mod onnxruntime;
mod opencv;
mod precision;
mod training;
mod ultralytics;

use std::path::PathBuf;

use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_model::{Architecture, Checkpoint};

/// A file of the reference, or `None` with a message where the folder is not there.
fn shared(path: &str) -> Option<PathBuf> {
    let full = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !full.exists() {
        eprintln!("skipped: {} is not here", full.display());
        return None;
    }
    Some(full)
}

fn json(path: &str) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(shared(path)?).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

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
