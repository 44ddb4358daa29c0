//! The ten sizes of YOLOv5, embedded in the binary.

use super::Architecture;
use crate::error::{ModelError, Result};

macro_rules! variants {
    ($($name:literal),*) => {
        /// Names and yaml texts of the ten sizes, smallest first.
        pub const VARIANTS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../configs/", $name, ".yaml")))),*];
    };
}

variants!(
    "yolov5n", "yolov5s", "yolov5m", "yolov5l", "yolov5x", "yolov5n6", "yolov5s6", "yolov5m6", "yolov5l6",
    "yolov5x6"
);

/// The yaml of one of the ten sizes (`yolov5s`, `yolov5x6`, …).
pub fn variant_yaml(name: &str) -> Option<&'static str> {
    VARIANTS.iter().find(|(variant, _)| *variant == name).map(|(_, yaml)| *yaml)
}

impl Architecture {
    /// One of the ten sizes by name, with the given number of classes (80 where `None`).
    ///
    /// # Errors
    /// [`ModelError::Yaml`] lists the names if there is no such size.
    pub fn variant(name: &str, num_classes: Option<usize>) -> Result<Self> {
        let yaml = variant_yaml(name).ok_or_else(|| {
            let names: Vec<&str> = VARIANTS.iter().map(|(name, _)| *name).collect();
            ModelError::Yaml { reason: format!("there is no size {name:?}; there are {}", names.join(", ")) }
        })?;
        Self::from_yaml(yaml, num_classes)
    }
}
