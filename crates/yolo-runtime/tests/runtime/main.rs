//! The runtime from outside: what it computes, on every vector unit that this processor has.
#![allow(clippy::unwrap_used)]

// Single convolutions with every kernel, then whole networks, against a slow executor in f64.
mod convolutions;
mod moved;
mod moves;
mod networks;
mod programs;
mod reference;
mod views;
// Whole detectors against the same network on Burn's own back end.
mod detectors;
// Plans that are measured, and the times of convolutions.
mod tuning;

/// Whether slow tests run; says that this one is skipped where they do not.
fn runs_slow() -> bool {
    let runs = std::env::var_os("YOLO_SLOW_TESTS").is_some();
    if !runs {
        eprintln!("skipped: slow; runs in `cargo xtask ci --full`");
    }
    runs
}

/// A file of the reference, or `None` with a message where the folder is not there.
fn shared(path: &str) -> Option<std::path::PathBuf> {
    let full = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !full.exists() {
        eprintln!("skipped: {} is not here", full.display());
        return None;
    }
    Some(full)
}
