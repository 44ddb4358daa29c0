//! Statistics of a split: the number of objects per class, and the sizes of images and boxes.

use serde::Serialize;

use super::{Dataset, Item};

/// Sides of COCO's small and large objects, in pixels of the original image.
const SMALL_SIDE: f64 = 32.0;
const LARGE_SIDE: f64 = 96.0;
/// Boxes with a side below this many pixels of the network's input are rarely detected; YOLOv5 warns about them too.
pub const TINY_SIDE: f64 = 3.0;

/// Quantiles of a list of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// A tenth of the values are below it.
    pub p10: f64,
    /// Half of the values are below it.
    pub median: f64,
    /// A tenth of the values are above it.
    pub p90: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// The quantiles of `values`, none of which may be NaN; `None` if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(share * last as f64).round() as usize];
        Some(Self { min: values[0], p10: at(0.1), median: at(0.5), p90: at(0.9), max: values[last] })
    }
}

/// Number of boxes by COCO's sizes, and of those too small to learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoxSizes {
    /// Below 32² pixels of the original image.
    pub small: usize,
    /// Between both limits.
    pub medium: usize,
    /// At least 96² pixels.
    pub large: usize,
    /// With a side below [`TINY_SIDE`] pixels of the network's input; counted above as well.
    pub tiny: usize,
}

/// Counts of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// Its name.
    pub name: String,
    /// Number of its objects.
    pub objects: usize,
    /// Number of images with at least one of them.
    pub images: usize,
}

/// Statistics of one split.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// Number of usable images.
    pub images: usize,
    /// Number of labels of all images.
    pub objects: usize,
    /// Number of labels of an image.
    pub objects_per_image: Option<Spread>,
    /// Width of an image in pixels.
    pub width: Option<Spread>,
    /// Height of an image in pixels.
    pub height: Option<Spread>,
    /// Square root of a box's area, in pixels of the network's input.
    pub box_side: Option<Spread>,
    /// Boxes by size.
    pub box_sizes: BoxSizes,
    /// One entry for each class name, in order of the index.
    pub classes: Vec<ClassCount>,
}

impl Statistics {
    /// Counts `dataset`; `image_size` is the long side of the network's input in pixels.
    pub fn of(dataset: &Dataset, image_size: usize) -> Self {
        let items = &dataset.items;
        let sides = items.iter().flat_map(|item| {
            let scale = image_size as f64 / f64::from(item.width.max(item.height).max(1));
            sides(item).map(move |[w, h]| (w * h).sqrt() * scale)
        });
        Self {
            images: items.len(),
            objects: dataset.num_instances(),
            objects_per_image: Spread::of(items.iter().map(|item| item.labels.len() as f64)),
            width: Spread::of(items.iter().map(|item| f64::from(item.width))),
            height: Spread::of(items.iter().map(|item| f64::from(item.height))),
            box_side: Spread::of(sides),
            box_sizes: box_sizes(items, image_size as f64),
            classes: class_counts(dataset),
        }
    }
}

/// Width and height of every box in pixels of the original image.
fn sides(item: &Item) -> impl Iterator<Item = [f64; 2]> {
    let (width, height) = (f64::from(item.width), f64::from(item.height));
    item.labels
        .iter()
        .map(move |label| [f64::from(label.bbox_norm.w) * width, f64::from(label.bbox_norm.h) * height])
}

fn box_sizes(items: &[Item], image_size: f64) -> BoxSizes {
    let mut sizes = BoxSizes::default();
    for item in items {
        let scale = image_size / f64::from(item.width.max(item.height).max(1));
        for [w, h] in sides(item) {
            match (w * h).sqrt() {
                side if side < SMALL_SIDE => sizes.small += 1,
                side if side < LARGE_SIDE => sizes.medium += 1,
                _ => sizes.large += 1,
            }
            sizes.tiny += usize::from(w.min(h) * scale < TINY_SIDE);
        }
    }
    sizes
}

fn class_counts(dataset: &Dataset) -> Vec<ClassCount> {
    let none = |name: &String| ClassCount { name: name.clone(), objects: 0, images: 0 };
    let mut counts: Vec<ClassCount> = dataset.class_names.iter().map(none).collect();
    for item in &dataset.items {
        let mut classes: Vec<usize> = item.labels.iter().map(|label| label.class as usize).collect();
        classes.iter().for_each(|&class| counts[class].objects += 1);
        classes.sort_unstable();
        classes.dedup();
        classes.into_iter().for_each(|class| counts[class].images += 1);
    }
    counts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use yolo_eval::Cxcywh;

    use super::*;
    use crate::dataset::{Label, ScanReport};

    fn item(size: [u32; 2], labels: &[(u32, f32, f32)]) -> Item {
        let label = |&(class, w, h): &(u32, f32, f32)| Label {
            class,
            bbox_norm: Cxcywh { cx: 0.5, cy: 0.5, w, h },
            polygon_norm: vec![],
        };
        Item {
            image: "x.jpg".into(),
            width: size[0],
            height: size[1],
            labels: labels.iter().map(label).collect(),
        }
    }

    #[test]
    fn objects_are_counted_by_class_and_size() {
        let dataset = Dataset {
            class_names: vec!["cat".to_owned(), "dog".to_owned(), "eel".to_owned()],
            // Sides in pixels: 20 × 20, 50 × 50, 200 × 100, and 400 × 1.
            items: vec![
                item([200, 100], &[(0, 0.1, 0.2), (0, 0.25, 0.5)]),
                item([400, 200], &[(1, 0.5, 0.5), (0, 1.0, 0.005)]),
                item([10, 10], &[]),
            ],
            report: ScanReport::default(),
            coco_annotations: None,
            source: String::new(),
        };
        let counted = Statistics::of(&dataset, 800);
        let classes: Vec<_> = counted.classes.iter().map(|class| (class.objects, class.images)).collect();
        assert_eq!(classes, [(3, 2), (1, 1), (0, 0)]);
        assert_eq!((counted.images, counted.objects), (3, 4));
        assert_eq!(counted.box_sizes, BoxSizes { small: 2, medium: 1, large: 1, tiny: 1 });
        let per_image = counted.objects_per_image.unwrap();
        assert_eq!((per_image.min, per_image.median, per_image.max), (0.0, 2.0, 2.0));
        // The side of 20 pixels is 80 in an image of 200 that is shown at 800.
        let side = counted.box_side.unwrap();
        assert!((side.min - 40.0).abs() < 1e-3 && (side.p10 - 40.0).abs() < 1e-3, "{side:?}");
        assert!((side.max - 282.84).abs() < 0.01, "{side:?}");
    }

    #[test]
    fn no_values_have_no_spread() {
        assert_eq!(Spread::of([]), None);
        let one = Spread::of([7.0]).unwrap();
        assert_eq!((one.min, one.p10, one.median, one.p90, one.max), (7.0, 7.0, 7.0, 7.0, 7.0));
        let eleven = Spread::of((0..11).rev().map(f64::from)).unwrap();
        assert_eq!(
            (eleven.min, eleven.p10, eleven.median, eleven.p90, eleven.max),
            (0.0, 1.0, 5.0, 9.0, 10.0)
        );
    }
}
