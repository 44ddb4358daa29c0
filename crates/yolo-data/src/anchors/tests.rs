//! The whole check, on labels whose sizes are known.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use yolo_eval::Cxcywh;

use super::*;
use crate::dataset::Label;

/// One image of 400 × 200 pixels per size, with a label of that many pixels of the original.
fn items(sizes_orig: &[[f32; 2]]) -> Vec<Item> {
    let item = |(i, [w, h]): (usize, &[f32; 2])| {
        let bbox_norm = Cxcywh { cx: 0.5, cy: 0.5, w: w / 400.0, h: h / 200.0 };
        let labels = vec![Label { class: 0, bbox_norm, polygon_norm: vec![] }];
        Item { image: PathBuf::from(format!("{i}.jpg")), width: 400, height: 200, labels }
    };
    sizes_orig.iter().enumerate().map(item).collect()
}

fn levels(anchors: [[f32; 2]; 4]) -> Vec<Vec<[f32; 2]>> {
    vec![anchors[..2].to_vec(), anchors[2..].to_vec()]
}

/// Wide and flat labels in four groups, which no square anchor fits.
fn flat_labels() -> Vec<Item> {
    let mut rng = StdRng::seed_from_u64(11);
    let groups = [[60.0, 4.0], [120.0, 9.0], [220.0, 14.0], [360.0, 20.0f32]];
    let near = |size: [f32; 2], rng: &mut StdRng| size.map(|side| side * rng.random_range(0.9..1.1f32));
    let sizes: Vec<[f32; 2]> = (0..200).map(|i| near(groups[i % 4], &mut rng)).collect();
    items(&sizes)
}

const SQUARES: [[f32; 2]; 4] = [[10.0, 10.0], [20.0, 20.0], [60.0, 60.0], [200.0, 200.0]];

#[test]
fn the_fit_counts_sizes_and_anchors() {
    let anchors = [[10.0, 20.0], [40.0, 40.0]];
    let sizes = [
        [10.0, 20.0], // equals the first; the second is 4 times as wide: not below 4
        [11.0, 20.0], // both fit
        [2.5, 20.0],  // exactly a quarter of the first's width: does not fit
        [100.0, 9.0], // too wide for the first, too flat for the second
    ];
    let fit = anchor_fit(&sizes, &anchors, 4.0);
    assert_eq!(fit, AnchorFit { best_possible_recall: 0.5, anchors_above_threshold: 0.75 });
    let swapped = anchor_fit(&[[20.0, 5.0]], &[[5.0, 20.0]], 3.0);
    assert_eq!(swapped, AnchorFit::default(), "width is compared with width");
    assert_eq!(anchor_fit(&[], &anchors, 4.0), AnchorFit::default());
    assert_eq!(anchor_fit(&sizes, &[], 4.0), AnchorFit::default());
    assert_eq!(anchor_fit(&[[0.0, 5.0]], &[[0.0, 5.0]], 4.0), AnchorFit::default());
}

#[test]
fn fitness_is_the_mean_closeness_of_what_fits() {
    // 10/20 of the first, nothing of the second (8 times), 1 of the third.
    let fitness = fitness(&[[10.0, 20.0], [160.0, 20.0], [20.0, 20.0]], &[[20.0, 20.0]], 4.0);
    assert!((fitness - 0.5).abs() < 1e-9, "{fitness}");
}

#[test]
fn label_sizes_are_pixels_of_the_network() {
    let items = items(&[[100.0, 50.0], [4.0, 200.0]]);
    assert_eq!(label_sizes(&items, 800, None), [[200.0, 100.0], [8.0, 400.0]]);
    let jittered = label_sizes(&items, 800, Some(&mut StdRng::seed_from_u64(1)));
    let zooms: Vec<f32> = jittered.iter().zip([200.0, 8.0]).map(|(size, w)| size[0] / w).collect();
    assert!(zooms.iter().all(|zoom| (0.9..1.1).contains(zoom)) && zooms[0] != zooms[1], "{zooms:?}");
    assert!((jittered[0][1] - 100.0 * zooms[0]).abs() < 1e-3, "both sides are zoomed alike");
}

#[test]
fn refinement_never_lowers_the_fitness_and_raises_it_in_the_end() {
    let sizes = label_sizes(&flat_labels(), 640, None);
    let mut rng = StdRng::seed_from_u64(3);
    let mut anchors = vec![[50.0, 50.0], [100.0, 100.0], [300.0, 40.0]];
    let first = fitness(&sizes, &anchors, 4.0);
    let mut last = first;
    for _ in 0..20 {
        anchors = estimate::refine(anchors, &sizes, 4.0, 25, &mut rng);
        let now = fitness(&sizes, &anchors, 4.0);
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    assert!(last > first + 0.05, "{first} to {last}");
}

#[test]
fn estimated_anchors_are_the_clusters_in_order_of_area() {
    let sizes = label_sizes(&flat_labels(), 400, None);
    let estimate = kmeans_anchors(&sizes, 4, 400, 4.0, 200, &mut StdRng::seed_from_u64(0));
    assert_eq!((estimate.origin, estimate.n_tiny), (EstimateOrigin::Clusters, 0));
    for ([w, h], expected) in
        estimate.anchors_px.iter().zip([[60.0, 4.0], [120.0, 9.0], [220.0, 14.0], [360.0, 20.0f32]])
    {
        assert!((w / expected[0] - 1.0).abs() < 0.15 && (h / expected[1] - 1.0).abs() < 0.15, "{w} {h}");
    }
}

#[test]
fn tiny_labels_are_counted_and_the_smallest_left_out() {
    let mut sizes = vec![[1.0, 1.5]; 500];
    sizes.extend([[2.5, 40.0], [50.0, 40.0], [20.0, 60.0]]);
    let estimate = kmeans_anchors(&sizes, 3, 640, 4.0, 0, &mut StdRng::seed_from_u64(0));
    assert_eq!((estimate.n_tiny, estimate.origin), (501, EstimateOrigin::Clusters));
    let smallest = estimate.anchors_px[0];
    assert!((smallest[0] - 2.5).abs() < 1e-3 && (smallest[1] - 40.0).abs() < 1e-3, "{smallest:?}");
}

#[test]
fn sizes_that_are_not_finite_are_left_out() {
    let good = [[10.0, 40.0], [50.0, 40.0], [20.0, 60.0]];
    let bad = [[f32::NAN, 40.0], [f32::INFINITY, 10.0], [10.0, f32::NAN]];
    let estimate =
        |sizes: &[[f32; 2]]| kmeans_anchors(sizes, 3, 640, 4.0, 10, &mut StdRng::seed_from_u64(0)).anchors_px;
    assert_eq!(estimate(&[good, bad].concat()), estimate(&good));
}

#[test]
fn good_anchors_are_kept() {
    let square_labels = items(&[[10.0, 10.0], [25.0, 20.0], [60.0, 60.0], [150.0, 150.0]]);
    let decision = check_anchors(&square_labels, &levels(SQUARES), &[8, 16], 400, 4.0, 0).unwrap();
    let AnchorDecision::Keep(fit) = decision else { panic!("{decision:?}") };
    assert_eq!(fit.best_possible_recall, 1.0);
    assert!(fit.anchors_above_threshold > 1.0);
}

#[test]
fn bad_anchors_are_replaced_in_the_order_of_the_strides() {
    let items = flat_labels();
    let mean_area = |level: &[[f32; 2]]| level.iter().map(|[w, h]| w * h).sum::<f32>() / level.len() as f32;
    for (strides, smallest) in [([8, 16], 0), ([16, 8], 1)] {
        let decision = check_anchors(&items, &levels(SQUARES), &strides, 400, 4.0, 0).unwrap();
        let AnchorDecision::Replace { anchors_px, before, after, estimate } = decision else {
            panic!("{decision:?}")
        };
        assert!(
            before.best_possible_recall < 0.5 && after.best_possible_recall > 0.99,
            "{before:?} {after:?}"
        );
        assert_eq!(anchors_px.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert!(mean_area(&anchors_px[smallest]) < mean_area(&anchors_px[1 - smallest]));
        assert_eq!(anchors_px[smallest], estimate.anchors_px[..2], "ascending within a level");
    }
}

#[test]
fn the_seed_decides() {
    let check = |seed| check_anchors(&flat_labels(), &levels(SQUARES), &[8, 16], 400, 4.0, seed).unwrap();
    assert_eq!(check(5), check(5));
    assert_ne!(check(5), check(6));
}

#[test]
fn unequal_levels_get_their_own_number_of_anchors() {
    let anchors = [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]];
    assert_eq!(into_levels(&anchors, &[1, 2], &[8, 16]), [vec![[1.0, 1.0]], vec![[2.0, 2.0], [3.0, 3.0]]]);
    assert_eq!(into_levels(&anchors, &[1, 2], &[16, 8]), [vec![[3.0, 3.0]], vec![[1.0, 1.0], [2.0, 2.0]]]);
}

#[test]
fn few_or_no_labels_are_handled() {
    let check = |items: &[Item]| check_anchors(items, &levels(SQUARES), &[8, 16], 400, 4.0, 0).unwrap();
    assert_eq!(check(&[]), AnchorDecision::NoLabels);
    let mut background = items(&[[10.0, 10.0]]);
    background[0].labels.clear();
    assert_eq!(check(&background), AnchorDecision::NoLabels);

    for sizes in [&[[300.0, 5.0]][..], &[[300.0, 5.0], [5.0, 150.0]]] {
        match check(&items(sizes)) {
            AnchorDecision::Replace { anchors_px, estimate, before, after } => {
                assert_eq!(estimate.origin, EstimateOrigin::Random);
                assert!(after.best_possible_recall > before.best_possible_recall);
                assert!(anchors_px.concat().iter().flatten().all(|side| side.is_finite() && *side > 0.0));
            }
            AnchorDecision::NoBetter { before, found } => {
                assert!(found.best_possible_recall <= before.best_possible_recall);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn labels_that_nothing_fits_leave_the_anchors() {
    let without_area = items(&[[0.0, 0.0], [0.0, 10.0], [10.0, 0.0]]);
    let decision = check_anchors(&without_area, &levels(SQUARES), &[8, 16], 400, 4.0, 0).unwrap();
    let nothing = AnchorFit::default();
    assert_eq!(decision, AnchorDecision::NoBetter { before: nothing, found: nothing });
}

#[test]
fn invalid_arguments_are_refused() {
    let items = flat_labels();
    let message = |anchors: &[Vec<[f32; 2]>], strides: &[usize], anchor_t| {
        check_anchors(&items, anchors, strides, 400, anchor_t, 0).unwrap_err().to_string()
    };
    assert!(message(&[vec![], vec![]], &[8, 16], 4.0).contains("has none"));
    assert!(message(&levels(SQUARES), &[8], 4.0).contains("2 levels of anchors, but 1 strides"));
    for anchor_t in [1.0, 0.0, f32::NAN, f32::INFINITY] {
        assert!(message(&levels(SQUARES), &[8, 16], anchor_t).contains("anchor_t"));
    }
}
