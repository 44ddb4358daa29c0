//! `coco-eval`: pycocotools for boxes, without Python.

use anyhow::{Context, Result};
use yolo_eval::coco::{Detections, GroundTruth, Params, evaluate};

use crate::args::CocoEvalArgs;
use crate::console::Output;
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

/// COCO's sizes are areas of outlines; say so where boxes have to stand in.
pub(crate) fn warn_missing_areas(annotations: &GroundTruth) {
    let count = annotations.missing_areas();
    if count > 0 {
        tracing::warn!(
            "{}: {count} annotations have no area, so that of their box decides whether they are small, medium or large",
            annotations.source().display()
        );
    }
}

/// Detections of categories that the annotations do not have count for nothing; say so.
pub(crate) fn warn_unknown_categories(count: usize) {
    if count > 0 {
        tracing::warn!(
            "{count} detections have a category that the annotations do not have and were left out; \
             check that both files use the same category ids"
        );
    }
}
