//! The plots of `val` (curves, the confusion matrix, a study's figures) and of `train` (its labels). Plots are described
//! once, as a [`Scene`], and shown twice: as SVG and as pixels.

mod confusion;
mod curves;
mod labels;
mod raster;
mod scene;
mod study;
mod vector;

use yolo_draw::RgbImage;
use yolo_eval::metrics::{ConfusionMatrix, NativeReport};

pub use labels::labels;
pub use scene::Scene;
pub use study::{StudyLine, study};

/// The four curves and the confusion matrix of a validation, with the names of their files; no curves if nothing is
/// labelled.
pub fn validation(
    report: &NativeReport,
    confusion: &ConfusionMatrix,
    class_names: &[String],
) -> Vec<(&'static str, Scene)> {
    let mut plots = curves::all(report, class_names);
    plots.push(("confusion_matrix", confusion::scene(confusion, class_names)));
    plots
}

impl Scene {
    /// The plot as a file of SVG: the same bytes for the same scene.
    pub fn svg(&self) -> String {
        vector::svg(self)
    }

    /// The plot as pixels, twice as wide and high as the scene.
    pub fn image(&self) -> RgbImage {
        raster::image(self)
    }
}
