//! What is known by name: hyper-parameters, recipes, and the example that comes with the program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::demo::{self, DemoOptions};
use yolo_model::Family;
use yolo_train::hyper::Hyperparameters;
use yolo_train::recipe::Recipe;

use crate::console::progress_bar;
use crate::resolve::is_demo;
use yolo_data::nearby::suggestion;

/// Name of the example: drawn shapes, and a small network trained on them.
pub(crate) const DEMO: &str = "demo";

/// Side of its images in pixels.
const DEMO_IMAGE_SIZE: usize = 256;

/// The side of the network's input in pixels, if none is asked for.
pub(crate) fn usual_image_size(data: &Path) -> usize {
    if is_demo(data) { DEMO_IMAGE_SIZE } else { 640 }
}

/// Its recipe where channels go.
pub(crate) const DEMO_CHANNELS: &str = "demo-channels";

/// Hyper-parameters for random weights, by family.
const SCRATCH: &str = "scratch-low";
const ULTRALYTICS: &str = "ultralytics";

const HYPS: [(&str, &str); 7] = [
    (SCRATCH, include_str!("../configs/hyps/scratch-low.yaml")),
    ("scratch-med", include_str!("../configs/hyps/scratch-med.yaml")),
    ("scratch-high", include_str!("../configs/hyps/scratch-high.yaml")),
    ("VOC", include_str!("../configs/hyps/VOC.yaml")),
    ("finetune", include_str!("../configs/hyps/finetune.yaml")),
    ("demo", include_str!("../configs/hyps/demo.yaml")),
    (ULTRALYTICS, include_str!("../configs/hyps/ultralytics.yaml")),
];

const RECIPES: [(&str, &str); 7] = [
    ("default", include_str!("../configs/recipes/default.yaml")),
    ("tutorial-30", include_str!("../configs/recipes/tutorial-30.yaml")),
    ("gradual-70", include_str!("../configs/recipes/gradual-70.yaml")),
    ("channels-50", include_str!("../configs/recipes/channels-50.yaml")),
    (DEMO_CHANNELS, include_str!("../configs/recipes/demo-channels.yaml")),
    ("two-four", include_str!("../configs/recipes/two-four.yaml")),
    (DEMO, include_str!("../configs/recipes/demo.yaml")),
];

/// The hyper-parameters of a file or a known name; YOLOv5's `data/hyps/hyp.scratch-low.yaml` is one, too.
pub(crate) fn hyperparameters(name: &str) -> Result<Hyperparameters> {
    let (text, file) = text(name, "--hyp", ("hyp.", "hyps"), &HYPS)?;
    Ok(Hyperparameters::parse(&text, &file)?)
}

/// [`hyperparameters`] for a network of `family`: those known by a name have its gains, whichever family they were made for, and
/// `scratch-low` is `ultralytics` for that one. A file is taken as it is.
pub(crate) fn hyperparameters_for(name: &str, family: Family) -> Result<Hyperparameters> {
    if family == Family::Yolov5 || Path::new(name).is_file() {
        return hyperparameters(name);
    }
    let is_default = built_in_name(name, "hyp.", &["hyps"]) == Some(SCRATCH);
    Ok(hyperparameters(if is_default { ULTRALYTICS } else { name })?.with_gains_of(family))
}

/// The recipe of a file or a known name.
pub(crate) fn recipe(name: &str) -> Result<Recipe> {
    let (text, file) = text(name, "--recipe", ("", "recipes"), &RECIPES)?;
    Ok(Recipe::parse(&text, &file)?)
}

/// The name of something built in that `name` may stand for if there is no such file: without its suffix `.yaml`, the
/// `prefix` of its file, and the folder where YOLOv5 has such files, if it is one of `folders`. None for a file in another
/// folder.
pub(crate) fn built_in_name<'a>(name: &'a str, prefix: &str, folders: &[&str]) -> Option<&'a str> {
    let path = Path::new(name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folders.iter().any(|usual| folder.ends_with(usual))) {
        return None;
    }
    let file = path.file_name()?.to_str()?;
    let stem = file.strip_suffix(".yaml").unwrap_or(file);
    Some(stem.strip_prefix(prefix).unwrap_or(stem))
}

/// The text behind `name` and the path that messages call it by; files of that kind have a `prefix` and lie in `folder`.
fn text(
    name: &str,
    flag: &str,
    (prefix, folder): (&str, &str),
    known: &[(&str, &str)],
) -> Result<(String, PathBuf)> {
    let path = Path::new(name);
    if path.is_file() {
        let text =
            yolo_data::yaml::read(path).with_context(|| format!("{name}: cannot be read; check {flag}"))?;
        return Ok((text, path.to_owned()));
    }
    let stem = built_in_name(name, prefix, &[folder]);
    match known.iter().find(|(known, _)| stem == Some(known)) {
        Some((_, text)) => Ok(((*text).to_owned(), path.to_owned())),
        None => {
            let names: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
            bail!(
                "{name}: no such file; check {flag} (known names: {}){}",
                names.join(", "),
                suggestion(path)
            )
        }
    }
}

/// The yaml of the example data set, which is drawn when it is asked for the first time.
pub(crate) fn demo_data() -> Result<PathBuf> {
    let folder = demo_folder()?.join("shapes");
    let options = DemoOptions::default();
    let total = u64::from(options.train_images + options.val_images);
    let bar = progress_bar("Drawing", total);
    let yaml = demo::write(&folder, &options, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    Ok(yaml?)
}

/// The checkpoint of the example, unpacked when it is asked for the first time.
pub(crate) fn demo_weights() -> Result<PathBuf> {
    let path = demo_folder()?.join("demo.safetensors");
    let is_current = std::fs::read(&path).is_ok_and(|bytes| bytes == DEMO_WEIGHTS);
    if !is_current {
        yolo_files::write(&path, DEMO_WEIGHTS)
            .with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    Ok(path)
}

/// The cache folder of the user, or the current folder where there is none.
fn demo_folder() -> Result<PathBuf> {
    let folder = default_cache_dir().unwrap_or_else(|| PathBuf::from("datasets")).join(DEMO);
    std::fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    Ok(folder)
}

/// A yolov5 of an eighth of the width, trained on the example data set by the command in `docs/train.md`.
const DEMO_WEIGHTS: &[u8] = include_bytes!("../assets/demo.safetensors");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_preset_parses() {
        for (name, _) in HYPS {
            hyperparameters(name).unwrap();
        }
        for (name, _) in RECIPES {
            recipe(name).unwrap().check().unwrap();
        }
        let default = hyperparameters_for("scratch-low", Family::Ultralytics).unwrap();
        assert_eq!(default, hyperparameters("ultralytics").unwrap());
        let gains = |hyp: Hyperparameters| [hyp.box_gain, hyp.cls, hyp.dfl];
        assert_eq!(gains(hyperparameters_for("demo", Family::Ultralytics).unwrap()), [7.5, 0.5, 1.5]);
        assert_eq!(gains(hyperparameters_for("demo", Family::Yolov5).unwrap()), [0.05, 2.0, 1.5]);
        for name in ["hyp.scratch-low.yaml", "data/hyps/hyp.scratch-low.yaml", "hyps/scratch-low.yaml"] {
            assert_eq!(hyperparameters(name).unwrap(), Hyperparameters::default(), "{name}");
        }
        let error = hyperparameters("mine/hyp.scratch-low.yaml").unwrap_err().to_string();
        assert!(error.contains("no such file"), "{error}");
        let error = recipe("default-70").unwrap_err().to_string();
        assert!(error.contains("gradual-70"), "{error}");
    }
}
