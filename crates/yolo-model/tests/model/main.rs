//! The model from outside: what it computes and the files that it reads and writes. Tests on real weights use
//! `../shared` and say when they are skipped.
#![allow(clippy::unwrap_used)]

// Architectures and weights against the reference's figures.
mod architectures;
mod module_files;
mod released_weights;
// The other family.
mod ultralytics;
// ONNX files: their structure.
mod onnx;
// Files for YOLOv5 and PyTorch.
mod torch_files;
// Weights files: good ones, ours, and files that lie.
mod weights;

use std::path::PathBuf;

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
