//! `train`: YOLOv5's `train.py`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::rngs::StdRng;
use yolo_data::anchors::{AnchorDecision, check_anchors, kmeans_anchors, label_sizes};
use yolo_data::dataset::cache::default_cache_dir;
use yolo_data::dataset::{Dataset, Label, Split};
use yolo_data::image::{Encoding, JPEG_QUALITY, encode};
use yolo_data::train_loader::{CachePlace, ImageCache};
use yolo_detect::convention_of;
use yolo_device::Backend;
use yolo_measure::figures::class_table;
use yolo_model::{Architecture, Checkpoint, Family, FusedCheckpoint, Head, NmsOptions};
use yolo_report::network::summary_line;
use yolo_train::ValidationOptions;
use yolo_train::hyper::Hyperparameters;
use yolo_train::masks::Masks;
use yolo_train::schedule::Decay;
use yolo_train::slim::SlimOptions;
use yolo_train::train::{
    EpochRecord, Outcome, RunFolder, Setup, TrainOptions, TrainState, check, follow_class_names, train,
};

use crate::args::{CacheArg, FITTING, OBEYED_WHEN_RESUMED, TrainArgs, Typed};
use crate::console::Output;
use crate::image_size::{fitted_training, fitting_training};
use crate::measure::{CocoOptions, EvaluationSet, open_split, other_names};
use crate::resolve::{Weights, absolute_data, absolute_file, absolute_weights, data_config, model_yaml};
use crate::run_dir::{FLAGS, RunDir, read_flags, remove, resumed_run};
use crate::torch_file::save_beside;
use crate::training_view::{TrainingSheets, TrainingView};
use crate::{batch_size, interrupt, presets};

/// Steps of the search for anchors of another number.
const ANCHOR_GENERATIONS: usize = 1000;

/// Trains, and validates the best epoch at the end.
pub(crate) fn run(args: &TrainArgs, typed: &Typed) -> Result<()> {
    refuse_evolution(args)?;
    args.inert.warn();
    let output = Output::new(false);
    let resumed = args.resume.resume.as_deref().map(|run| resumed_run(run, &args.run.project)).transpose()?;
    let flags = match &resumed {
        Some(run) => {
            let saved: TrainArgs = read_flags(run, "a training run")?;
            typed.warn_ignored(&portable(args), &saved, &OBEYED_WHEN_RESUMED, run)?;
            TrainArgs { compute: args.compute.resuming(saved.compute), ..saved }
        }
        None => args.clone(),
    };
    let args = &flags;
    let backend = args.compute.backend()?;
    let config = data_config(&args.data)?;
    let map = args.categories.read()?;
    let open = |split| open_split(&config, split, args.compute.no_cache, map.as_ref());
    let (train_set, val_set) = (open(Split::Train)?, open(Split::Val)?);
    train_set.check_trainable()?;
    let (run, state, options) = match &resumed {
        Some(run) => resume(args, run, &train_set)?,
        None => start(args, &train_set, &output)?,
    };
    let job = Job { args, options, run, backend, train_set };
    let graceful = interrupt::graceful();
    output.line(summary_line(&state.checkpoint.architecture))?;
    job.backend.sharing().map_or(Ok(()), |sharing| output.line(sharing))?;
    job.fit(state, val_set, graceful, &output)
}

/// A run that is ready to begin or to continue.
struct Job<'a> {
    args: &'a TrainArgs,
    options: TrainOptions,
    run: RunDir,
    backend: Backend,
    train_set: Dataset,
}

/// A run's folder, first state and options.
fn start(
    args: &TrainArgs,
    train_set: &Dataset,
    output: &Output,
) -> Result<(RunDir, TrainState, TrainOptions)> {
    // A name that is not known is refused before anything is read.
    let given = presets::hyperparameters(&args.hyp)?;
    let classes = if args.single_cls { vec!["item".to_owned()] } else { train_set.class_names.clone() };
    let mut checkpoint = first_weights(args, &classes, output)?;
    let mut hyp = match checkpoint.architecture.head().family() {
        Family::Yolov5 => given,
        family => presets::hyperparameters_for(&args.hyp, family)?,
    };
    let n_anchors = hyp.anchors.round() as usize;
    if n_anchors > 0 && n_anchors != checkpoint.architecture.head().rows_per_cell() {
        checkpoint = other_anchors(checkpoint, n_anchors, train_set, args, hyp.anchor_t)?;
    }
    let stride = checkpoint.architecture.max_stride();
    let image_size = fitted_training(args.imgsz as usize, stride);
    if !args.noautoanchor {
        checkpoint = fit_anchors(checkpoint, train_set, image_size, hyp.anchor_t, args.seed, output)?;
    }
    hyp.anchors = 0.0;
    let sized = with_batch_size(args, &checkpoint.architecture, image_size, train_set, output)?;
    let args = &sized;
    let options = options(args, hyp, image_size, (train_set, &checkpoint));
    // Before there is a folder that a refused run would leave behind.
    check(&checkpoint.architecture, train_set, &options)?;
    let masks = Masks::of_zeros(&checkpoint)?;
    if !masks.is_empty() {
        let n = yolo_report::format::thousands(masks.pruned());
        output.line(format!("{n} weights are pruned and stay zero"))?;
    }
    let state = TrainState::new(checkpoint, masks, options.rule)?;
    let run = RunDir::create(&args.run)?;
    remove_leftovers(&run, args)?;
    if !args.noplots {
        run.write("labels.jpg", &labels_picture(train_set, &state.checkpoint.class_names, args.single_cls)?)?;
    }
    run.write(FLAGS, serde_saphyr::to_string(&portable(args))?.as_bytes())?;
    run.write("hyp.yaml", serde_saphyr::to_string(&options.hyp)?.as_bytes())?;
    Ok((run, state, options))
}

/// The flags with a batch size that is a number.
fn with_batch_size(
    args: &TrainArgs,
    architecture: &Architecture,
    image_size: usize,
    train_set: &Dataset,
    output: &Output,
) -> Result<TrainArgs> {
    let mut args = args.clone();
    if args.batch_size == FITTING {
        // A larger batch would only make fewer steps.
        let most = train_set.items.len().min(args.nominal_batch_size as usize);
        let (size, line) = batch_size::fitting(architecture, image_size, &args.compute.device, most)?;
        output.line(line)?;
        args.batch_size = u32::try_from(size)?;
    }
    Ok(args)
}

/// Removes what an earlier run in the same folder left and this one would not write anew.
fn remove_leftovers(run: &RunDir, args: &TrainArgs) -> Result<()> {
    let folder = RunFolder::open(run.path());
    if args.nosave {
        [folder.best(), folder.last(), folder.state()].iter().try_for_each(|file| remove(file))?;
    }
    Ok(())
}

/// Statistics of the labels that are trained on, as JPEG.
fn labels_picture(train_set: &Dataset, class_names: &[String], single_class: bool) -> Result<Vec<u8>> {
    let class = |label: &Label| if single_class { 0 } else { label.class };
    let all = train_set.items.iter().flat_map(|item| &item.labels);
    let labels: Vec<_> = all.map(|label| (class(label), label.bbox_norm)).collect();
    let picture = yolo_report::plots::labels(&labels, class_names).image();
    Ok(encode(&picture, Encoding::Jpeg(JPEG_QUALITY))?)
}

/// The flags with paths that mean the same from every folder.
fn portable(args: &TrainArgs) -> TrainArgs {
    TrainArgs {
        weights: absolute_weights(&args.weights),
        data: absolute_data(&args.data),
        cfg: args.cfg.as_deref().map(absolute_file),
        hyp: absolute_file(&args.hyp),
        categories: args.categories.portable(),
        ..args.clone()
    }
}

fn refuse_evolution(args: &TrainArgs) -> Result<()> {
    if args.evolve.is_some() {
        bail!(
            "--evolve: hyper-parameters are not evolved here; try others with --hyp, and compare methods and amounts of \
             pruning with `yolo-cli sweep`"
        );
    }
    Ok(())
}

fn resume(
    args: &TrainArgs,
    folder: &Path,
    train_set: &Dataset,
) -> Result<(RunDir, TrainState, TrainOptions)> {
    let files = RunFolder::open(folder);
    match (files.state().is_file(), files.last().is_file()) {
        (true, _) => {}
        (false, true) => bail!("{}: this run is done; there is nothing to resume", folder.display()),
        (false, false) => {
            bail!("{}: this run ended before its first batch; start it again", folder.display())
        }
    }
    let state = TrainState::load(&files.state())?;
    let hyp_file = folder.join("hyp.yaml");
    let hyp = presets::hyperparameters(&hyp_file.display().to_string())?;
    let stride = state.checkpoint.architecture.max_stride();
    let image_size = fitting_training(args.imgsz as usize, stride);
    let options = options(args, hyp, image_size, (train_set, &state.checkpoint));
    let at = &state.progress;
    tracing::info!("continuing at epoch {}, batch {}", at.epoch, at.batch_in_epoch);
    Ok((RunDir::reopen(folder), state, options))
}

/// Weights to begin with, for the classes of the data set.
fn first_weights(args: &TrainArgs, classes: &[String], output: &Output) -> Result<Checkpoint> {
    let pretrained = match args.weights.as_os_str().is_empty() {
        true => None,
        false => Some(Weights::load_as(&args.weights, args.compute.offline, args.cfg.as_deref())?),
    };
    let architecture = match (&args.cfg, &pretrained) {
        (Some(cfg), _) => model_yaml(cfg, Some(classes.len()))?,
        (None, Some(weights)) => weights.checkpoint.architecture.clone().with_num_classes(classes.len()),
        (None, None) => bail!("random weights need a network: name one with --cfg, such as --cfg yolov5n"),
    };
    if architecture.fused {
        bail!(
            "{}: its batch normalisation is folded in, so it cannot be trained; use the weights from before",
            args.weights.display()
        );
    }
    let mut rng = StdRng::seed_from_u64(args.seed);
    let mut checkpoint = Checkpoint::random(architecture, &mut rng)?;
    if let Some(Weights { path, checkpoint: source, .. }) = &pretrained {
        let follows_names = source.architecture.head().family() == Family::Ultralytics && !args.single_cls;
        let same_classes =
            source.class_names.len() == classes.len() && (!follows_names || source.class_names == classes);
        if same_classes && args.cfg.is_none() {
            if !args.single_cls
                && let Some(difference) = other_names(&source.class_names, classes)
            {
                tracing::warn!("{} and {}: {difference}", path.display(), args.data.display());
            }
            checkpoint = source.clone();
        } else {
            let fresh = checkpoint.weights.clone();
            let n = checkpoint.transfer_from(source);
            if follows_names {
                follow_class_names(&mut checkpoint, &fresh, source, classes)?;
            }
            let (all, path) = (checkpoint.weights.len(), path.display());
            output.line(format!("Transferred {n} of {all} tensors from {path}"))?;
            // The zeros came along; with the record of the pruning they stay.
            checkpoint.pruning.clone_from(&source.pruning);
        }
    }
    checkpoint.class_names = classes.to_vec();
    Ok(checkpoint)
}

/// The network with `n_anchors` anchors per level, fitted to the data, and a new head for them.
fn other_anchors(
    checkpoint: Checkpoint,
    n_anchors: usize,
    train_set: &Dataset,
    args: &TrainArgs,
    anchor_t: f64,
) -> Result<Checkpoint> {
    let mut rng = StdRng::seed_from_u64(args.seed);
    let levels = checkpoint.architecture.head().strides().len();
    let sizes = label_sizes(&train_set.items, args.imgsz, None);
    let n = levels * n_anchors;
    let estimate = kmeans_anchors(&sizes, n, args.imgsz, anchor_t as f32, ANCHOR_GENERATIONS, &mut rng);
    // Sorted by area, so the finest level has the smallest.
    let anchors = estimate.anchors_px.chunks(n_anchors).map(<[_]>::to_vec).collect();
    let architecture = checkpoint.architecture.clone().with_anchors(anchors);
    let mut other = Checkpoint::random(architecture, &mut rng)?;
    other.transfer_from(&checkpoint);
    other.class_names = checkpoint.class_names;
    other.pruning = checkpoint.pruning;
    Ok(other)
}

fn fit_anchors(
    checkpoint: Checkpoint,
    train_set: &Dataset,
    image_size: usize,
    anchor_t: f64,
    seed: u64,
    output: &Output,
) -> Result<Checkpoint> {
    let Head::AnchorBased(detect) = checkpoint.architecture.head() else { return Ok(checkpoint) };
    let items = &train_set.items;
    let decision =
        check_anchors(items, &detect.anchors, &detect.strides, image_size as u32, anchor_t as f32, seed)?;
    let percent = |share: f64| share * 100.0;
    match decision {
        AnchorDecision::Replace { anchors_px, before, after, .. } => {
            output.line(format!(
                "Anchors: {:.1} % of the objects fit, {:.1} % after fitting them to the data",
                percent(before.best_possible_recall),
                percent(after.best_possible_recall)
            ))?;
            return Ok(checkpoint.with_anchors(anchors_px));
        }
        AnchorDecision::Keep(fit) => {
            output.line(format!("Anchors: {:.1} % of the objects fit", percent(fit.best_possible_recall)))?;
        }
        AnchorDecision::NoBetter { before, .. } => tracing::warn!(
            "the anchors fit only {:.1} % of the objects, and none better were found",
            percent(before.best_possible_recall)
        ),
        AnchorDecision::NoLabels => tracing::warn!("the training images have no labels"),
    }
    Ok(checkpoint)
}

fn options(
    args: &TrainArgs,
    hyp: Hyperparameters,
    image_size: usize,
    (train_set, checkpoint): (&Dataset, &Checkpoint),
) -> TrainOptions {
    let freeze = match args.freeze[..] {
        [first] => (0..first).collect(),
        _ => args.freeze.clone(),
    };
    let options = TrainOptions {
        hyp,
        nominal_batch_size: args.nominal_batch_size as usize,
        rule: args.optimizer.unwrap_or_default(),
        decay: if args.cos_lr { Decay::Cosine } else { Decay::Linear },
        label_smoothing: args.label_smoothing,
        auto_balance: args.autobalance,
        multi_scale: args.multi_scale,
        freeze,
        rect: args.rect,
        single_class: args.single_cls,
        image_weights: args.image_weights,
        patience: args.patience as usize,
        seed: args.seed,
        workers: args.compute.loader_threads(),
        cache: image_cache(args.cache, train_set, image_size),
        save_period: args.save_period as usize,
        save_every_epoch: !args.nosave,
        validate_every_epoch: !args.noval,
        amp: args.amp.format(&args.compute.device),
        slim: args
            .slim
            .map(|fraction| SlimOptions { tolerance: args.slim_tolerance, ..SlimOptions::new(fraction) }),
        ..TrainOptions::new(args.epochs as usize, args.batch_size as usize, image_size)
    };
    match (args.optimizer, checkpoint.architecture.head().family()) {
        (None, Family::Ultralytics) => {
            options.with_automatic_rule(train_set.items.len(), checkpoint.architecture.num_classes())
        }
        _ => options,
    }
}

/// Where decoded images are kept; nowhere, with a warning, if the disk has no room for them.
fn image_cache(cache: CacheArg, train_set: &Dataset, image_size: usize) -> Option<CachePlace> {
    match cache {
        CacheArg::Off => None,
        CacheArg::Ram => Some(CachePlace::Memory),
        CacheArg::Disk => {
            let Some(folder) = default_cache_dir().map(|folder| folder.join("images")) else {
                tracing::warn!("--cache disk has no effect: there is no home folder");
                return None;
            };
            let needed = ImageCache::estimate(&train_set.items, image_size as u32);
            match free_space(&folder) {
                Some(free) if free < needed + needed / 10 => {
                    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
                    tracing::warn!(
                        "--cache disk has no effect: the images take {:.2} GiB, but {} has {:.2} GiB free",
                        gib(needed),
                        folder.display(),
                        gib(free)
                    );
                    None
                }
                _ => Some(CachePlace::Folder(folder)),
            }
        }
    }
}

/// Free bytes on the disk of a folder that may not be there yet; none where it is not known.
fn free_space(folder: &Path) -> Option<u64> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    (yolo_fetch::Options::default().free_space)(existing)
}

impl Job<'_> {
    /// Trains to the end, and measures the best weights.
    fn fit(
        &self,
        mut state: TrainState,
        val_set: Dataset,
        graceful: interrupt::Graceful,
        output: &Output,
    ) -> Result<()> {
        let Self { args, options, run, .. } = self;
        let convention = convention_of(&state.checkpoint.architecture);
        let usual = ValidationOptions::by(convention, options.image_size);
        let validation = ValidationOptions {
            batch_size: options.batch_size * 2,
            nms: NmsOptions { class_agnostic: args.single_cls, ..usual.nms },
            workers: options.workers,
            single_class: args.single_cls,
            ..usual
        };
        let folder = RunFolder::create(run.path())?;
        let compile = |checkpoint: FusedCheckpoint<'_>| self.backend.steady_detector(checkpoint);
        let device = &self.backend.device;
        let setup = Setup {
            other_devices: &self.backend.other_devices,
            folder: Some(&folder),
            ..Setup::new(&self.train_set, &val_set, device, options, &validation, &compile)
        };
        let class_names = state.checkpoint.class_names.clone();
        let sheets = TrainingSheets { run, dataset: &self.train_set, class_names: &class_names };
        let loss_terms = state.checkpoint.architecture.head().loss_terms();
        let mut view = TrainingView::new(output, loss_terms, options.epochs, val_set.items.len())
            .of_slimming(options.slim.is_some())
            .with_sheets((!args.noplots).then_some(sheets));
        let outcome = train(&mut state, &setup, &mut view);
        drop((view, graceful));
        match outcome.with_context(|| run.path().display().to_string())? {
            Outcome::Stopped => {
                bail!(
                    "interrupted and saved; `yolo-cli train --resume {}` continues it",
                    run.path().display()
                )
            }
            Outcome::EarlyStop => output.line(format!(
                "No better result for {} epochs: stopping. --patience 0 turns that off",
                options.patience
            ))?,
            Outcome::Done => {}
        }
        // Without epochs that were saved, the last is what there is, whatever was better before.
        let has_best = folder.best().is_file() && !args.nosave;
        let best = if has_best { folder.best() } else { folder.last() };
        show_best(&best, val_set, self, &validation, output)?;
        if args.save.save_pt {
            let file = save_beside(&best, &options.hyp, options.image_size)?;
            output.line(format!("For YOLOv5: {}", file.display()))?;
        }
        std::fs::remove_file(folder.state()).with_context(|| folder.state().display().to_string())?;
        output.line(format!("Results saved to {}", run.path().display()))?;
        if let (Some(wanted), Some(last)) = (args.slim, state.progress.history.last()) {
            output.line(slimmed(wanted, last, &best))?;
        }
        Ok(())
    }
}

/// What slimming reached, and what to do with it.
fn slimmed(wanted: f64, last: &EpochRecord, best: &Path) -> String {
    let small = last.slim.map_or(0.0, |slim| slim.small);
    let reached = format!("{:.1} % of the channels have a scale of almost zero", 100.0 * small);
    if small < wanted - 0.02 {
        return format!(
            "{reached}, fewer than the {:.0} % asked for: they would have cost too much of the fitness. More epochs, a \
             higher --slim-tolerance or a smaller --slim help",
            100.0 * wanted
        );
    }
    format!(
        "{reached}. Next: yolo-cli prune --weights {} --channels {wanted} --channels-of channels --channel-criterion \
         bn-scale --out slim.safetensors",
        best.display()
    )
}

fn show_best(
    best: &Path,
    val_set: Dataset,
    job: &Job,
    options: &ValidationOptions,
    output: &Output,
) -> Result<()> {
    let checkpoint = Checkpoint::load(best)?;
    let names = checkpoint.class_names.clone();
    let category_map = job.args.categories.read()?;
    let coco = CocoOptions { single_cls: options.single_class, category_map, ..CocoOptions::default() };
    let evaluation_set = EvaluationSet::new(val_set, &coco)?;
    let measurement = evaluation_set.measure(&checkpoint.fuse()?, &job.backend, options)?;
    output.line(format!("Best weights: {}", best.display()))?;
    for line in class_table(&measurement.validation, &names, names.len() > 1) {
        output.line(line)?;
    }
    for line in measurement.coco.iter().flat_map(yolo_eval::coco::Summary::lines) {
        output.line(line)?;
    }
    Ok(())
}
