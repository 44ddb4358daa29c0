//! Detections as YOLO label files.

use yolo_data::dataset::Item;
use yolo_eval::Cxcywh;
use yolo_eval::metrics::ScoredBox;

use crate::format::general;

/// A line per detection: class, centre x, centre y, width, height as fractions of the image, and the score
/// where asked; six significant digits each.
pub(crate) fn lines(detections: &[ScoredBox], item: &Item, with_score: bool) -> String {
    let (width, height) = (item.width as f32, item.height as f32);
    let line = |d: &ScoredBox| {
        let b = Cxcywh::from(d.bbox);
        let mut numbers = vec![d.class as f32, b.cx / width, b.cy / height, b.w / width, b.h / height];
        if with_score {
            numbers.push(d.score);
        }
        let numbers: Vec<String> = numbers.iter().map(|number| general(f64::from(*number), 6)).collect();
        format!("{}\n", numbers.join(" "))
    };
    detections.iter().map(line).collect()
}
