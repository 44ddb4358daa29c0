//! Data from outside: files on disk, and the figures of other implementations.
#![allow(clippy::unwrap_used)]

// Augmentation against OpenCV.
mod augment;
// Whole data sets, good ones and bad ones.
mod dataset;
// Decoding, resizing, letterboxing and loading against OpenCV.
mod images;
// Detections of the other family's networks on the drawn data set.
mod ultralytics;
