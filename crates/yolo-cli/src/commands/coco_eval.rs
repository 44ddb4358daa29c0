//! `coco-eval`: pycocotools for boxes, without Python.

use anyhow::{Context, Result};
use yolo_eval::coco::{Detections, GroundTruth, Params, evaluate};

use crate::args::CocoEvalArgs;
use crate::console::Output;
use crate::measure::{warn_missing_areas, warn_unknown_categories};
use crate::resolve::check_exists;

/// Evaluates a file of detections and prints the twelve figures.
pub(crate) fn run(args: &CocoEvalArgs) -> Result<()> {
    let output = Output::new(args.json);
    check_exists(&args.annotations, "--annotations")?;
    check_exists(&args.predictions, "--predictions")?;
    let annotations = GroundTruth::read(&args.annotations)?;
    let detections = Detections::read(&args.predictions)?.into_vec();
    warn_missing_areas(&annotations);
    let evaluation = evaluate(&annotations, &detections, &Params::coco())
        .with_context(|| args.predictions.display().to_string())?;
    warn_unknown_categories(evaluation.unknown_category_count);
    let summary = evaluation.summary();
    for line in summary.lines() {
        output.line(line)?;
    }
    output.json(&summary)
}
