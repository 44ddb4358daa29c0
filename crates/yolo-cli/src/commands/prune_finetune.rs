//! `prune-finetune`: baseline → pruned → fine-tuned → compared.

mod pruning;

use std::path::Path;

use anyhow::{Context, Result, bail};
use yolo_data::dataset::{Dataset, Split};
use yolo_data::train_loader::CachePlace;
use yolo_detect::convention_of;
use yolo_device::Backend;
use yolo_measure::{MOST_ROUNDS, Stopwatch, figures, in_turns, samples};
use yolo_model::weights::FloatFormat;
use yolo_model::{Checkpoint, FusedCheckpoint};
use yolo_report::comparison::{Account, Stage, lines, page, rows, verdict};
use yolo_report::network::summary_line;
use yolo_report::results::{Milliseconds, PruningSummary, SCHEMA};
use yolo_report::verdict::Verdict;
use yolo_train::finetune::{Finetuned, Finetuning, finetune};
use yolo_train::recipe::Recipe;
use yolo_train::train::{EpochRecord, RunFolder, Setup, TrainOptions, check};
use yolo_train::{Validation, ValidationOptions};

use self::pruning::{Pruned, Pruning};
use crate::args::{OBEYED_WHEN_RESUMED, PruneFinetuneArgs, SelectionArgs, Typed};
use crate::channels::yaml;
use crate::clock::utc_minutes;
use crate::console::{Output, progress_bar};
use crate::image_size::fitted_training;
use crate::measure::{EvaluationSet, check_classes, open_split};
use crate::resolve::{Weights, absolute, absolute_file, absolute_weights, data_config, is_demo};
use crate::run_dir::{FLAGS, RunDir, command_line, read_flags, remove, resumed_run};
use crate::selection::refine;
use crate::torch_file::save_beside;
use crate::training_view::TrainingView;
use crate::{channels, interrupt, presets};

/// The figures of a run, in its folder.
const SUMMARY: &str = "summary.json";

/// Runs all stages and compares them.
pub(crate) fn run(args: &PruneFinetuneArgs, typed: &Typed) -> Result<()> {
    let output = Output::new(args.json);
    let resumed = args.resume.resume.as_deref().map(|run| resumed_run(run, &args.run.project)).transpose()?;
    let flags = match &resumed {
        Some(run) => {
            let saved: PruneFinetuneArgs = read_flags(run, "such a run")?;
            typed.warn_ignored(&portable(args), &saved, &OBEYED_WHEN_RESUMED, run)?;
            PruneFinetuneArgs { compute: args.compute.resuming(saved.compute), json: args.json, ..saved }
        }
        None => args.clone(),
    };
    if let Some(run) = &resumed
        && is_done(run)
    {
        bail!("{}: this run is done; there is nothing to resume", run.display());
    }
    let job = Job::new(&flags, resumed.as_deref(), &output)?;
    let _graceful = interrupt::graceful();
    job.run(&output)
}

/// Everything that the stages need.
struct Job {
    args: PruneFinetuneArgs,
    recipe: Recipe,
    options: TrainOptions,
    validation: ValidationOptions,
    backend: Backend,
    weights: Weights,
    pruned: Checkpoint,
    pruning: Pruning,
    /// What a time that was asked for became.
    times: Option<Milliseconds>,
    train: Dataset,
    evaluation_set: EvaluationSet,
    run: RunDir,
    resumed: bool,
}

impl Job {
    fn new(args: &PruneFinetuneArgs, resumed: Option<&Path>, output: &Output) -> Result<Self> {
        let backend = args.compute.backend()?;
        let recipe = recipe(args)?;
        let mut weights = Weights::load(&args.weights, args.compute.offline)?;
        if weights.checkpoint.architecture.fused {
            bail!(
                "{}: its batch normalisation is folded in, so it cannot be fine-tuned; use the weights from before",
                weights.path.display()
            );
        }
        output.line(summary_line(&weights.checkpoint.fuse()?.architecture))?;
        backend.sharing().map_or(Ok(()), |sharing| output.line(sharing))?;
        let config = data_config(&args.dataset.data)?;
        let coco = args.dataset.coco_options()?;
        let open = |split| open_split(&config, split, args.compute.no_cache, coco.category_map.as_ref());
        let (train, val) = (open(Split::Train)?, open(Split::Val)?);
        train.check_trainable()?;
        check_classes(&weights.checkpoint, &weights.path, &val, &args.dataset.data, false)?;
        let options = train_options(args, &recipe, &weights.checkpoint)?;
        check(&weights.checkpoint.architecture, &train, &options)?;
        // Masks of a resumed run have to be those that it began with, by the times that it measured.
        let is_anew = args.compute.no_cache && resumed.is_none();
        let stopwatch = recipe
            .prune
            .asks_for_time()
            .then(|| Stopwatch::new(args.selection.threads, options.image_size, is_anew));
        // Before anything is measured or written: a pattern that matches nothing is refused at once.
        let Pruned { dense, pruned, pruning, times } = pruning::prune(
            args,
            &recipe,
            &weights,
            &train,
            options.image_size,
            &backend.device,
            stopwatch.transpose()?,
        )?;
        weights.checkpoint = dense;
        let convention = convention_of(&weights.checkpoint.architecture);
        let usual = ValidationOptions::by(convention, options.image_size);
        let validation = ValidationOptions {
            batch_size: options.batch_size,
            nms: args.thresholds.nms(usual.nms),
            workers: options.workers,
            ..usual
        };
        let evaluation_set = EvaluationSet::new(val, &coco.of(&weights.checkpoint))?;
        let run = match resumed {
            Some(folder) => RunDir::reopen(folder),
            None => RunDir::create(&args.run)?,
        };
        Ok(Self {
            args: args.clone(),
            recipe,
            options,
            validation,
            backend,
            weights,
            pruned,
            pruning,
            times,
            train,
            evaluation_set,
            run,
            resumed: resumed.is_some(),
        })
    }

    fn run(self, output: &Output) -> Result<()> {
        if !self.resumed {
            remove_leftovers(self.run.path())?;
        }
        self.run.write(FLAGS, serde_saphyr::to_string(&portable(&self.args))?.as_bytes())?;
        self.run.write("recipe.yaml", serde_saphyr::to_string(&self.recipe)?.as_bytes())?;
        let folder = RunFolder::create(self.run.path())?;
        let dense = &self.weights.checkpoint;
        let baseline = self.stage("baseline", dense, &self.weights.path, self.weights.file_bytes, output)?;

        self.stop_if_asked()?;
        let pruned = &self.pruned;
        for line in self.pruning.lines(pruned)?.into_iter().chain(self.times.as_ref().map(Milliseconds::line))
        {
            output.line(line)?;
        }
        let pruned_file = self.run.path().join("weights/pruned.safetensors");
        let file_bytes = save(pruned, &pruned_file)?;
        let pruned_stage = self.stage("pruned", pruned, &pruned_file, file_bytes, output)?;

        self.stop_if_asked()?;
        let masks = self.pruning.masks();
        let backend = &self.backend;
        let compile = |checkpoint: FusedCheckpoint<'_>| backend.steady_detector(checkpoint);
        let (train, val) = (&self.train, &self.evaluation_set.dataset);
        let setup = Setup::new(train, val, &backend.device, &self.options, &self.validation, &compile);
        let finetuning = Finetuning {
            dense,
            pruned,
            masks: &masks,
            pruned_fitness: pruned_stage.1.native.fitness(),
            recipe: &self.recipe,
            setup: Setup { other_devices: &backend.other_devices, ..setup },
            folder: &folder,
        };
        let n_statistics = self.recipe.finetune.reestimate_images.min(self.train.items.len());
        let n_val = self.evaluation_set.dataset.items.len();
        let loss_terms = self.weights.checkpoint.architecture.head().loss_terms();
        let mut view = TrainingView::new(output, loss_terms, self.options.epochs, n_val)
            .of_finetuning(self.options.distillation.is_some(), n_statistics);
        let outcome = finetune(&finetuning, &mut view);
        drop(view);
        let place = self.run.path().display().to_string();
        let Some(finetuned) = outcome.with_context(|| place.clone())? else {
            bail!("interrupted and saved; `yolo-cli prune-finetune --resume {place}` continues it");
        };
        let file = self.run.path().join("weights/finetuned.safetensors");
        let file_bytes = save(&finetuned.checkpoint, &file)?;
        output.line(format!("Kept: {}", finetuned.choice))?;
        output.line(self.pruning.proof(pruned, &finetuned, &file)?)?;
        if self.pruning.is_smaller() {
            self.run.write("weights/finetuned.yaml", yaml(&finetuned.checkpoint)?.as_bytes())?;
        }
        if self.args.save.save_pt {
            let file = save_beside(&file, &self.options.hyp, self.options.image_size)?;
            output.line(format!("For YOLOv5: {}", file.display()))?;
        }
        let last = self.stage("finetuned", &finetuned.checkpoint, &file, file_bytes, output)?;
        let (mut stages, validations): (Vec<_>, Vec<_>) = [baseline, pruned_stage, last].into_iter().unzip();
        self.time(&mut stages, [dense, pruned, &finetuned.checkpoint])?;
        self.finish(&stages, &validations, &finetuned, &folder, output)
    }

    /// Ends the run between two stages after Ctrl-C; what they measured is measured again when it is resumed.
    fn stop_if_asked(&self) -> Result<()> {
        if interrupt::requested() {
            bail!(
                "interrupted; `yolo-cli prune-finetune --resume {}` continues it",
                self.run.path().display()
            );
        }
        Ok(())
    }

    /// Measures the network of a stage and prints its figures.
    fn stage(
        &self,
        name: &str,
        checkpoint: &Checkpoint,
        file: &Path,
        file_bytes: u64,
        output: &Output,
    ) -> Result<(Stage, Validation)> {
        let network = checkpoint.fuse()?;
        let measurement = self
            .evaluation_set
            .measure(&network, &self.backend, &self.validation)
            .with_context(|| file.display().to_string())?;
        for line in figures::class_table(&measurement.validation, &network.class_names, false) {
            output.line(line)?;
        }
        let image_size = self.validation.image_size;
        let stage = figures::stage(name, &network, (file, file_bytes), image_size, &measurement)?;
        Ok((stage, measurement.validation))
    }

    /// Measures the networks of all stages in turns: while they were validated, images were loaded on the same cores.
    fn time(&self, stages: &mut [Stage], networks: [&Checkpoint; 3]) -> Result<()> {
        let networks = networks.into_iter().map(Checkpoint::fuse).collect::<Result<Vec<_>, _>>()?;
        let detectors = networks.into_iter().map(|network| self.backend.detector(network));
        let detectors = detectors.collect::<Result<Vec<_>, _>>()?;
        let bar = progress_bar("Timing", MOST_ROUNDS as u64);
        let progress = |rounds| bar.set_position(rounds as u64);
        let times = in_turns(&detectors, self.validation.image_size, progress);
        bar.finish_and_clear();
        let times = times?;
        for (stage, turns) in stages.iter_mut().zip(times) {
            stage.figures.speed_ms.inference = turns.median;
            stage.figures.turns = Some(turns);
        }
        Ok(())
    }

    /// Table, `summary.json`, `report.html`, and what to do next.
    fn finish(
        &self,
        stages: &[Stage],
        validations: &[Validation],
        finetuned: &Finetuned,
        folder: &RunFolder,
        output: &Output,
    ) -> Result<()> {
        output.line("")?;
        let rows = rows(stages);
        for line in lines(stages, &rows) {
            output.line(line)?;
        }
        let verdict = verdict(stages, &self.weights.checkpoint, &self.args.latency);
        output.line("")?;
        for line in verdict.iter().flat_map(Verdict::sentences) {
            output.line(line)?;
        }
        let history = &finetuned.state.progress.history;
        let summary = PruningSummary {
            schema: SCHEMA,
            stages: stages.iter().map(|stage| stage.figures.clone()).collect(),
            verdict: verdict.clone(),
            recipe: serde_json::to_value(&self.recipe)?,
            kept: finetuned.choice.to_string(),
            epochs: serde_json::to_value(history)?,
            milliseconds: self.times.clone(),
        };
        self.run.write(SUMMARY, serde_json::to_string_pretty(&summary)?.as_bytes())?;
        let account = self.account(finetuned, verdict);
        let conv_weights = stages.first().map_or(0, |stage| stage.figures.model.conv_weights);
        let history = history.iter().map(|record| figures::epoch(record, conv_weights)).collect();
        let samples = samples(&self.evaluation_set.dataset, validations);
        let page = page(account, stages, rows, history, samples);
        let page = self.run.write("report.html", page.as_bytes())?;
        // A resumed run would begin with it; nothing is left to be done.
        remove(&folder.state())?;
        output.line("")?;
        output
            .line(format!("Weights: {}", self.run.path().join("weights/finetuned.safetensors").display()))?;
        output.line(format!("Report:  {}", page.display()))?;
        if is_demo(&self.args.dataset.data) {
            output.line("Next:    yolo-cli prune-finetune --weights yolov5n --data coco128 --amount 0.5")?;
            output.line("         (cargo xtask fetch-coco128 downloads the images)")?;
        }
        output.json(&summary)
    }

    fn account(&self, finetuned: &Finetuned, verdict: Option<Verdict>) -> Account {
        let name = self.weights.path.file_stem().unwrap_or_default().to_string_lossy();
        let mut notes = vec![format!("Kept: {}.", finetuned.choice)];
        notes.push(format!(
            "{} images to learn from, {} to measure on; the best epoch was chosen on the latter.",
            self.train.items.len(),
            self.evaluation_set.dataset.items.len()
        ));
        if !self.pruning.is_smaller() && !self.backend.skips_zeros() {
            notes.push(
                "Times are those of a back end that computes with zeros as with other numbers.".to_owned(),
            );
        }
        let history: &[EpochRecord] = &finetuned.state.progress.history;
        notes.push(format!("{} epochs of fine-tuning.", history.len()));
        Account {
            title: format!("{name}, {}", self.pruning.title()),
            subtitle: format!(
                "{} on {}, {} px, {}",
                self.weights.path.display(),
                self.args.dataset.data.display(),
                self.options.image_size,
                self.args.compute.device
            ),
            command: command_line(),
            created: utc_minutes(),
            verdict,
            notes,
        }
    }
}

/// Writes a checkpoint in half precision where that loses nothing; the size of the file.
fn save(checkpoint: &Checkpoint, file: &Path) -> Result<u64> {
    checkpoint.save(file, FloatFormat::lossless_for(&checkpoint.weights))?;
    Ok(std::fs::metadata(file).with_context(|| file.display().to_string())?.len())
}

/// Whether the run in `folder` came to its end: its figures are there, and no state to resume.
fn is_done(folder: &Path) -> bool {
    folder.join(SUMMARY).is_file() && !folder.join(RunFolder::STATE).is_file()
}

/// Removes what an earlier run in `folder` would be resumed from, or be called done by.
fn remove_leftovers(folder: &Path) -> Result<()> {
    [RunFolder::STATE, SUMMARY].iter().try_for_each(|name| remove(&folder.join(name)))
}

/// The flags with paths that mean the same from every folder.
fn portable(args: &PruneFinetuneArgs) -> PruneFinetuneArgs {
    let text = |name: &Option<String>| name.as_deref().map(absolute_file);
    PruneFinetuneArgs {
        weights: absolute_weights(&args.weights),
        dataset: args.dataset.portable(),
        selection: SelectionArgs {
            calibration: args.selection.calibration.as_deref().map(absolute),
            ..args.selection.clone()
        },
        recipe: text(&args.recipe),
        hyp: text(&args.hyp),
        ..args.clone()
    }
}

/// The recipe with the flags on top.
fn recipe(args: &PruneFinetuneArgs) -> Result<Recipe> {
    let is_demo = is_demo(&args.dataset.data);
    let usual = match (is_demo, args.channels.is_asked()) {
        (true, true) => presets::DEMO_CHANNELS,
        (true, false) => presets::DEMO,
        (false, true) => "channels-50",
        (false, false) => "default",
    };
    let mut recipe = presets::recipe(args.recipe.as_deref().unwrap_or(usual))?;
    let (prune, finetune) = (&mut recipe.prune, &mut recipe.finetune);
    if let Some(amount) = args.amount {
        (prune.amount, prune.at_most_ms) = (amount, None);
    }
    refine(prune, &args.selection);
    // Weights are asked for by their amount, whatever the recipe does.
    let asks_for_weights = args.amount.is_some() || args.selection.at_most_ms.is_some();
    let channels = prune.channels.take().filter(|_| !asks_for_weights);
    prune.channels = channels::refine(channels, &args.channels)?;
    if let Some(epochs) = args.epochs {
        finetune.epochs = epochs as usize;
        // A schedule that was made for more epochs has to fit the fewer.
        prune.gradual_epochs = prune.gradual_epochs.min(finetune.epochs);
    }
    if let Some(gradual) = args.gradual {
        prune.gradual_epochs = gradual as usize;
    }
    if let Some(hyp) = &args.hyp {
        finetune.hyp.clone_from(hyp);
    }
    if let Some(lr0) = args.lr0 {
        finetune.lr0 = Some(lr0);
    }
    if let Some(batch_size) = args.batch_size {
        finetune.batch_size = batch_size as usize;
    }
    if let Some(image_size) = args.imgsz {
        finetune.image_size = Some(image_size as usize);
    }
    if args.no_distill {
        finetune.distillation = None;
    }
    if args.no_reestimate {
        finetune.reestimate_batch_norm = false;
    }
    if let Err(reason) = recipe.check() {
        bail!("{reason}");
    }
    Ok(recipe)
}

/// The training part of the recipe.
fn train_options(args: &PruneFinetuneArgs, recipe: &Recipe, checkpoint: &Checkpoint) -> Result<TrainOptions> {
    let finetune = &recipe.finetune;
    let family = checkpoint.architecture.head().family();
    let mut hyp = presets::hyperparameters_for(&finetune.hyp, family)?;
    hyp.lr0 = finetune.lr0.unwrap_or(hyp.lr0);
    hyp.warmup_epochs = finetune.warmup_epochs.unwrap_or(hyp.warmup_epochs);
    let wanted = finetune.image_size.unwrap_or(presets::usual_image_size(&args.dataset.data));
    let image_size = fitted_training(wanted, checkpoint.architecture.max_stride());
    let options = TrainOptions {
        hyp,
        nominal_batch_size: finetune.nominal_batch_size,
        rule: finetune.optimizer.unwrap_or_default(),
        decay: finetune.decay,
        freeze: finetune.freeze.clone(),
        freeze_batch_norm: finetune.freeze_batch_norm,
        patience: finetune.patience,
        seed: args.seed,
        workers: args.compute.loader_threads(),
        cache: finetune.cache.then_some(CachePlace::Memory),
        distillation: finetune.distillation,
        amp: args.amp.format(&args.compute.device),
        ..TrainOptions::new(finetune.epochs, finetune.batch_size, image_size)
    };
    if finetune.optimizer.is_some() {
        return Ok(options);
    }
    let mut options = options.with_finetuning_rule(family, checkpoint.architecture.num_classes());
    options.hyp.lr0 = finetune.lr0.unwrap_or(options.hyp.lr0);
    Ok(options)
}
