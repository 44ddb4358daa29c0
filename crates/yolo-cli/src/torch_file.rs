//! Checkpoints in the format that their file's name asks for, and what to know of those that YOLOv5 reads.

use std::path::Path;

use anyhow::{Result, bail};
use yolo_model::architecture::YamlFit;
use yolo_model::weights::{FloatFormat, PlainValue, read_hyp};
use yolo_model::{Checkpoint, Family, TorchOptions, TorchSummary};
use yolo_prune::Sparsity;

/// What a checkpoint can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// Our own.
    Safetensors,
    /// YOLOv5's.
    Torch,
}

impl FileFormat {
    /// The format of a file by its name.
    ///
    /// # Errors
    /// An ending that is neither.
    pub(crate) fn of(out: &Path) -> Result<Self> {
        let ends_in = |ending: &str| out.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        if ends_in("safetensors") {
            Ok(Self::Safetensors)
        } else if ends_in("pt") {
            Ok(Self::Torch)
        } else {
            bail!("{}: --out must end in .safetensors, or in .pt for YOLOv5", out.display());
        }
    }
}

/// Writes `checkpoint` to `out` in the format of its name, in half precision if `half` asks for it or nothing is lost;
/// `source` is the file that it came from. Warns of what YOLOv5 makes of it.
pub(crate) fn save(checkpoint: &Checkpoint, out: &Path, half: bool, source: &Path) -> Result<()> {
    let format = if half { FloatFormat::F16 } else { FloatFormat::lossless_for(&checkpoint.weights) };
    match FileFormat::of(out)? {
        FileFormat::Safetensors => checkpoint.save(out, format)?,
        FileFormat::Torch => {
            let options = TorchOptions { format, masks: false, hyp: hyp_of(source) };
            warn(checkpoint, &checkpoint.save_torch(out, &options)?)?;
        }
    }
    Ok(())
}

/// Hyper-parameters that `ultralytics` has, too, and means the same by; it refuses names that it does not know.
const OF_BOTH: [&str; 23] = [
    "lr0",
    "lrf",
    "momentum",
    "weight_decay",
    "warmup_epochs",
    "warmup_momentum",
    "warmup_bias_lr",
    "box",
    "cls",
    "dfl",
    "hsv_h",
    "hsv_s",
    "hsv_v",
    "degrees",
    "translate",
    "scale",
    "shear",
    "perspective",
    "flipud",
    "fliplr",
    "mosaic",
    "mixup",
    "copy_paste",
];

/// Writes `best`, a checkpoint of a training with the hyper-parameters `hyp` on images of `image_size` pixels, beside itself
/// for the package of its family, and returns the name of that file.
pub(crate) fn save_beside(
    best: &Path,
    hyp: &impl serde::Serialize,
    image_size: usize,
) -> Result<std::path::PathBuf> {
    let checkpoint = Checkpoint::load(best)?;
    let out = best.with_extension("pt");
    let format = FloatFormat::lossless_for(&checkpoint.weights);
    let hyp = serde_json::to_value(hyp)?;
    let hyp = match checkpoint.architecture.family() {
        Family::Yolov5 => hyp,
        Family::Ultralytics => train_args(&hyp, image_size),
    };
    let hyp = PlainValue::from(&hyp);
    let options = TorchOptions { format, masks: false, hyp: Some(hyp) };
    warn(&checkpoint, &checkpoint.save_torch(&out, &options)?)?;
    Ok(out)
}

/// What `ultralytics` keeps of a training.
fn train_args(hyp: &serde_json::Value, image_size: usize) -> serde_json::Value {
    let mut arguments = serde_json::Map::new();
    arguments.insert("imgsz".to_owned(), image_size.into());
    let known = OF_BOTH.iter().filter_map(|name| Some(((*name).to_owned(), hyp.get(name)?.clone())));
    arguments.extend(known);
    arguments.into()
}

/// The hyper-parameters or arguments of the training that a file of either package holds; none for any other.
pub(crate) fn hyp_of(source: &Path) -> Option<PlainValue> {
    read_hyp(source).ok().flatten()
}

/// Warns of what the package of the network's family makes of a file.
pub(crate) fn warn(checkpoint: &Checkpoint, written: &TorchSummary) -> Result<()> {
    let family = checkpoint.architecture.family();
    for line in warnings(written, Sparsity::of(checkpoint)?.conv_sparsity(), family) {
        tracing::warn!("{line}");
    }
    Ok(())
}

/// Fraction of zeros from which on they are not there by accident.
const PRUNED: f64 = 0.01;

fn warnings(written: &TorchSummary, sparsity: f64, family: Family) -> Vec<String> {
    let (package, training) = match family {
        Family::Yolov5 => ("YOLOv5", "YOLOv5's train.py"),
        Family::Ultralytics => ("ultralytics", "the training of ultralytics"),
    };
    let mut lines = Vec::new();
    if let Some(tensor) = &written.too_large_for_half {
        lines.push(format!(
            "{tensor} has a value beyond half precision (65504), so the file is in single precision, twice the size"
        ));
    }
    if written.added_batch_norm {
        lines.push(format!(
            "batch normalisation is folded in; the classes of {package} need one, so one that changes nothing was added. \
             Export the file from before --fuse to train on"
        ));
    }
    lines.extend(written.yaml.as_ref().and_then(|fit| about_yaml(fit, family)).map(str::to_owned));
    if written.masked > 0 && written.yaml.is_some() {
        lines.push(format!(
            "{training} does not read masks: it would begin with random weights wherever there is one. The file is for \
             your own scripts with torch.nn.utils.prune"
        ));
    } else if written.yaml.is_some() && sparsity >= PRUNED {
        lines.push(format!(
            "{training} lets pruned zeros grow again; `yolo-cli prune --like` with this file puts them back afterwards, \
             and `yolo-cli prune-finetune` keeps them"
        ));
    }
    lines
}

/// What a training in the family's package makes of a yaml that is not a stock one.
fn about_yaml(fit: &YamlFit, family: Family) -> Option<&'static str> {
    match fit {
        YamlFit::Stock(_) | YamlFit::Exact => None,
        YamlFit::Unrounded | YamlFit::Other if family == Family::Ultralytics => Some(
            "the training of ultralytics builds the network of the yaml, whose widths are others, and takes over only \
             tensors of equal shape: most of it would start from noise, without an error. Predicting, validating and \
             exporting are not affected; train with `yolo-cli train`",
        ),
        YamlFit::Unrounded => Some(
            "YOLOv5's train.py builds these widths since December 2023 only (channel_multiple: 1 in the yaml); v7.0 would \
             build others and train most of the network from noise",
        ),
        YamlFit::Other => Some(
            "no yaml of YOLOv5 can say these widths: its train.py would build another network and train most of it from \
             noise, without an error. detect.py, val.py and export.py are not affected; train with `yolo-cli train`",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(yaml: Option<YamlFit>) -> TorchSummary {
        TorchSummary {
            format: FloatFormat::F16,
            too_large_for_half: None,
            yaml,
            tensors: 349,
            masked: 0,
            added_batch_norm: false,
        }
    }

    #[test]
    fn only_what_matters_is_warned_of() {
        let stock = written(Some(YamlFit::Stock("yolov5n".to_owned())));
        assert!(warnings(&stock, 0.0001, Family::Yolov5).is_empty());
        assert!(warnings(&stock, 0.3, Family::Yolov5)[0].contains("grow again"));
        assert!(
            warnings(&written(None), 0.3, Family::Yolov5).is_empty(),
            "train.py does not read state dicts"
        );
        assert!(
            warnings(&TorchSummary { masked: 3, ..stock.clone() }, 0.3, Family::Yolov5)[0]
                .contains("does not read masks")
        );
        assert!(warnings(&written(Some(YamlFit::Exact)), 0.0, Family::Yolov5).is_empty());
        assert!(
            warnings(&written(Some(YamlFit::Unrounded)), 0.0, Family::Yolov5)[0].contains("December 2023")
        );
        assert!(warnings(&written(Some(YamlFit::Other)), 0.0, Family::Yolov5)[0].contains("noise"));
        let other = warnings(&written(Some(YamlFit::Other)), 0.3, Family::Ultralytics);
        assert!(other[0].contains("ultralytics builds") && other[1].contains("grow again"), "{other:?}");
    }

    /// Names of YOLOv5 alone, such as the gain for objectness, stay behind.
    #[test]
    fn ultralytics_gets_the_arguments_that_it_knows() {
        let hyp = serde_json::to_value(yolo_train::hyper::Hyperparameters::default()).unwrap();
        let arguments = train_args(&hyp, 96);
        assert_eq!(arguments.as_object().unwrap().len(), 1 + OF_BOTH.len());
        assert_eq!((&arguments["imgsz"], &arguments["lr0"]), (&96.into(), &hyp["lr0"]));
        assert!(["obj", "cls_pw", "anchor_t"].iter().all(|name| arguments.get(name).is_none()));
    }

    #[test]
    fn the_name_says_the_format() {
        let of = |name: &str| FileFormat::of(Path::new(name));
        assert_eq!(of("a/b.PT").unwrap(), FileFormat::Torch);
        assert_eq!(of("b.safetensors").unwrap(), FileFormat::Safetensors);
        assert!(of("b.onnx").unwrap_err().to_string().contains("or in .pt for YOLOv5"));
    }
}
