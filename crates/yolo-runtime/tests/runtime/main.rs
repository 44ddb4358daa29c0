//! The runtime from outside: what it computes, on every vector unit that this processor has.
#![allow(clippy::unwrap_used)]

// Single convolutions with every kernel, then whole networks, against a slow executor in f64.
mod convolutions;
mod networks;
mod reference;
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
