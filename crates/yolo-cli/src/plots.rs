//! The plots of `val`: curves, the confusion matrix, a study's figures, and the first batches with their boxes. Plots
//! are described once, as a [`scene::Scene`], and written twice: as SVG and as PNG.

mod batches;
mod confusion;
mod curves;
mod raster;
mod scene;
mod study;
mod vector;

use anyhow::Result;
use yolo_data::image::{Encoding, encode};
use yolo_train::Validation;

use crate::run_dir::RunDir;
use scene::Scene;

pub(crate) use batches::BatchSheets;
pub(crate) use study::{StudyLine, study};

/// Writes the four curves and the confusion matrix of a validation into the folder of its run.
pub(crate) fn write_plots(run: &RunDir, validation: &Validation, class_names: &[String]) -> Result<()> {
    for (name, scene) in curves::all(&validation.native, class_names) {
        write(run, name, &scene)?;
    }
    write(run, "confusion_matrix", &confusion::scene(&validation.confusion, class_names))
}

/// Writes `name.svg` and `name.png`.
pub(crate) fn write(run: &RunDir, name: &str, scene: &Scene) -> Result<()> {
    run.write(&format!("{name}.svg"), vector::svg(scene).as_bytes())?;
    run.write(&format!("{name}.png"), &encode(&raster::image(scene), Encoding::Png)?)?;
    Ok(())
}
