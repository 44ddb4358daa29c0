//! Pruning from outside, on whole networks.
#![allow(clippy::unwrap_used)]

// Pruning by what the network does on calibration images.
mod calibrated;
// Removal of channels: couplings, selection, compensation.
mod channels;
// Masks by magnitude: exact counts, errors, and what stays as it was.
mod masks;
// Networks that are not detectors.
mod programs;
