//! `coco-eval`: pycocotools for boxes, without Python.

use anyhow::{Context, Result};
use yolo_eval::coco::{Detections, GroundTruth, Params, evaluate};

use crate::args::CocoEvalArgs;
use crate::console::Output;
use crate::measure::{warn_about, warn_unknown_categories};
use crate::resolve::check_exists;

/// Evaluates a file of detections and prints the twelve figures.
pub(crate) fn run(args: &CocoEvalArgs) -> Result<()> {
    let output = Output::new(args.json);
    check_exists(&args.annotations, "--annotations")?;
    check_exists(&args.predictions, "--predictions")?;
    let annotations = if args.strict {
        GroundTruth::read_strictly(&args.annotations)?
    } else {
        GroundTruth::read(&args.annotations)?
    };
    let detections = Detections::read_for(&args.predictions, &annotations)?.into_vec();
    let evaluation = evaluate(&annotations, &detections, &Params::coco())
        .with_context(|| args.predictions.display().to_string())?;
    let summary = evaluation.summary();
    for line in summary.lines() {
        output.line(line)?;
    }
    output.json(&summary)?;
    // Behind the figures, where they are seen.
    warn_about(&annotations);
    warn_unknown_categories(evaluation.unknown_category_count);
    Ok(())
}
