//! The published line of dense networks: YOLOv5 v7.0's table (COCO val2017, 640 px), between its points linear in the
//! logarithm of the FLOPs; and which of its sizes a network has.

use yolo_model::Architecture;

/// Most classes that a network is thought to have.
const MAX_CLASSES: usize = 10_000;
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

/// The line, smallest first.
pub const LINE: [Stock; 5] = [
    Stock { name: "yolov5n", map: 28.0, gflops: 4.5 },
    Stock { name: "yolov5s", map: 37.4, gflops: 16.5 },
    Stock { name: "yolov5m", map: 45.4, gflops: 49.0 },
    Stock { name: "yolov5l", map: 49.0, gflops: 109.1 },
    Stock { name: "yolov5x", map: 50.7, gflops: 205.7 },
];

impl Stock {
    /// The size that `architecture` has without having been pruned, whatever its classes and anchors.
    pub fn of(architecture: &Architecture) -> Option<&'static Self> {
        let (parameters, gflops) = fused_figures(architecture.clone());
        Self::of_figures(parameters, gflops)
    }

    /// The size of a fused network with this many parameters and GFLOPs.
    pub fn of_figures(parameters: usize, gflops: f64) -> Option<&'static Self> {
        LINE.iter().find(|stock| stock.has_figures(parameters, gflops).unwrap_or(false))
    }

    /// Parameters with 80 classes, fused.
    pub(crate) fn parameters(&self) -> Option<usize> {
        self.figures(80).map(|(parameters, _)| parameters)
    }

    /// Whether it has this many parameters and GFLOPs with some number of classes.
    fn has_figures(&self, parameters: usize, gflops: f64) -> Option<bool> {
        // Every class adds as many parameters as the one before.
        let (one, two) = (self.figures(1)?.0, self.figures(2)?.0);
        let (more, step) = (parameters.checked_sub(one)?, two.checked_sub(one)?);
        if step == 0 || more % step != 0 || more / step >= MAX_CLASSES {
            return Some(false);
        }
        let (same, expected) = self.figures(1 + more / step)?;
        Some(same == parameters && (gflops / expected - 1.0).abs() < SAME_GFLOPS)
    }

    /// Parameters and GFLOPs with `classes` classes, fused.
    fn figures(&self, classes: usize) -> Option<(usize, f64)> {
        Architecture::variant(self.name, Some(classes)).ok().map(fused_figures)
    }
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

/// The place of a dense network of this many GFLOPs.
pub fn dense_of_cost(gflops: f64) -> Place {
    let points: Vec<(f64, f64, &'static str)> = LINE.iter().map(|s| (s.gflops, s.map, s.name)).collect();
    place(&points, gflops)
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
        for stock in &LINE {
            let place = dense_of_cost(stock.gflops);
            assert!((place.map - stock.map).abs() < 1e-9 && !place.extrapolated, "{}: {place:?}", stock.name);
        }
        let middle = dense_of_cost((4.5_f64 * 16.5).sqrt());
        assert!((middle.map - (28.0 + 37.4) / 2.0).abs() < 1e-9);
        assert_eq!(middle.between, ["yolov5n", "yolov5s"]);
        // Half of yolov5n, along the line from s to n: 28 − 9.4 · ln 2 / ln (16.5 / 4.5).
        let below = dense_of_cost(2.25);
        assert!(below.extrapolated && (below.map - 22.985).abs() < 0.001, "{below:?}");
        let above = dense_of_cost(400.0);
        assert!(above.extrapolated && above.map > 50.7 && above.between == ["yolov5l", "yolov5x"]);
        assert_eq!(dense_of_cost(0.0).map, 0.0);
        assert_eq!(dense_of_cost(1e-9).map, 0.0);
    }

    #[test]
    fn sizes_are_recognised_by_their_figures_with_any_number_of_classes() {
        let of = |parameters, gflops| Stock::of_figures(parameters, gflops).map(|stock| stock.name);
        // What `info --fuse` says of the released networks and of one with three classes.
        assert_eq!(of(1_867_405, 4.47), Some("yolov5n"));
        assert_eq!(of(7_225_885, 16.4), Some("yolov5s"));
        assert_eq!(of(1_867_405 - 77 * 1_353, 4.15), Some("yolov5n"));
        assert_eq!(of(1_867_406, 4.47), None);
        assert_eq!(of(1_867_405, 3.0), None);
    }

    #[test]
    fn sizes_are_recognised_by_their_architecture() {
        for stock in &LINE {
            let mut architecture = Architecture::variant(stock.name, Some(3)).unwrap();
            assert_eq!(Stock::of(&architecture), Some(stock));
            // A data set's own anchors, or folded batch normalisation, make no other network.
            let mut anchors = architecture.head().anchors().unwrap().to_vec();
            anchors[0][0] = [5.0, 6.0];
            architecture = architecture.without_batch_norm().with_anchors(anchors);
            assert_eq!(Stock::of(&architecture), Some(stock));
            architecture.layers[0].block.get_mut::<ConvSpec>().unwrap().out_channels -= 8;
            architecture.layers[1].block.get_mut::<ConvSpec>().unwrap().in_channels -= 8;
            assert_eq!(Stock::of(&architecture), None);
        }
        // Published at 1280 px, on a separate line.
        assert_eq!(Stock::of(&Architecture::variant("yolov5n6", None).unwrap()), None);
    }
}
