//! The published lines of dense networks: the makers' tables (COCO val2017, 640 px), between their points linear in the
//! logarithm of the FLOPs; and which of their sizes a network has.

use yolo_model::Architecture;

/// Most classes that a network is thought to have.
const MAX_CLASSES: usize = 10_000;
/// Classes of COCO.
const COCO_CLASSES: usize = 80;
/// Largest relative difference of the FLOPs of one and the same architecture.
const SAME_GFLOPS: f64 = 0.02;

/// A released network with its published figures.
#[derive(Debug, PartialEq)]
pub struct Stock {
    /// Its name, such as `yolov5s`.
    pub name: &'static str,
    /// mAP50-95 in percent.
    pub map: f64,
    /// Billions of floating-point operations at 640 px.
    pub gflops: f64,
}

/// The sizes of a network, smallest first.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// What its sizes are called together.
    pub name: &'static str,
    /// The sizes.
    pub sizes: [Stock; 5],
}

macro_rules! line {
    ($name:literal, $([$size:literal, $map:literal, $gflops:literal]),*) => {
        Line { name: $name, sizes: [$(Stock { name: $size, map: $map, gflops: $gflops }),*] }
    };
}

/// Every line. Parameters and FLOPs are those of fused networks; that of YOLO26 answers with suppression.
#[rustfmt::skip]
pub static LINES: [Line; 5] = [
    line!("YOLOv5", ["yolov5n", 28.0, 4.5], ["yolov5s", 37.4, 16.5], ["yolov5m", 45.4, 49.0],
        ["yolov5l", 49.0, 109.1], ["yolov5x", 50.7, 205.7]),
    line!("YOLOv5u", ["yolov5nu", 34.3, 7.7], ["yolov5su", 43.0, 24.0], ["yolov5mu", 49.0, 64.2],
        ["yolov5lu", 52.2, 135.0], ["yolov5xu", 53.2, 246.4]),
    line!("YOLOv8", ["yolov8n", 37.3, 8.7], ["yolov8s", 44.9, 28.6], ["yolov8m", 50.2, 78.9],
        ["yolov8l", 52.9, 165.2], ["yolov8x", 53.9, 257.8]),
    line!("YOLO11", ["yolo11n", 39.5, 6.5], ["yolo11s", 47.0, 21.5], ["yolo11m", 51.5, 68.0],
        ["yolo11l", 53.4, 86.9], ["yolo11x", 54.7, 194.9]),
    line!("YOLO26", ["yolo26n", 40.9, 5.4], ["yolo26s", 48.6, 20.7], ["yolo26m", 53.1, 68.2],
        ["yolo26l", 55.0, 86.4], ["yolo26x", 57.5, 193.9]),
];

/// Every size of every line.
pub fn stocks() -> impl Iterator<Item = &'static Stock> {
    LINES.iter().flat_map(|line| &line.sizes)
}

impl Stock {
    /// The size that `architecture` has without having been pruned, whatever its classes and anchors.
    pub fn of(architecture: &Architecture) -> Option<&'static Self> {
        let classes = architecture.num_classes();
        let (parameters, gflops) = fused_figures(architecture.clone());
        stocks().find(|stock| {
            let figures = stock.figures(classes);
            figures.is_some_and(|(own, expected)| own == parameters && is_about(gflops, expected))
        })
    }

    /// The size of a fused network with this many parameters and GFLOPs and any number of classes. A head without anchors may
    /// have other widths for another number, so that of COCO is what is looked for there.
    pub fn of_figures(parameters: usize, gflops: f64) -> Option<&'static Self> {
        stocks().find(|stock| stock.has_figures(parameters, gflops).unwrap_or(false))
    }

    /// The line that it belongs to.
    pub fn line(&self) -> &'static Line {
        let own = LINES.iter().find(|line| line.sizes.iter().any(|stock| stock.name == self.name));
        own.unwrap_or(&LINES[0])
    }

    /// Parameters with 80 classes, fused.
    pub(crate) fn parameters(&self) -> Option<usize> {
        self.figures(COCO_CLASSES).map(|(parameters, _)| parameters)
    }

    /// Whether it has this many parameters and GFLOPs with some number of classes.
    fn has_figures(&self, parameters: usize, gflops: f64) -> Option<bool> {
        if self.line().name != LINES[0].name {
            let (own, expected) = self.figures(COCO_CLASSES)?;
            return Some(own == parameters && is_about(gflops, expected));
        }
        // Every class adds as many parameters as the one before.
        let (one, two) = (self.figures(1)?.0, self.figures(2)?.0);
        let (more, step) = (parameters.checked_sub(one)?, two.checked_sub(one)?);
        if step == 0 || more % step != 0 || more / step >= MAX_CLASSES {
            return Some(false);
        }
        let (same, expected) = self.figures(1 + more / step)?;
        Some(same == parameters && is_about(gflops, expected))
    }

    /// Parameters and GFLOPs with `classes` classes, fused.
    fn figures(&self, classes: usize) -> Option<(usize, f64)> {
        Architecture::variant(self.name, Some(classes)).ok().map(fused_figures)
    }
}

fn is_about(gflops: f64, expected: f64) -> bool {
    (gflops / expected - 1.0).abs() < SAME_GFLOPS
}

fn fused_figures(architecture: Architecture) -> (usize, f64) {
    let summary = architecture.without_batch_norm().summary();
    (summary.parameters, summary.gflops)
}

/// A place on the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// mAP50-95 in percent, at least 0.
    pub map: f64,
    /// The released networks around it; the nearest two if it lies outside the line.
    pub between: [&'static str; 2],
    /// Whether it lies outside the line.
    pub extrapolated: bool,
}

impl Line {
    /// The place of a dense network of this many GFLOPs.
    pub fn dense_of_cost(&self, gflops: f64) -> Place {
        let points: Vec<(f64, f64, &'static str)> =
            self.sizes.iter().map(|size| (size.gflops, size.map, size.name)).collect();
        place(&points, gflops)
    }
}

/// The place at `cost` on the line through `points` (cost, mAP, name) by rising cost, of which there are two at least.
pub(crate) fn place(points: &[(f64, f64, &'static str)], cost: f64) -> Place {
    let above = points.iter().position(|point| point.0 >= cost).unwrap_or(points.len() - 1);
    let (left, right) = (points[above.max(1) - 1], points[above.max(1)]);
    let share = (cost.max(f64::MIN_POSITIVE) / left.0).ln() / (right.0 / left.0).ln();
    // The published figures have one decimal, and so have the costs computed from them.
    let extrapolated = cost < points[0].0 * 0.999 || cost > points[points.len() - 1].0 * 1.001;
    Place { map: (left.1 + share * (right.1 - left.1)).max(0.0), between: [left.2, right.2], extrapolated }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use yolo_model::architecture::ConvSpec;

    use super::*;

    #[test]
    fn the_line_goes_through_its_points_and_is_straight_in_the_logarithm() {
        for stock in stocks() {
            let place = stock.line().dense_of_cost(stock.gflops);
            assert!((place.map - stock.map).abs() < 1e-9 && !place.extrapolated, "{}: {place:?}", stock.name);
        }
        let middle = LINES[0].dense_of_cost((4.5_f64 * 16.5).sqrt());
        assert!((middle.map - (28.0 + 37.4) / 2.0).abs() < 1e-9);
        assert_eq!(middle.between, ["yolov5n", "yolov5s"]);
        // Half of yolov5n, along the line from s to n: 28 − 9.4 · ln 2 / ln (16.5 / 4.5).
        let below = LINES[0].dense_of_cost(2.25);
        assert!(below.extrapolated && (below.map - 22.985).abs() < 0.001, "{below:?}");
        let above = LINES[0].dense_of_cost(400.0);
        assert!(above.extrapolated && above.map > 50.7 && above.between == ["yolov5l", "yolov5x"]);
        assert_eq!(LINES[0].dense_of_cost(0.0).map, 0.0);
        assert_eq!(LINES[0].dense_of_cost(1e-9).map, 0.0);
    }

    #[test]
    fn sizes_are_recognised_by_their_figures_with_any_number_of_classes() {
        let of = |parameters, gflops| Stock::of_figures(parameters, gflops).map(|stock| stock.name);
        // What `info --fuse` says of the released networks and of one with three classes.
        assert_eq!(of(1_867_405, 4.47), Some("yolov5n"));
        assert_eq!(of(7_225_885, 16.4), Some("yolov5s"));
        assert_eq!(of(1_867_405 - 77 * 1_353, 4.15), Some("yolov5n"));
        assert_eq!(of(3_151_904, 8.744), Some("yolov8n"));
        assert_eq!(of(2_408_932, 5.48), Some("yolo26n"));
        assert_eq!(of(1_867_406, 4.47), None);
        assert_eq!(of(1_867_405, 3.0), None);
    }

    #[test]
    fn sizes_are_recognised_by_their_architecture() {
        for stock in stocks() {
            let mut architecture = Architecture::variant(stock.name, Some(3)).unwrap();
            assert_eq!(Stock::of(&architecture), Some(stock));
            // A data set's own anchors, or folded batch normalisation, make no other network.
            architecture = architecture.without_batch_norm();
            if let Some(anchors) = architecture.head().anchors() {
                let mut anchors = anchors.to_vec();
                anchors[0][0] = [5.0, 6.0];
                architecture = architecture.with_anchors(anchors);
            }
            assert_eq!(Stock::of(&architecture), Some(stock));
            architecture.layers[0].block.get_mut::<ConvSpec>().unwrap().out_channels -= 8;
            architecture.layers[1].block.get_mut::<ConvSpec>().unwrap().in_channels -= 8;
            assert_eq!(Stock::of(&architecture), None);
        }
        // Published at 1280 px, on a separate line.
        assert_eq!(Stock::of(&Architecture::variant("yolov5n6", None).unwrap()), None);
    }
}
