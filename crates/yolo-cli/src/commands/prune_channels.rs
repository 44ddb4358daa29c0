//! `prune --channels`: remove channels and write the smaller network with its yaml.

use std::path::Path;

use anyhow::{Context, Result};
use yolo_measure::figures::model_figures;
use yolo_model::Checkpoint;
use yolo_prune::channels::{ChannelsRecipe, Criterion};
use yolo_prune::{PruneError, reestimate_batch_norm};
use yolo_report::format::bytes;
use yolo_report::results::SCHEMA;
use yolo_report::verdict::before_measuring;

use crate::args::PruneArgs;
use crate::channels::{self, yaml, yaml_path};
use crate::console::Output;
use crate::device;
use crate::image_size::fitting;
use crate::run_dir::remove;
use crate::selection::{ImageSource, load_images, patterns};
use crate::torch_file;

/// Removes channels of `dense`, which came from the file `source`, prints what happened to each group, and writes the network.
pub(crate) fn run(
    args: &PruneArgs,
    recipe: &ChannelsRecipe,
    dense: &Checkpoint,
    source: &Path,
    output: &Output,
) -> Result<()> {
    let place = || args.weights.display().to_string();
    let yaml_file = yaml_path(&args.out)?;
    let folder = args.selection.calibration.as_deref();
    let usual = if folder.is_some() { Criterion::Taylor } else { Criterion::L1 };
    let recipe = ChannelsRecipe {
        criterion: args.channels.channel_criterion.unwrap_or(usual),
        compensate: folder.is_some(),
        ..recipe.clone()
    };
    let size = fitting(args.imgsz as usize, dense.architecture.max_stride());
    let wanted = args.selection.calibration_images.map_or(0, |n| n as usize);
    let load = |folder| load_images(&ImageSource::Folder(folder), wanted, dense, size);
    let images = folder.map(load).transpose()?;
    let device = device::parse(&args.device)?;
    let exclude = &patterns(&args.selection.exclude);
    let stopwatch = args.stopwatch(recipe.asks_for_time(), dense)?;
    let mut narrowed = channels::prune(dense, &recipe, exclude, images.as_ref(), &device, stopwatch.as_ref())
        .with_context(place)?;
    if let Some(images) = &images {
        // Compensation keeps means; the variances have changed as well.
        let device = device.clone().autodiff();
        let batches = images.tensors(&device).map(Ok::<_, PruneError>);
        let pruned = &mut narrowed.network.pruned;
        *pruned = reestimate_batch_norm(pruned, batches, &device).with_context(place)?;
    }
    let times = narrowed.milliseconds(dense, stopwatch.as_ref())?;
    let pruned = &narrowed.network.pruned;
    let text = yaml(pruned)?;
    torch_file::save(pruned, &args.out, args.half, source)?;
    if let Err(error) = yolo_files::write(&yaml_file, text) {
        // Not one without the other.
        remove(&args.out)?;
        return Err(error).with_context(|| format!("{}: cannot be written", yaml_file.display()));
    }

    for line in narrowed.table(dense).into_iter().chain(narrowed.lines(&recipe)) {
        output.line(line)?;
    }
    if let Some(times) = &times {
        output.line(times.line())?;
    }
    let file_bytes = std::fs::metadata(&args.out)?.len();
    for line in before_measuring(dense, &model_figures(&*pruned.fuse()?, &args.out, file_bytes)?) {
        output.line(line)?;
    }
    output.line(format!(
        "Saved {} ({}) and {}",
        args.out.display(),
        bytes(file_bytes),
        yaml_file.display()
    ))?;
    let mut account = serde_json::json!({
        "schema": SCHEMA,
        "model": model_figures(pruned, &args.out, file_bytes)?,
        "architecture": yaml_file.display().to_string(),
        "channels": {
            "recipe": recipe,
            "before": narrowed.network.before,
            "planned": narrowed.network.predicted,
            "after": narrowed.network.reached,
        },
        "groups": narrowed.network.groups(dense),
    });
    if let Some(times) = times {
        account["milliseconds"] = serde_json::json!(times);
    }
    output.json(&account)
}
