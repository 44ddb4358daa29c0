//! Whole evaluations that are small enough to check by hand.
#![allow(clippy::unwrap_used)]

use super::*;

fn ground_truth(annotations: Vec<Annotation>) -> GroundTruth {
    let image = |id| ImageInfo { id, width: 640, height: 480, file_name: format!("{id}.jpg") };
    let category = |id: i64| Category { id, name: format!("c{id}") };
    GroundTruth::new("gt.json", vec![image(1), image(2)], vec![category(1), category(3)], annotations)
        .unwrap()
}

fn annotation(id: i64, image_id: i64, left: f64) -> Annotation {
    let bbox = Ltwh { left, top: 10.0, w: 40.0, h: 50.0 };
    Annotation { id, image_id, category_id: 1, bbox, area: 2000.0, iscrowd: false }
}

fn detection(image_id: i64, left: f64, score: f64) -> Detection {
    let bbox = Ltwh { left, top: 10.0, w: 40.0, h: 50.0 };
    Detection { image_id, category_id: 1, bbox, score }
}

#[test]
fn an_annotation_with_id_0_counts() {
    let gt = ground_truth(vec![annotation(0, 1, 100.0)]);
    let summary = evaluate(&gt, &[detection(1, 100.0, 0.9)], &Params::coco()).unwrap().summary();
    assert_eq!(summary.ap, 0.999_999_999_999_999_8);
    assert_eq!((summary.ap_small, summary.ap_medium, summary.ap_large), (-1.0, summary.ap, -1.0));
    assert_eq!((summary.ar1, summary.ar_medium), (1.0, 1.0));
}

#[test]
fn no_detections_give_zeros_and_no_ground_truth_gives_minus_one() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0)]);
    let summary = evaluate(&gt, &[], &Params::coco()).unwrap().summary();
    assert_eq!((summary.ap, summary.ar100, summary.ap_small), (0.0, 0.0, -1.0));
    let nothing = evaluate(&ground_truth(vec![]), &[detection(1, 0.0, 0.5)], &Params::coco()).unwrap();
    assert_eq!(nothing.summary().values(), [-1.0; 12]);
}

#[test]
fn half_of_the_objects_found_is_half_of_the_recall() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0), annotation(2, 2, 300.0)]);
    let evaluation = evaluate(&gt, &[detection(2, 300.0, 0.9)], &Params::coco()).unwrap();
    let summary = evaluation.summary();
    // 51 of the 101 recall values are reached.
    assert!((summary.ap - 51.0 / 101.0).abs() < 1e-12);
    assert_eq!(summary.ar100, 0.5);
    assert_eq!(evaluation.category_ids, [1, 3]);
    assert!((evaluation.category_ap(0).unwrap() - summary.ap).abs() < 1e-12);
    assert_eq!(evaluation.category_ap_at(0, 0.5).map(|ap| (ap * 101.0).round()), Some(51.0));
    assert_eq!((evaluation.category_ap(1), evaluation.category_ap(2)), (None, None));
}

#[test]
fn only_the_wanted_images_are_evaluated() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0), annotation(2, 2, 300.0)]);
    let params = Params { image_ids: Some(vec![2, 2]), ..Params::coco() };
    let dt = [detection(2, 300.0, 0.9), detection(1, 300.0, 0.95)];
    let evaluation = evaluate(&gt, &dt, &params).unwrap();
    assert_eq!(evaluation.image_ids, [2]);
    assert_eq!(evaluation.summary().ar1, 1.0);
    let params = Params { image_ids: Some(vec![2, 44]), ..Params::coco() };
    let text = evaluate(&gt, &dt, &params).unwrap_err().to_string();
    assert!(text.contains("gt.json") && text.contains("44"), "{text}");
}

#[test]
fn headline_numbers_use_the_largest_limit() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0)]);
    let dt = [detection(1, 400.0, 0.9), detection(1, 100.0, 0.8)];
    let params = Params { max_dets: [2, 1, 1], ..Params::coco() };
    let evaluation = evaluate(&gt, &dt, &params).unwrap();
    assert_eq!(evaluation.params.max_dets, [1, 1, 2]);
    let summary = evaluation.summary();
    assert_eq!((summary.ar1, summary.ar100, summary.ap50), (0.0, 1.0, 0.5));
    assert!(summary.lines_for(&params)[0].contains("maxDets=  2 ] = 0.500"));
}

#[test]
fn detections_of_unknown_categories_are_counted() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0)]);
    let stray = Detection { category_id: 2, ..detection(1, 100.0, 0.9) };
    let evaluation = evaluate(&gt, &[stray, stray, detection(1, 100.0, 0.8)], &Params::coco()).unwrap();
    assert_eq!(evaluation.unknown_category_count, 2);
    assert_eq!(evaluation.summary().ar1, 1.0);
}

#[test]
fn detections_that_cannot_be_evaluated_are_errors() {
    let gt = ground_truth(vec![annotation(1, 1, 100.0)]);
    let dt = [detection(1, 0.0, 0.5), detection(7, 0.0, 0.5), detection(9, 0.0, 0.5)];
    let text = evaluate(&gt, &dt, &Params::coco()).unwrap_err().to_string();
    assert!(text.contains("7, 9") && text.contains("gt.json"), "{text}");
    let text = evaluate(&gt, &[detection(1, 0.0, f64::NAN)], &Params::coco()).unwrap_err().to_string();
    assert!(text.contains("entry 0") && text.contains("NaN"), "{text}");
    let text = evaluate(&gt, &[detection(1, f64::INFINITY, 0.5)], &Params::coco()).unwrap_err().to_string();
    assert!(text.contains("entry 0") && text.contains("finite"), "{text}");
}

#[test]
fn detections_like_val_are_rounded() {
    let d = Detection::like_val(5, 18, Xyxy::new(10.000_4, 20.0, 30.0, 60.123_46), 0.876_543_2);
    let bbox = Ltwh { left: 10.0, top: 20.0, w: 20.0, h: 40.123 };
    assert_eq!(d, Detection { image_id: 5, category_id: 18, bbox, score: 0.87654 });
}
