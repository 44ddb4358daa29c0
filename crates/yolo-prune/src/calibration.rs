//! Calibration: what a network's convolutions see on a handful of images, without labels.
//!
//! [`CalibrationImages`] holds the images as bytes; [`walk`] runs them through the network one convolution at a
//! time, through the dense weights and through those that a visitor chose so far; [`Moments`] are the first and
//! second moments of a convolution's input that reconstruction needs.

mod columns;
mod images;
mod moments;
mod walk;

pub use images::{CalibrationImages, ImageBatch};
pub(crate) use moments::Moments;
pub(crate) use walk::{ConvValues, ConvVisit, walk};
