//! YOLOv5 as data and as a network.

pub mod weights;
