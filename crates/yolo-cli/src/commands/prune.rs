//! `prune`: set the smallest weights to zero and write the result.

use anyhow::{Context, Result, bail};
use yolo_measure::figures::{layers_json, model_figures, pruning_line};
use yolo_prune::{LatencyTable, PrunePlan, Sparsity, apply};
use yolo_report::format::{bytes, thousands};
use yolo_report::results::SCHEMA;
use yolo_report::verdict::before_measuring;

use crate::args::PruneArgs;
use crate::channels;
use crate::console::Output;
use crate::device;
use crate::resolve::{Weights, is_same_file};
use crate::selection::{self, Planned, plan_pruning};
use crate::torch_file;

/// Prunes a checkpoint, prints what happened to each convolution, and writes it.
pub(crate) fn run(args: &PruneArgs) -> Result<()> {
    torch_file::FileFormat::of(&args.out)?;
    let output = Output::new(args.json);
    let weights = Weights::load(&args.weights, args.offline)?;
    if is_same_file(&args.out, &weights.path) {
        bail!(
            "{}: --out is the checkpoint that is pruned; input files are never changed",
            args.out.display()
        );
    }
    let (path, dense) = (weights.path, weights.checkpoint);
    let dense = if args.fuse { dense.into_fused()?.into_checkpoint() } else { dense };
    if let Some(like) = &args.like {
        return super::prune_like::run(args, like, &dense, &path, &output);
    }
    if let Some(recipe) = channels::refine(None, &args.channels)? {
        return super::prune_channels::run(args, &recipe, &dense, &path, &output);
    }
    let amount = selection::amount_or_time(args.amount, &args.selection)?;
    let mut options = selection::options(&args.selection, amount);
    let place = || path.display().to_string();
    let images = selection::images(&args.selection, &options, &dense, args.imgsz as usize)?;
    let stopwatch = args.stopwatch(options.asks_for_time(), &dense)?;
    let timed = selection::timed(&mut options, args.selection.at_most_ms, &dense, stopwatch)?;
    let device = device::parse(&args.device)?;
    let Planned { dense, plan } =
        plan_pruning(&dense, &options, args.selection.permute, images.as_ref(), &device)
            .with_context(place)?;
    let pruned = apply(&dense, &plan)?;
    let times = timed.as_ref().map(|timed| timed.milliseconds(&dense, &pruned)).transpose()?;
    torch_file::save(&pruned, &args.out, args.half, &path)?;

    let sparsity = Sparsity::of(&pruned)?;
    print_layers(&output, &plan, &sparsity, timed.as_ref().map(|timed| &timed.table))?;
    output.line(pruning_line(&plan, &sparsity))?;
    if let Some(times) = &times {
        output.line(times.line())?;
    }
    let size = std::fs::metadata(&args.out)?.len();
    for line in before_measuring(&dense, &model_figures(&*pruned.fuse()?, &args.out, size)?) {
        output.line(line)?;
    }
    output.line(format!("Saved {} ({})", args.out.display(), bytes(size)))?;
    let mut account = serde_json::json!({
        "schema": SCHEMA,
        "model": model_figures(&pruned, &args.out, size)?,
        "layers": layers_json(&sparsity),
        "skipped": plan.skipped.iter().map(|s| serde_json::json!({"tensor": s.tensor, "reason": s.reason})).collect::<Vec<_>>(),
    });
    if let Some(times) = times {
        account["milliseconds"] = serde_json::json!(times);
    }
    output.json(&account)
}

fn print_layers(
    output: &Output,
    plan: &PrunePlan,
    sparsity: &Sparsity,
    times: Option<&LatencyTable>,
) -> Result<()> {
    let title = if times.is_some() { format!("{:>10}{:>10}", "ms before", "after") } else { String::new() };
    output.line(format!(
        "{:<22}{:>18}{:>12}{:>12}{:>10}{title}",
        "convolution", "shape", "weights", "zeros", "sparsity"
    ))?;
    for layer in &sparsity.layers {
        let skipped = plan.skipped.iter().find(|s| s.tensor.starts_with(&format!("{}.", layer.name)));
        let times = match times {
            Some(times) => {
                let [before, after] = [0.0, layer.fraction()].map(|zeros| times.conv(&layer.name, zeros));
                format!("{:>10.3}{:>10.3}", before?, after?)
            }
            None => String::new(),
        };
        output.line(format!(
            "{:<22}{:>18}{:>12}{:>12}{:>10.3}{times}{}",
            layer.name,
            shape(layer.shape),
            thousands(layer.weights),
            thousands(layer.zeros),
            layer.fraction(),
            skipped.map(|s| format!("  {}", s.reason)).unwrap_or_default(),
        ))?;
    }
    let is_listed =
        |tensor: &str| sparsity.layers.iter().any(|layer| tensor.starts_with(&format!("{}.", layer.name)));
    for other in plan.skipped.iter().filter(|skipped| !is_listed(&skipped.tensor)) {
        output.line(format!("{} was left as it is: {}", other.tensor, other.reason))?;
    }
    Ok(())
}

/// `out×in×height×width`.
pub(crate) fn shape(shape: [usize; 4]) -> String {
    shape.map(|n| n.to_string()).join("×")
}
