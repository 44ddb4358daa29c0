//! The example that comes with the program: what a new user runs first.

use crate::support::Case;

#[test]
fn the_first_command_prunes_and_brings_back() {
    let case = Case::empty();
    let outcome = case.run("prune-finetune --epochs 1").ok();
    let summary = case.json("runs/prune-finetune/exp/summary.json");
    let stage = |index: usize| &summary["stages"][index];
    let map50 = |index: usize| stage(index)["native"]["map50"].as_f64().unwrap();
    assert!(map50(0) >= 0.90, "the network that comes with the program finds {} of the shapes", map50(0));
    assert!(map50(1) < 0.8, "half of the weights are not missed: {}", map50(1));
    assert!(map50(2) > map50(1) + 0.1, "an epoch brings back {}", map50(2) - map50(1));
    assert!(stage(0)["coco"]["ap"].as_f64().unwrap() > 0.6, "the drawn images have annotations");
    let pruned = stage(1)["model"]["conv_zeros"].as_u64().unwrap();
    assert_eq!(pruned * 2, stage(1)["model"]["conv_weights"].as_u64().unwrap());
    assert_eq!(stage(2)["model"]["conv_zeros"].as_u64().unwrap(), pruned);
    outcome.shows(&[
        "Report:  runs/prune-finetune/exp/report.html",
        "Next:    yolo-cli prune-finetune --weights yolov5n --data coco128",
    ]);
}
