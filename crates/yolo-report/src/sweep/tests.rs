//! The file of a sweep, and what is concluded from its points.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::published::LINES;

fn point(method: &str, amount: f64, map: f64) -> Point {
    Point {
        method: method.to_owned(),
        amount,
        sparsity: amount,
        zeros: (amount * 1000.0) as usize,
        map,
        map50: map * 1.5,
        precision: 1.0 / 3.0,
        recall: 0.5,
        coco_ap: (amount > 0.3).then_some(map - 0.01),
        gflops_nonzero: 4.5 * (1.0 - amount),
        seconds: 1.234_567,
    }
    .rounded()
}

fn curve() -> Vec<Point> {
    vec![
        point(DENSE, 0.0, 0.3275),
        point("layer", 0.3, 0.136),
        point("layer", 0.5, 0.002),
        point("global", 0.3, 0.311),
        point("global", 0.5, 0.208),
    ]
}

#[test]
fn a_file_gives_its_points_back() {
    let points = curve();
    let text = to_csv(&points);
    assert_eq!(text.lines().count(), 6);
    assert!(text.contains("layer,0.5,0.5,500,0.002,0.003,0.333333,0.5,-0.008,2.25,1.23\n"), "{text}");
    assert_eq!(from_csv(&text).unwrap(), points);
    assert_eq!(from_csv(&to_csv(&[])).unwrap(), []);
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    let text = to_csv(&curve());
    let error = |text: &str| from_csv(text).unwrap_err().to_string();
    assert!(error("").contains("columns of a sweep"));
    assert!(error(&text.replace("zeros", "nulls")).contains("columns of a sweep"));
    for damaged in [text.replace("0.136,", ""), text.replace("0.136", "x"), text.replace("0.136", "nan")] {
        assert!(error(&damaged).contains("line 3 is not a valid point"), "{}", error(&damaged));
    }
}

#[test]
fn each_method_is_told_up_to_where_it_pays() {
    let lines = conclusion(&curve(), LINES[0].sizes.first());
    // 30 % fewer operations: the line gives 28 − 7.23 · ln (1 / 0.7) = 25.4, which is 91 %; kept are 95 %.
    assert_eq!(lines.len(), 3);
    assert!(lines[1].starts_with("layer: a dense network of equal cost is better at every amount"));
    assert!(lines[2].starts_with("global: pays up to 0.3 (95 % kept, 91 % needed)"), "{lines:?}");
    let unknown = conclusion(&curve(), None);
    assert!(unknown.len() == 1 && unknown[0].contains("another graph"), "{unknown:?}");
    assert!(conclusion(&[], LINES[0].sizes.first()).is_empty());
}

#[test]
fn rows_fit_their_titles() {
    let points = curve();
    let line = |dense: &Point, stock| row(&cells(&points[3], dense, stock));
    assert_eq!(line(&points[0], None).chars().count(), row(&COLUMNS).chars().count());
    assert!(
        line(&points[0], LINES[0].sizes.first()).ends_with("95.0%     90.8%"),
        "{}",
        line(&points[0], LINES[0].sizes.first())
    );
    assert!(line(&points[0], None).ends_with("95.0%         –"));
    assert!(line(&point(DENSE, 0.0, 0.0), None).ends_with("–         –"));
}
