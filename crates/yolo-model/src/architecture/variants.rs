//! The sizes that are known by name, embedded in the binary: ten of YOLOv5, and those of the Ultralytics family, which share
//! a yaml per graph.

use super::{Architecture, ModelConfig};
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

/// A graph of the Ultralytics family, whose yaml has five sizes.
#[derive(Clone, Copy, Debug)]
pub struct Scaled {
    /// What the name of a size starts with, before its letter: `yolov8`.
    pub prefix: &'static str,
    /// What follows the letter: `-p2`, or nothing.
    pub suffix: &'static str,
    /// The yaml.
    pub yaml: &'static str,
}

/// The letters of the sizes, smallest first.
const LETTERS: [&str; 5] = ["n", "s", "m", "l", "x"];

macro_rules! scaled {
    ($($prefix:literal $suffix:literal $file:literal),*) => {
        /// The graphs of the Ultralytics family.
        pub const SCALED: &[Scaled] = &[$(Scaled {
            prefix: $prefix,
            suffix: $suffix,
            yaml: include_str!(concat!("../../configs/", $file, ".yaml")),
        }),*];
    };
}

scaled!(
    "yolov8" "" "yolov8", "yolov8" "-p2" "yolov8-p2", "yolov8" "-p6" "yolov8-p6", "yolo11" "" "yolo11",
    "yolo26" "" "yolo26", "yolov5" "u" "yolov5u", "yolov5" "6u" "yolov5-p6u"
);

impl Scaled {
    /// The names of its sizes, smallest first.
    pub fn names(&self) -> impl Iterator<Item = String> + use<> {
        let Self { prefix, suffix, .. } = *self;
        LETTERS.into_iter().map(move |letter| format!("{prefix}{letter}{suffix}"))
    }

    /// The letter of the size called `name`, if it is one of these.
    fn letter<'a>(&self, name: &'a str) -> Option<&'a str> {
        let letter = name.strip_prefix(self.prefix)?.strip_suffix(self.suffix)?;
        LETTERS.contains(&letter).then_some(letter)
    }

    /// The yaml of the size called `name`.
    fn config(&self, name: &str) -> Option<ModelConfig> {
        let letter = self.letter(name)?;
        let config: ModelConfig = serde_saphyr::from_str(self.yaml).ok()?;
        Some(ModelConfig { scale: Some(letter.to_owned()), ..config })
    }
}

/// The yaml of the size called `name` in the Ultralytics family, with that size chosen.
pub(super) fn scaled_config(name: &str) -> Option<ModelConfig> {
    SCALED.iter().find_map(|scaled| scaled.config(name))
}

/// Whether there is a size of this name.
pub fn is_variant(name: &str) -> bool {
    variant_yaml(name).is_some() || SCALED.iter().any(|scaled| scaled.letter(name).is_some())
}

/// The yaml of one of YOLOv5's ten sizes (`yolov5s`, `yolov5x6`, …).
pub fn variant_yaml(name: &str) -> Option<&'static str> {
    VARIANTS.iter().find(|(variant, _)| *variant == name).map(|(_, yaml)| *yaml)
}

impl Architecture {
    /// One of the sizes by name (`yolov5n`, `yolov8s-p2`, `yolo26x`, `yolov5nu`), with the given number of classes (80 where
    /// `None`).
    ///
    /// # Errors
    /// [`ModelError::Yaml`] lists the names if there is no such size.
    pub fn variant(name: &str, num_classes: Option<usize>) -> Result<Self> {
        if let Some(config) = scaled_config(name) {
            return config.build(num_classes);
        }
        let yaml = variant_yaml(name).ok_or_else(|| {
            let mut names: Vec<String> = VARIANTS.iter().map(|(name, _)| (*name).to_owned()).collect();
            names.extend(SCALED.iter().flat_map(Scaled::names));
            ModelError::Yaml { reason: format!("there is no size {name:?}; there are {}", names.join(", ")) }
        })?;
        Self::from_yaml(yaml, num_classes)
    }
}
