//! YOLO's label files.

use std::fmt::Write as _;
use std::path::Path;

use yolo_eval::Cxcywh;

use super::Place;
use crate::Result;
use crate::dataset::{Dataset, Label};

/// Writes the label file of one image below `folder`; an empty file marks an image without objects.
pub(super) fn write(dataset: &Dataset, place: &Place, folder: &Path) -> Result<()> {
    let path = folder.join(Path::new(&place.name).with_extension("txt"));
    super::write(&path, text(&dataset.items[place.item].labels))
}

/// One line per object: its outline, or its box if it has none.
pub(super) fn text(labels: &[Label]) -> String {
    let mut text = String::new();
    for label in labels {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}", label.class);
        let Cxcywh { cx, cy, w, h } = label.bbox_norm;
        let outline = label.polygon_norm.iter().flatten().copied();
        let values: Vec<f32> =
            if label.polygon_norm.is_empty() { vec![cx, cy, w, h] } else { outline.collect() };
        for value in values {
            let _ = write!(text, " {value:.6}");
        }
        text.push('\n');
    }
    text
}
