//! What is said about networks on both sides of the line.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::published::stocks;

fn stock(name: &str) -> &'static Stock {
    stocks().find(|stock| stock.name == name).unwrap()
}

/// A network that comes from `name`, costs `share` of it and keeps `kept` of its mAP.
fn verdict(name: &str, share: f64, kept: f64) -> Verdict {
    let costs = Costs { stock: Some(stock(name)), dense_gflops: 10.0, nonzero_gflops: 10.0 * share };
    Verdict::of(
        costs,
        Kept { before: 0.5, after: 0.5 * kept, images: 80, ms: [3.0, 3.1], skips_zeros: false },
        &[],
    )
}

fn says(verdict: &Verdict, part: &str) {
    assert!(verdict.sentences().any(|line| line.contains(part)), "{part:?} is not in {verdict:#?}");
}

#[test]
fn pruning_that_pays() {
    let verdict = verdict("yolov5n", 0.5, 0.86);
    assert_eq!(verdict.outcome, Outcome::Pays);
    says(&verdict, "a dense YOLOv5 of 2.2 GFLOPs reaches about 23.0 mAP on COCO");
    says(&verdict, "extrapolated below yolov5n");
    says(&verdict, "keeps 86 % of its mAP on 80 images; of yolov5n's 28.0 that would be 24.1 (an estimate)");
    says(&verdict, "Pruning pays: 1.1 points above");
    assert!(verdict.headline.starts_with("Pruning pays"));
    says(&verdict, "(3.0 ms per image before, 3.1 after)");
}

#[test]
fn a_smaller_released_network_that_is_as_cheap_and_better_is_named() {
    // The published case: yolov5x at 50 % is worse than yolov5s.
    let verdict = verdict("yolov5x", 0.5, 25.1 / 50.7);
    assert_eq!((verdict.outcome, verdict.instead.as_deref()), (Outcome::UseStock, Some("yolov5m")));
    assert!(verdict.headline.starts_with("Use yolov5m instead: 45.4 mAP for 49.0 GFLOPs"));
    // As cheap within a twentieth.
    let verdict = self::verdict("yolov5x", 105.0 / 205.7, 0.95);
    assert_eq!(verdict.instead.as_deref(), Some("yolov5l"));
}

#[test]
fn pruning_that_does_not_pay_without_a_released_network_to_use_instead() {
    let verdict = verdict("yolov5s", 0.6, 0.85);
    assert_eq!(verdict.outcome, Outcome::DoesNotPay);
    says(&verdict, "interpolated between yolov5n and yolov5s");
    says(&verdict, "prune less");
    let verdict = self::verdict("yolov5n", 0.1, 0.1);
    assert_eq!(verdict.outcome, Outcome::DoesNotPay);
}

#[test]
fn equal_is_called_even_and_no_network_is_advised_against_itself() {
    let verdict = verdict("yolov5n", 1.0, 1.0);
    assert_eq!(
        (verdict.outcome, verdict.instead.as_deref(), verdict.extrapolated),
        (Outcome::Even, None, false)
    );
    let verdict = self::verdict("yolov5s", 1.0, 0.999);
    assert_eq!(verdict.outcome, Outcome::Even);
    // More than before is luck on these images, not a better network than the published one.
    let verdict = self::verdict("yolov5s", 1.0, 1.3);
    assert_eq!(verdict.estimated_map, Some(37.4));
    says(&verdict, "has 130 % of its mAP from before on 80 images; that counts as all of yolov5s's 37.4");
}

#[test]
fn without_a_released_network_or_without_detections_only_costs_are_given() {
    let costs = Costs { stock: None, dense_gflops: 1.14, nonzero_gflops: 0.62 };
    let kept = Kept { before: 0.5, after: 0.4, images: 1, ms: [3.0, 3.0], skips_zeros: false };
    let verdict = Verdict::of(costs, kept, &[]);
    assert_eq!((verdict.outcome, verdict.sibling_map), (Outcome::Unknown, None));
    says(&verdict, "0.62 GFLOPs without multiplications by zero, of 1.14 before");
    says(&verdict, "another graph");
    assert_eq!(verdict.headline, "");
    let costs = Costs { stock: Some(stock("yolov5n")), ..costs };
    let verdict = Verdict::of(costs, Kept { before: 0.0, ..kept }, &[]);
    assert_eq!((verdict.outcome, verdict.headline.as_str()), (Outcome::Unknown, ""));
    says(&verdict, "nothing to compare with");
    says(&Verdict::of(costs, kept, &[]), "on 1 image;");
}

#[test]
fn before_measuring_it_says_how_much_has_to_be_kept() {
    let costs = Costs { stock: Some(stock("yolov5n")), dense_gflops: 4.468, nonzero_gflops: 2.234 };
    let verdict = Verdict::unmeasured(costs);
    says(&verdict, "keeps more than 82 % of the mAP");
}

#[test]
fn times_of_released_networks_are_compared_as_well() {
    let times = ["yolov5s=90", "yolov5n=30"].map(|text| text.parse::<StockTime>().unwrap());
    let sentence = |ms, estimate| latency::sentence(&times, ms, estimate).unwrap();
    // Dense arithmetic: as slow as before, and worse.
    assert!(
        sentence(30.0, 24.0)
            .contains("takes 30.0 ms reaches about 28.0 mAP (yolov5n 30.0 ms, yolov5s 90.0 ms)")
    );
    assert!(sentence(30.0, 24.0).ends_with("in time pruning does not pay, by 4.0 points."));
    assert!(sentence(17.0, 27.0).contains(", extrapolated): in time pruning pays"));
    assert!(sentence(30.0, 28.2).contains("about even"));
    assert!(latency::sentence(&times[..1], 30.0, 24.0).is_none());
    let twisted = ["yolov5s=20", "yolov5n=30"].map(|text| text.parse::<StockTime>().unwrap());
    assert!(latency::sentence(&twisted, 30.0, 24.0).is_none());
    for bad in ["yolov5s", "yolov5q=3", "yolov5s=0", "yolov5s=inf", "yolov5s=x"] {
        assert!(bad.parse::<StockTime>().is_err(), "{bad}");
    }
    let costs = Costs { stock: Some(stock("yolov5n")), dense_gflops: 1.0, nonzero_gflops: 0.5 };
    let kept = Kept { before: 0.5, after: 0.45, images: 80, ms: [30.0, 30.0], skips_zeros: false };
    says(&Verdict::of(costs, kept, &times), "Equal time: ");
}
