//! Training against the reference, and against itself after interruptions.
#![allow(clippy::unwrap_used)]

mod anchor_free;
mod devices;
mod example;
mod finetuning;
mod loss;
mod module_networks;
mod optimisers;
mod reference;
mod runs;
mod ultralytics;
mod ultralytics_runs;
mod untrained_maps;
mod validation;

use std::path::{Path, PathBuf};

/// A file of `../shared`; without it the test says that it is skipped.
fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !file.exists() {
        eprintln!("skipped: {} is not here", file.display());
        return None;
    }
    Some(file)
}
