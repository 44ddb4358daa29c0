//! Whose rules a validation follows.

use serde::{Deserialize, Serialize};

/// Whose rules a validation or a prediction follows, where the two families differ: how images are resized and boxes are
/// put back, which detections match, where a curve of precision ends, and which figure chooses the best epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convention {
    /// YOLOv5 v7.0's.
    #[default]
    Yolov5,
    /// Those of the package `ultralytics` 8.4.
    Ultralytics,
}

impl Convention {
    /// The name under which it is asked for and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yolov5 => "yolov5",
            Self::Ultralytics => "ultralytics",
        }
    }

    /// The sides of a batch of images are multiples of a network's largest stride, which counts as this at least.
    pub const fn least_stride(self) -> usize {
        match self {
            Self::Yolov5 => 1,
            Self::Ultralytics => 32,
        }
    }
}
