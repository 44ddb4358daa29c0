//! Random data sets against hotcoco, an independent implementation: every array has to be equal bit by bit.

use std::path::Path;

use hotcoco::{Annotation as PeerAnnotation, COCO, COCOeval, Dataset, IouType};
use proptest::prelude::*;
use serde_json::json;
use yolo_eval::Ltwh;
use yolo_eval::coco::{
    Annotation, Category, Detection, Evaluation, GroundTruth, ImageInfo, Params, evaluate,
};

/// A data set that provokes ties, bounds and limits.
#[derive(Clone, Debug)]
struct Problem {
    image_ids: Vec<i64>,
    category_ids: Vec<i64>,
    annotations: Vec<Annotation>,
    detections: Vec<Detection>,
}

/// Boxes on a grid of 4, so that overlaps are often exactly equal; some off it, and some of area 0.
fn bbox() -> impl Strategy<Value = Ltwh> {
    let side = prop_oneof![6 => (1..12_i32).prop_map(|v| f64::from(v) * 4.0),
        1 => Just(32.0), 1 => Just(96.0), 1 => Just(0.0), 1 => 1.0..150.0_f64];
    let place = prop_oneof![6 => (0..8_i32).prop_map(|v| f64::from(v) * 4.0), 1 => 0.0..40.0_f64];
    (place.clone(), place, side.clone(), side).prop_map(|(left, top, w, h)| Ltwh { left, top, w, h })
}

fn annotation(images: usize, categories: usize) -> impl Strategy<Value = (usize, usize, Ltwh, f64, bool)> {
    let area =
        prop_oneof![Just(1024.0), Just(9216.0), Just(1024.5), Just(0.0), 1.0..20_000.0_f64, Just(-1.0)];
    (0..images, 0..categories, bbox(), area, prop::bool::weighted(0.2)).prop_map(
        |(i, k, bbox, area, iscrowd)| {
            // -1 stands for the area of the box.
            (i, k, bbox, if area < 0.0 { bbox.w * bbox.h } else { area }, iscrowd)
        },
    )
}

fn detection(images: usize, categories: usize) -> impl Strategy<Value = (usize, usize, Ltwh, f64)> {
    let score = prop_oneof![4 => (0..=10_i32).prop_map(|v| f64::from(v) / 10.0), 1 => 0.0..1.0_f64];
    // Position `categories` is a category that the ground truth does not have.
    let category = prop_oneof![20 => 0..categories, 1 => Just(categories)];
    (0..images, category, bbox(), score)
}

fn problem() -> impl Strategy<Value = Problem> {
    let size = (1..6_usize, 1..4_usize, prop_oneof![4 => Just(60_usize), 1 => Just(700)]);
    size.prop_flat_map(|(images, categories, detections)| {
        let ids = |count| {
            prop::collection::hash_set(1..500_i64, count + 1)
                .prop_map(|ids| ids.into_iter().collect::<Vec<_>>())
        };
        (
            ids(images),
            ids(categories),
            prop::collection::vec(annotation(images, categories), 0..40),
            prop::collection::vec(detection(images, categories), 1..=detections),
            prop::bool::weighted(0.3),
        )
    })
    .prop_map(|(image_ids, category_ids, annotations, detections, jitter)| {
        let annotation =
            |(index, &(i, k, bbox, area, iscrowd)): (usize, &(usize, usize, Ltwh, f64, bool))| {
                let (image_id, category_id) = (image_ids[i], category_ids[k]);
                Annotation { id: index as i64 + 1, image_id, category_id, bbox, area, iscrowd }
            };
        let mut all: Vec<Annotation> = annotations.iter().enumerate().map(annotation).collect();
        if jitter {
            all.reverse();
        }
        let detection = |&(i, k, bbox, score): &(usize, usize, Ltwh, f64)| Detection {
            image_id: image_ids[i],
            category_id: category_ids[k],
            bbox,
            score,
        };
        let detections = detections.iter().map(detection).collect();
        let mut category_ids = category_ids.clone();
        category_ids.pop();
        Problem { image_ids: image_ids.clone(), category_ids, annotations: all, detections }
    })
}

fn ours(problem: &Problem) -> Evaluation {
    let image = |&id: &i64| ImageInfo { id, width: 640, height: 480, file_name: String::new() };
    let category = |&id: &i64| Category { id, name: format!("c{id}") };
    let images = problem.image_ids.iter().map(image).collect();
    let categories = problem.category_ids.iter().map(category).collect();
    let gt = GroundTruth::new("gt.json", images, categories, problem.annotations.clone()).unwrap();
    evaluate(&gt, &problem.detections, &Params::coco()).unwrap()
}

fn peer(problem: &Problem) -> COCOeval {
    let corners = |b: Ltwh| [b.left, b.top, b.w, b.h];
    let images: Vec<_> =
        problem.image_ids.iter().map(|id| json!({"id": id, "width": 640, "height": 480})).collect();
    let categories: Vec<_> = problem.category_ids.iter().map(|id| json!({"id": id, "name": "c"})).collect();
    let annotation = |a: &Annotation| {
        json!({"id": a.id, "image_id": a.image_id, "category_id": a.category_id, "bbox": corners(a.bbox),
            "area": a.area, "iscrowd": u8::from(a.iscrowd)})
    };
    let annotations: Vec<_> = problem.annotations.iter().map(annotation).collect();
    let dataset = json!({"images": images, "categories": categories, "annotations": annotations});
    let dataset: Dataset = serde_json::from_value(dataset).unwrap();
    let detection = |d: &Detection| json!({"image_id": d.image_id, "category_id": d.category_id, "bbox": corners(d.bbox), "score": d.score});
    let detections: Vec<_> = problem.detections.iter().map(detection).collect();
    let detections: Vec<PeerAnnotation> = serde_json::from_value(detections.into()).unwrap();
    let gt = COCO::from_dataset(dataset);
    let dt = gt.load_res_anns(detections).unwrap();
    let mut eval = COCOeval::new(gt, dt, IouType::Bbox);
    eval.run().unwrap();
    eval
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn assert_equal_bits(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differing = (0..found.len()).find(|&i| found[i].to_bits() != expected[i].to_bits());
    if let Some(i) = differing {
        panic!("{what}: value {i} is {:?}, the peer has {:?}", found[i], expected[i]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arrays_and_stats_are_bit_equal_to_hotcoco(problem in problem()) {
        let (found, expected) = (ours(&problem), peer(&problem));
        let arrays = expected.accumulated().unwrap();
        assert_equal_bits(&found.precision, &arrays.precision, "precision");
        assert_equal_bits(&found.recall, &arrays.recall, "recall");
        assert_equal_bits(&found.scores, &arrays.scores, "scores");
        assert_equal_bits(&found.summary().values(), expected.stats().unwrap(), "stats");
        let unknown = problem.detections.iter().filter(|d| !problem.category_ids.contains(&d.category_id)).count();
        prop_assert_eq!(found.unknown_category_count, unknown);
    }

    /// The order of images, categories and of unequal scores does not matter.
    #[test]
    fn order_of_images_and_categories_does_not_matter(problem in problem()) {
        let mut reversed = problem.clone();
        reversed.image_ids.reverse();
        reversed.category_ids.reverse();
        let (a, b) = (ours(&problem), ours(&reversed));
        prop_assert_eq!(bits(&a.precision), bits(&b.precision));
        prop_assert_eq!(bits(&a.scores), bits(&b.scores));
    }
}

#[test]
fn reference_detections_are_bit_equal_to_hotcoco() {
    let (Some(folder), Some(data)) = (crate::shared("reference/yolov5n"), crate::shared("data/coco-tiny"))
    else {
        return;
    };
    let gt_path = data.join("annotations/instances_val2017.json");
    let dt_path = folder.join("predictions-coco-tiny-layer-0.3.json");
    let gt = GroundTruth::read(&gt_path).unwrap();
    let dt = yolo_eval::coco::Detections::read(&dt_path).unwrap();
    let found = evaluate(&gt, &dt, &Params::coco()).unwrap();
    let expected = peer_of_files(&gt_path, &dt_path);
    assert_equal_bits(&found.precision, &expected.accumulated().unwrap().precision, "precision");
    assert_equal_bits(&found.summary().values(), expected.stats().unwrap(), "stats");
}

fn peer_of_files(gt: &Path, dt: &Path) -> COCOeval {
    let gt = COCO::new(gt).unwrap();
    let dt = gt.load_res(dt).unwrap();
    let mut eval = COCOeval::new(gt, dt, IouType::Bbox);
    eval.run().unwrap();
    eval
}
