//! Hand-made cases of the assignment.

use yolo_eval::Xyxy;

use super::*;

fn object(image: usize, [x1, y1, x2, y2]: [f32; 4]) -> Object {
    Object { image, class: 0, bbox_px: Xyxy { x1, y1, x2, y2 } }
}

fn fit(object: usize, cell: usize, score: f32, overlap: f32) -> Fit {
    Fit { object, cell, score, overlap }
}

fn cells(positives: &[Positive]) -> Vec<(usize, usize)> {
    positives.iter().map(|positive| (positive.cell, positive.object)).collect()
}

#[test]
fn candidates_are_the_cells_strictly_inside() {
    let grid = Grid::new(&[8, 16], &[[4, 6], [2, 3]]);
    // Wider than high. Left and right sides run through middles of cells: x = 12 and x = 36, which do not count.
    let found = candidates(&[object(0, [12.0, 2.0, 36.0, 19.0])], &grid, 0.0);
    let expected = [2, 3, 8, 9, 25];
    assert_eq!(found.iter().map(|c| c.cell).collect::<Vec<_>>(), expected);
    assert!(candidates(&[], &grid, 16.0).is_empty());
    // Nothing of a box without corners, which pads a list.
    assert!(candidates(&[object(0, [0.0; 4])], &grid, 16.0).is_empty());
}

#[test]
fn small_sides_are_lengthened_each_on_its_own() {
    let grid = Grid::new(&[8], &[[6, 6]]);
    let of = |bbox, least| -> Vec<usize> {
        candidates(&[object(0, bbox)], &grid, least).iter().map(|c| c.cell).collect()
    };
    // 2 × 2 pixels between the middles of cells: none inside; 16 × 16 about (24, 16) has the four around.
    let tiny = [23.0, 15.0, 25.0, 17.0];
    assert!(of(tiny, 0.0).is_empty());
    assert_eq!(of(tiny, 16.0), [8, 9, 14, 15]);
    // Only the height is short: x from 10 to 40 stays.
    assert_eq!(of([10.0, 15.0, 40.0, 17.0], 16.0), [7, 8, 9, 10, 13, 14, 15, 16]);
    // As long as the limit already.
    let long = [4.0, 4.5, 20.5, 20.5];
    assert_eq!(of(long, 16.0), of(long, 0.0));
}

#[test]
fn the_best_aligned_cells_predict_an_object() {
    let options = AssignerOptions { top: 2, kept: 2 };
    let fits = [fit(0, 3, 0.25, 0.5), fit(0, 4, 0.04, 0.9), fit(0, 5, 0.81, 0.8), fit(0, 6, 1.0, 0.0)];
    let positives = assign(&fits, options);
    // √0.04 · 0.9⁶ = 0.106 and √0.81 · 0.8⁶ = 0.236 are above 0.5 · 0.5⁶.
    assert_eq!(cells(&positives), [(4, 0), (5, 0)]);
    let (a, b) = (0.2 * 0.9f32.powi(6), 0.9 * 0.8f32.powi(6));
    assert!(
        (positives[0].target - a * 0.9 / b).abs() < 1e-6,
        "largest overlap 0.9, alignment that of cell 5"
    );
    assert!((positives[1].target - 0.9).abs() < 1e-6);
    // Fewer candidates than places: all with an alignment, no others.
    assert_eq!(cells(&assign(&fits, AssignerOptions::ONE_TO_MANY)), [(3, 0), (4, 0), (5, 0)]);
    assert!(assign(&[], options).is_empty());
}

#[test]
fn a_contested_cell_goes_to_the_object_that_it_overlaps_most() {
    let options = AssignerOptions { top: 1, kept: 1 };
    // Both take cell 7; object 1 overlaps it more and keeps it, object 0 has nothing left.
    let fits = [fit(0, 7, 0.9, 0.6), fit(1, 7, 0.1, 0.7)];
    assert_eq!(cells(&assign(&fits, options)), [(7, 1)]);
    // Objects 0 and 1 take it, but object 2, which prefers cell 8, overlaps it most.
    let fits = [fit(0, 7, 0.9, 0.6), fit(1, 7, 0.1, 0.7), fit(2, 7, 0.01, 0.8), fit(2, 8, 1.0, 0.8)];
    assert_eq!(cells(&assign(&fits, AssignerOptions { top: 1, kept: 2 })), [(7, 2), (8, 2)]);
    // The first of equal ones.
    let fits = [fit(0, 7, 0.9, 0.6), fit(1, 7, 0.1, 0.6)];
    assert_eq!(cells(&assign(&fits, options)), [(7, 0)]);
    // The same cell number in another image is another cell.
    let fits = [fit(0, 7, 0.9, 0.6), fit(1, 107, 0.1, 0.7)];
    assert_eq!(cells(&assign(&fits, options)), [(7, 0), (107, 1)]);
}

#[test]
fn of_the_cells_left_after_conflicts_the_best_ones_are_kept() {
    let options = AssignerOptions { top: 3, kept: 1 };
    // Object 0's best cell is 1, which object 1 overlaps more; of 2 and 3 it keeps the better.
    let fits = [
        fit(0, 1, 0.9, 0.8),
        fit(0, 2, 0.5, 0.6),
        fit(0, 3, 0.5, 0.7),
        fit(1, 1, 0.3, 0.9),
        fit(1, 4, 0.3, 0.5),
    ];
    let positives = assign(&fits, options);
    assert_eq!(cells(&positives), [(1, 1), (3, 0)]);
    // One cell: its target is its overlap.
    assert!((positives[0].target - 0.9).abs() < 1e-6 && (positives[1].target - 0.7).abs() < 1e-6);
}
