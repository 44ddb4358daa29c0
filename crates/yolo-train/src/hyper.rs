//! Hyper-parameters: what a hyp yaml of YOLOv5 holds, key by key, and what the Ultralytics family has besides.

use std::path::Path;

use serde::{Deserialize, Serialize};
use yolo_data::augment::Augmentation;
use yolo_data::yaml;
use yolo_eval::Convention;
use yolo_model::{Family, Head};

use crate::error::{Result, TrainError};
use crate::loss::LossOptions;

/// The content of a hyp yaml. Keys that are missing have the value of `hyp.scratch-low`; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hyperparameters {
    /// Initial learning rate.
    pub lr0: f64,
    /// Last learning rate as a fraction of `lr0`.
    pub lrf: f64,
    /// Momentum of SGD, β₁ of AdamW.
    pub momentum: f64,
    /// Weight decay for a nominal batch.
    pub weight_decay: f64,
    /// Epochs of warm-up, for YOLOv5 at least 100 batches; 0 turns it off.
    pub warmup_epochs: f64,
    /// Momentum at the start of the warm-up.
    pub warmup_momentum: f64,
    /// Learning rate of biases at the start of the warm-up; all others start at 0.
    pub warmup_bias_lr: f64,
    /// Gain of the box term.
    #[serde(rename = "box")]
    pub box_gain: f64,
    /// Gain of the class term.
    pub cls: f64,
    /// Weight of positive examples in the class term; of heads with anchors.
    pub cls_pw: f64,
    /// Gain of the objectness term.
    pub obj: f64,
    /// Weight of positive examples in the objectness term.
    pub obj_pw: f64,
    /// Gain of the term of distances; of heads without anchors.
    pub dfl: f64,
    /// Not used by YOLOv5 either; accepted because its files have it.
    pub iou_t: f64,
    /// Largest factor between the sides of an object and of an anchor that takes it.
    pub anchor_t: f64,
    /// Anchors per level, for a network made from a yaml; 0 keeps those of the yaml.
    pub anchors: f64,
    /// Exponent of the focal loss; 0 turns it off.
    pub fl_gamma: f64,
    /// Hue gain, as a fraction.
    pub hsv_h: f32,
    /// Saturation gain, as a fraction.
    pub hsv_s: f32,
    /// Value gain, as a fraction.
    pub hsv_v: f32,
    /// Largest rotation in degrees.
    pub degrees: f32,
    /// Largest shift as a fraction of the image.
    pub translate: f32,
    /// Scales lie in `1 ± scale`.
    pub scale: f32,
    /// Largest shear in degrees.
    pub shear: f32,
    /// Largest perspective term, 0 to 0.001.
    pub perspective: f32,
    /// Probability of turning an image upside down.
    pub flipud: f32,
    /// Probability of mirroring an image.
    pub fliplr: f32,
    /// Probability that a sample is a mosaic.
    pub mosaic: f32,
    /// Fraction of mosaics with nine images; YOLOv5 has the code but never chooses it.
    pub mosaic9: f32,
    /// Probability that a mosaic is blended with a second one.
    pub mixup: f32,
    /// Fraction of outlined objects that are pasted again, mirrored.
    pub copy_paste: f32,
    /// Epochs at the end of a run without mosaics, mixing and pasted copies.
    pub close_mosaic: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            lr0: 0.01,
            lrf: 0.01,
            momentum: 0.937,
            weight_decay: 0.0005,
            warmup_epochs: 3.0,
            warmup_momentum: 0.8,
            warmup_bias_lr: 0.1,
            box_gain: 0.05,
            cls: 0.5,
            cls_pw: 1.0,
            obj: 1.0,
            obj_pw: 1.0,
            dfl: 1.5,
            iou_t: 0.2,
            anchor_t: 4.0,
            anchors: 0.0,
            fl_gamma: 0.0,
            hsv_h: 0.015,
            hsv_s: 0.7,
            hsv_v: 0.4,
            degrees: 0.0,
            translate: 0.1,
            scale: 0.5,
            shear: 0.0,
            perspective: 0.0,
            flipud: 0.0,
            fliplr: 0.5,
            mosaic: 1.0,
            mosaic9: 0.0,
            mixup: 0.0,
            copy_paste: 0.0,
            close_mosaic: 0,
        }
    }
}

/// Closed ranges of the values; what is not listed may be any number that is not negative. Augmentation has
/// its own.
const RANGES: [(&str, f64, f64); 3] =
    [("lrf", 0.0, 1.0), ("momentum", 0.0, 1.0), ("warmup_momentum", 0.0, 1.0)];

impl Hyperparameters {
    /// Parses the text of a hyp yaml; `file` is only used in messages.
    ///
    /// # Errors
    /// [`TrainError::Hyp`] with the line and the key: not a yaml, an unknown key, a value out of range.
    pub fn parse(text: &str, file: &Path) -> Result<Self> {
        let hyp: Self = serde_saphyr::from_str(text).map_err(|error| TrainError::Hyp {
            place: yaml::place(file, &error),
            reason: yaml::reason(&error),
        })?;
        hyp.check().map_err(|reason| TrainError::Hyp { place: file.display().to_string(), reason })?;
        Ok(hyp)
    }

    /// The same with the gains of the terms of the loss that `family` trains with; those of the other family are many times as
    /// large or as small.
    #[must_use]
    pub fn with_gains_of(self, family: Family) -> Self {
        match family {
            Family::Yolov5 => Self { box_gain: 0.05, cls: 0.5, obj: 1.0, ..self },
            Family::Ultralytics => Self { box_gain: 7.5, cls: 0.5, dfl: 1.5, ..self },
        }
    }

    fn check(&self) -> std::result::Result<(), String> {
        let serde_json::Value::Object(values) = serde_json::to_value(self).map_err(|e| e.to_string())? else {
            return Err("not a mapping of keys to numbers".to_owned());
        };
        for (key, value) in &values {
            let range = RANGES.iter().find(|(name, ..)| name == key);
            let (low, high) = range.map_or((0.0, f64::INFINITY), |(_, low, high)| (*low, *high));
            // JSON has no NaN and no infinity: they come back as null.
            match value.as_f64() {
                Some(number) if (low..=high).contains(&number) => {}
                Some(number) => return Err(format!("{key}: {number} is outside {low} to {high}")),
                None => return Err(format!("{key}: not a finite number")),
            }
        }
        if self.anchor_t <= 1.0 {
            return Err(format!("anchor_t: {} has to be above 1", self.anchor_t));
        }
        self.augmentation().problem().map_or(Ok(()), Err)
    }

    /// How images are changed in `epoch` of `epochs`, counted from 0, as `convention` does.
    pub fn augmentation_in(&self, epoch: usize, epochs: usize, convention: Convention) -> Augmentation {
        let augmentation = Augmentation { convention, ..self.augmentation() };
        match epoch + self.close_mosaic >= epochs {
            true => Augmentation { mosaic: 0.0, mixup: 0.0, copy_paste: 0.0, ..augmentation },
            false => augmentation,
        }
    }

    /// How images are changed while nothing is left out, in YOLOv5's order.
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            convention: Convention::Yolov5,
            hsv_h: self.hsv_h,
            hsv_s: self.hsv_s,
            hsv_v: self.hsv_v,
            degrees: self.degrees,
            translate: self.translate,
            scale: self.scale,
            shear: self.shear,
            perspective: self.perspective,
            flipud: self.flipud,
            fliplr: self.fliplr,
            mosaic: self.mosaic,
            mosaic9: self.mosaic9,
            mixup: self.mixup,
            copy_paste: self.copy_paste,
        }
    }

    /// Options of the loss for a network with this head.
    ///
    /// Heads with anchors have gains scaled to the head and the image size (§10.3 of YOLOv5's specification): `box·3/L`,
    /// `cls·C/80·3/L`, `obj·(size/640)²·3/L` for `L` levels and `C` classes. Those without have gains as they are.
    pub fn loss_options(
        &self,
        head: Head<'_>,
        image_size: usize,
        label_smoothing: f64,
        auto_balance: bool,
    ) -> LossOptions {
        let unscaled = LossOptions { label_smoothing, auto_balance, ..self.unscaled_loss_options() };
        if head.family() == Family::Ultralytics {
            return unscaled;
        }
        let levels = 3.0 / head.strides().len() as f64;
        LossOptions {
            box_gain: self.box_gain * levels,
            class_gain: self.cls * head.num_classes() as f64 / 80.0 * levels,
            objectness_gain: self.obj * (image_size as f64 / 640.0).powi(2) * levels,
            ..unscaled
        }
    }

    /// Options of the loss with the gains as they are.
    pub fn unscaled_loss_options(&self) -> LossOptions {
        LossOptions {
            box_gain: self.box_gain,
            class_gain: self.cls,
            objectness_gain: self.obj,
            distribution_gain: self.dfl,
            class_positive_weight: self.cls_pw,
            objectness_positive_weight: self.obj_pw,
            focal_gamma: self.fl_gamma,
            label_smoothing: 0.0,
            anchor_threshold: self.anchor_t,
            auto_balance: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_epochs_have_no_mosaics() {
        let hyp = Hyperparameters { close_mosaic: 3, mixup: 0.5, ..Hyperparameters::default() };
        let drawn = |epoch| hyp.augmentation_in(epoch, 10, Convention::Ultralytics);
        assert_eq!(
            (drawn(6).mosaic, drawn(6).mixup, drawn(6).convention),
            (1.0, 0.5, Convention::Ultralytics)
        );
        assert_eq!((drawn(7).mosaic, drawn(7).mixup, drawn(7).fliplr), (0.0, 0.0, 0.5));
        assert_eq!(hyp.augmentation_in(0, 3, Convention::Ultralytics).mosaic, 0.0, "a short run has none");
        let yolov5 = Hyperparameters::default();
        assert_eq!(yolov5.augmentation_in(9, 10, Convention::Yolov5), yolov5.augmentation());
    }

    #[test]
    fn the_file_of_ultralytics_has_its_gains_and_a_few_keys() {
        let file = Path::new("ultralytics.yaml");
        let text = include_str!("../../../configs/hyps/ultralytics.yaml");
        let hyp = Hyperparameters::parse(text, file).unwrap();
        assert_eq!((hyp.box_gain, hyp.cls, hyp.dfl, hyp.close_mosaic), (7.5, 0.5, 1.5, 10));
        let other = Hyperparameters { close_mosaic: 10, ..Hyperparameters::default() };
        assert_eq!(other.with_gains_of(Family::Ultralytics), hyp, "the rest is that of scratch-low");
        assert_eq!(
            hyp.with_gains_of(Family::Yolov5),
            Hyperparameters { close_mosaic: 10, ..Hyperparameters::default() }
        );
    }
}
