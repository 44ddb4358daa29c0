//! From the flags that say which weights go to a pruned checkpoint, with images to look at where they are needed.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use indicatif::ProgressBar;
use yolo_measure::Stopwatch;
use yolo_model::Checkpoint;
use yolo_prune::{
    Allocation, Calibration, CalibrationImages, LatencyBudget, LatencyTable, Limit, Method, Pattern,
    PruneOptions, PrunePlan, Sparsity, Structure, bytes_per_image, permute, permute_calibrated, plan,
    plan_calibrated,
};
use yolo_report::format::bytes;
use yolo_report::results::Milliseconds;
use yolo_train::calibration::{CalibrationOptions, calibration_from_folder, calibration_images};

use crate::args::SelectionArgs;
use crate::console::progress_bar;
use crate::image_size::fitting;

/// What images may take in memory while they run through the network, unless more are asked for.
const MEMORY: usize = 1_500_000_000;
/// Images that are looked at where memory allows more.
const USUAL_IMAGES: usize = 128;
/// Problems of images that are shown one by one.
const SHOWN_PROBLEMS: usize = 5;

/// Puts the flags on top of `recipe`.
pub(crate) fn refine(recipe: &mut PruneOptions, flags: &SelectionArgs) {
    let SelectionArgs { criterion, allocation, repair, .. } = flags;
    if let Some(method) = flags.method {
        recipe.method = method;
        // Parts of another method do not belong to this one.
        (recipe.criterion, recipe.allocation, recipe.repair) = (None, None, None);
    }
    recipe.criterion = criterion.or(recipe.criterion);
    recipe.allocation = allocation.or(recipe.allocation);
    recipe.repair = repair.or(recipe.repair);
    recipe.structure = flags.pattern.unwrap_or(recipe.structure);
    recipe.permute |= flags.permute;
    if let Some(unit) = flags.of {
        (recipe.unit, recipe.at_most_ms) = (unit, None);
    }
    recipe.at_most_ms = flags.at_most_ms.or(recipe.at_most_ms);
    if flags.asks_for_time() && flags.method.is_none() {
        // How much error a millisecond is worth differs from one convolution to the next, and is measured.
        recipe.allocation = recipe.allocation.or(Some(Allocation::Sensitivity));
    }
    recipe.rank = flags.rank.unwrap_or(recipe.rank);
    if !flags.exclude.is_empty() {
        recipe.exclude = patterns(&flags.exclude);
    }
    recipe.min_sparsity = flags.min_sparsity.unwrap_or(recipe.min_sparsity);
    recipe.max_sparsity = flags.max_sparsity.unwrap_or(recipe.max_sparsity);
    for limit in &flags.limit {
        recipe.limits.insert(Pattern::new(&limit.pattern), Limit { least: limit.least, most: limit.most });
    }
    recipe.calibration_images = flags.calibration_images.map_or(recipe.calibration_images, |n| n as usize);
}

/// The pruning that the flags describe, without a recipe: magnitudes are those of the fused network unless images
/// are looked at.
pub(crate) fn options(flags: &SelectionArgs, amount: f64) -> PruneOptions {
    let usual = if flags.calibration.is_some() { Method::Reconstruction } else { Method::Layer };
    let method = flags.method.unwrap_or(usual);
    let mut options = PruneOptions::new(method, amount);
    refine(&mut options, flags);
    options
}

/// What the flags that exclude convolutions say.
pub(crate) fn patterns(texts: &[String]) -> Vec<Pattern> {
    texts.iter().map(Pattern::new).collect()
}

/// The amount of `prune`'s flags; 0 where a time is asked for instead.
pub(crate) fn amount_or_time(given: Option<f64>, flags: &SelectionArgs) -> Result<f64> {
    if flags.at_most_ms.is_some() { Ok(0.0) } else { amount(given, flags.pattern) }
}

/// Checks that an amount was given where the pattern does not decide it, and not where it does.
pub(crate) fn amount(given: Option<f64>, pattern: Option<Structure>) -> Result<f64> {
    match (given, pattern) {
        (None, Some(Structure::NofM { n, m })) => Ok(1.0 - n as f64 / m as f64),
        (Some(amount), Some(Structure::NofM { n, m }))
            if (amount - (1.0 - n as f64 / m as f64)).abs() > 1e-6 =>
        {
            bail!("--pattern {n}:{m} prunes {} of the weights; leave --amount out", 1.0 - n as f64 / m as f64)
        }
        (Some(amount), _) if amount >= 1.0 => {
            bail!("--amount {amount} would leave nothing; it must be from 0 to below 1, as 0.3 for 30 %")
        }
        (Some(amount), _) => Ok(amount),
        (None, _) => bail!("--amount is missing: the fraction that goes, as 0.3 for 30 %"),
    }
}

/// The time that a pruning was asked to meet.
pub(crate) struct Timed {
    stopwatch: Stopwatch,
    pub(crate) table: LatencyTable,
}

/// With a stopwatch, measures the milliseconds of `checkpoint` and sets what is left to it: `at_most`, or what the
/// amount leaves of what it takes now.
pub(crate) fn timed(
    options: &mut PruneOptions,
    at_most: Option<f64>,
    checkpoint: &Checkpoint,
    stopwatch: Option<Stopwatch>,
) -> Result<Option<Timed>> {
    // Other structures are refused by the plan, before which there is nothing to measure.
    let Some(stopwatch) = stopwatch.filter(|_| options.structure == Structure::Unstructured) else {
        return Ok(None);
    };
    let table =
        with_progress(|show| stopwatch.table(checkpoint, &mut |done, total| show("Timing", done, total)))?;
    let now = predicted(&table, checkpoint)?;
    let most = at_most.unwrap_or(now * (1.0 - options.amount));
    if let Some(most) = at_most.filter(|most| *most >= now) {
        tracing::warn!("the network takes {now:.2} ms as it is, so nothing has to go for {most} ms");
    }
    options.amount = (1.0 - most / now.max(f64::MIN_POSITIVE)).max(0.0);
    options.latency = Some(LatencyBudget { table: table.clone(), most });
    Ok(Some(Timed { stopwatch, table }))
}

/// Milliseconds of a network by a table of its times.
fn predicted(table: &LatencyTable, checkpoint: &Checkpoint) -> Result<f64> {
    let sparsity = Sparsity::of(checkpoint)?;
    Ok(table.predict(|name| sparsity.of_conv(name)))
}

impl Timed {
    /// What became of the time.
    pub(crate) fn milliseconds(&self, before: &Checkpoint, after: &Checkpoint) -> Result<Milliseconds> {
        let predicted = [predicted(&self.table, before)?, predicted(&self.table, after)?];
        Ok(self.stopwatch.milliseconds(predicted, before, after)?)
    }
}

/// Where images to look at come from.
pub(crate) enum ImageSource<'a> {
    /// A folder with those below it.
    Folder(&'a Path),
    /// Single files.
    Files(Vec<PathBuf>),
}

/// Loads images to look at.
pub(crate) fn load_images(
    source: &ImageSource,
    wanted: usize,
    checkpoint: &Checkpoint,
    image_size: usize,
) -> Result<CalibrationImages> {
    let per_image = bytes_per_image(&checkpoint.architecture, [image_size; 2]);
    let usual = (MEMORY / per_image.max(1)).clamp(1, USUAL_IMAGES);
    let options = CalibrationOptions {
        max_images: if wanted == 0 { usual } else { wanted },
        image_size,
        stride: checkpoint.architecture.max_stride(),
        workers: yolo_device::loader_threads(None),
    };
    let (images, warnings) = match source {
        ImageSource::Folder(folder) if !folder.is_dir() => {
            bail!("{}: no such folder of images; check --calibration", folder.display())
        }
        ImageSource::Folder(folder) => calibration_from_folder(folder, &options)?,
        ImageSource::Files(files) => calibration_images(files, &options)?,
    };
    for warning in warnings.iter().take(SHOWN_PROBLEMS) {
        tracing::warn!("image left out: {warning}");
    }
    if let Some(more @ 1..) = warnings.len().checked_sub(SHOWN_PROBLEMS) {
        tracing::warn!("and {more} more images left out");
    }
    tracing::info!(
        "looking at {} images, about {} of memory",
        images.len(),
        bytes((images.len() * per_image) as u64)
    );
    Ok(images)
}

/// The images of --calibration, where the options look at some.
pub(crate) fn images(
    flags: &SelectionArgs,
    options: &PruneOptions,
    checkpoint: &Checkpoint,
    image_size: usize,
) -> Result<Option<CalibrationImages>> {
    let Some(folder) = &flags.calibration else {
        if flags.asks_for_time() && options.needs_images() {
            bail!(
                "milliseconds are divided by measured errors, which takes images: give a folder of them with \
                 --calibration, or a method that looks at none, as --method global"
            );
        }
        return Ok(None);
    };
    if !options.needs_images() {
        tracing::warn!("--calibration has no effect: this method looks at no images");
        return Ok(None);
    }
    let wanted = flags.calibration_images.map_or(0, |n| n as usize);
    let size = fitting(image_size, checkpoint.architecture.max_stride());
    load_images(&ImageSource::Folder(folder), wanted, checkpoint, size).map(Some)
}

/// A plan with the checkpoint that it is for: the one given, or that with its channels in another order.
pub(crate) struct Planned {
    pub(crate) dense: Checkpoint,
    pub(crate) plan: PrunePlan,
}

/// Plans a pruning; `images` have to be there where the options need them. With `reorder`, channels first get the
/// order in which n:m loses least.
pub(crate) fn plan_pruning(
    checkpoint: &Checkpoint,
    options: &PruneOptions,
    reorder: bool,
    images: Option<&CalibrationImages>,
    device: &Device,
) -> Result<Planned> {
    let mut bars = Bars::default();
    let mut progress = |what: &'static str, done: usize, total: usize| bars.show(what, done, total);
    let mut calibration = images
        .filter(|_| options.needs_images())
        .map(|images| Calibration::new(images, device, &mut progress));
    let dense = if reorder {
        let (reordered, permuted) = match &mut calibration {
            Some(calibration) => permute_calibrated(checkpoint, options, calibration)?,
            None => permute(checkpoint, options)?,
        };
        let percent = |kept: f64| 100.0 * kept / permuted.total.max(f64::MIN_POSITIVE);
        let (before, after) = (percent(permuted.before), percent(permuted.after));
        tracing::info!("reordered channels: the pattern keeps {after:.1} % of the scores, not {before:.1} %");
        reordered
    } else {
        checkpoint.clone()
    };
    let plan = match &mut calibration {
        Some(calibration) => plan_calibrated(&dense, options, calibration)?,
        None => plan(&dense, options)?,
    };
    Ok(Planned { dense, plan })
}

/// Runs `work` with a bar for every stage of it.
pub(crate) fn with_progress<T>(work: impl FnOnce(&mut dyn FnMut(&'static str, usize, usize)) -> T) -> T {
    let mut bars = Bars::default();
    work(&mut |what, done, total| bars.show(what, done, total))
}

/// A progress bar for one thing after the other.
#[derive(Default)]
struct Bars {
    current: Option<(&'static str, ProgressBar)>,
}

impl Bars {
    fn show(&mut self, what: &'static str, done: usize, total: usize) {
        if self.current.as_ref().is_none_or(|(current, _)| *current != what) {
            self.clear();
            self.current = Some((what, progress_bar(what, total as u64)));
        }
        if let Some((_, bar)) = &self.current {
            bar.set_position(done as u64);
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}
