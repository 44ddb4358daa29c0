//! A sweep as lines of text: a row per point, and up to where each method pays.

use super::{DENSE, Point};
use crate::published::Stock;

/// Titles of the cells.
pub const TITLES: [&str; 9] =
    ["method", "amount", "sparsity", "mAP50-95", "mAP50", "COCO AP", "GFLOPs", "kept", "needed"];

/// The figures of a point. `needed` is the part of its mAP that the dense network of equal cost keeps, by the
/// published line; it is known for the released sizes only.
pub fn cells(point: &Point, dense: &Point, stock: Option<&Stock>) -> [String; 9] {
    let percent =
        |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{:.1}%", share * 100.0));
    [
        point.method.clone(),
        format!("{}", point.amount),
        format!("{:.3}", point.sparsity),
        format!("{:.4}", point.map),
        format!("{:.4}", point.map50),
        point.coco_ap.map_or_else(|| "–".to_owned(), |ap| format!("{ap:.4}")),
        format!("{:.2}", point.gflops_nonzero),
        percent(kept(point, dense)),
        percent(stock.map(|stock| needed(point, dense, stock))),
    ]
}

/// Cells as a line with aligned columns.
pub fn row(cells: &[impl AsRef<str>]) -> String {
    let (name, figures) = cells.split_first().map_or(("", cells), |(name, rest)| (name.as_ref(), rest));
    figures.iter().fold(format!("{name:<16}"), |line, cell| format!("{line}{:>10}", cell.as_ref()))
}

/// The share of the dense network's mAP that is left.
fn kept(point: &Point, dense: &Point) -> Option<f64> {
    (dense.map > 0.0).then(|| point.map / dense.map)
}

/// The share of its mAP that the dense network of equal cost has; `stock` is the size that was pruned.
fn needed(point: &Point, dense: &Point, stock: &Stock) -> f64 {
    let cost = stock.gflops * point.gflops_nonzero / dense.gflops_nonzero.max(f64::MIN_POSITIVE);
    stock.line().dense_of_cost(cost).map / stock.map
}

/// For every method, up to which amount it is better than the dense network of equal cost.
pub fn conclusion(points: &[Point], stock: Option<&Stock>) -> Vec<String> {
    let Some((dense, pruned)) = points.split_first().filter(|(dense, _)| dense.method == DENSE) else {
        return Vec::new();
    };
    let Some(stock) = stock else {
        return vec![
            "The published lines are of YOLOv5, YOLOv5u, YOLOv8, YOLO11 and YOLO26 in sizes n, s, m, l and x; this network \
             has another graph or other widths, so there is no dense network of equal cost to compare with."
                .to_owned(),
        ];
    };
    let mut lines = vec![format!(
        "\"needed\" is what a dense {} of the same GFLOPs has of {}'s published mAP.",
        stock.line().name,
        stock.name
    )];
    for of_method in pruned.chunk_by(|a, b| a.method == b.method) {
        let pays = |point: &&Point| {
            point.zeros > 0 && kept(point, dense).is_some_and(|kept| kept > needed(point, dense, stock))
        };
        let method = &of_method[0].method;
        lines.push(match of_method.iter().rev().find(pays) {
            Some(best) => format!(
                "{method}: pays up to {} ({:.0} % kept, {:.0} % needed), without fine-tuning.",
                best.amount,
                kept(best, dense).unwrap_or_default() * 100.0,
                needed(best, dense, stock) * 100.0
            ),
            None => format!(
                "{method}: a dense network of equal cost is better at every amount, without fine-tuning."
            ),
        });
    }
    lines
}
