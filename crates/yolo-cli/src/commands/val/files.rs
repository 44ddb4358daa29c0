//! What `val` writes besides `results.json`: detections as label files and in COCO's format.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use yolo_data::dataset::Dataset;
use yolo_eval::coco::{Detection, ImageId, write_results};
use yolo_report::detections::{BoxFormat, label_lines};
use yolo_train::Validation;

use crate::run_dir::RunDir;

/// The detections in COCO's format, named after the weights.
pub(super) fn save_json(run: &RunDir, stem: &str, results: &[(ImageId, Detection)]) -> Result<()> {
    let path = run.path().join(format!("{stem}_predictions.json"));
    write_results(&path, results)?;
    tracing::info!("{} detections in {}", results.len(), path.display());
    Ok(())
}

/// A label file per image. Images of the same name in several folders share one file; the last stays.
pub(super) fn save_txt(
    run: &RunDir,
    dataset: &Dataset,
    validation: &Validation,
    with_score: bool,
) -> Result<()> {
    let mut written: HashMap<String, &Path> = HashMap::new();
    for image in &validation.detections {
        let item = &dataset.items[image.item_idx];
        let stem = item.image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text =
            label_lines(image.detections.iter(), (item.width, item.height), BoxFormat::Cxcywh, with_score);
        run.write(&format!("labels/{stem}.txt"), text.as_bytes())?;
        if let Some(other) = written.insert(stem.clone(), &item.image) {
            tracing::warn!(
                "{} and {} have the same name, so labels/{stem}.txt holds the detections of the former only",
                item.image.display(),
                other.display()
            );
        }
    }
    Ok(())
}
