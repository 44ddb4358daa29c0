//! A training run as seen in the terminal: a bar with the losses while an epoch runs, a row when it is done.

use std::collections::HashSet;

use indicatif::ProgressBar;
use yolo_data::dataset::Dataset;
use yolo_data::train_loader::TrainBatch;
use yolo_measure::batch_sheets::{DRAWN, training_sheet};
use yolo_model::LossTerm;
use yolo_report::format::general;
use yolo_report::table::{EpochColumns, EpochRow};
use yolo_train::train::{BatchReport, EpochRecord, Observer};

use crate::console::{Output, progress_bar};
use crate::interrupt;
use crate::run_dir::RunDir;

/// Where pictures of the first batches go, and what is on them.
pub(crate) struct TrainingSheets<'a> {
    pub(crate) run: &'a RunDir,
    pub(crate) dataset: &'a Dataset,
    pub(crate) class_names: &'a [String],
}

impl TrainingSheets<'_> {
    fn write(&self, number: usize, batch: &TrainBatch) -> anyhow::Result<()> {
        if let Some(jpeg) = training_sheet(batch, self.dataset, self.class_names)? {
            self.run.write(&format!("train_batch{number}.jpg"), &jpeg)?;
        }
        Ok(())
    }
}

/// Shows a run.
pub(crate) struct TrainingView<'a> {
    output: &'a Output,
    epochs: usize,
    val_images: usize,
    /// Images that batch statistics are measured on.
    statistics_images: usize,
    columns: EpochColumns,
    bar: Option<ProgressBar>,
    /// What the bar is about.
    step: &'static str,
    has_header: bool,
    sheets: Option<TrainingSheets<'a>>,
    warned: HashSet<String>,
}

impl<'a> TrainingView<'a> {
    pub(crate) fn new(
        output: &'a Output,
        loss_terms: &'static [LossTerm],
        epochs: usize,
        val_images: usize,
    ) -> Self {
        Self {
            output,
            epochs,
            val_images,
            statistics_images: 0,
            columns: EpochColumns { loss_terms, ..EpochColumns::default() },
            bar: None,
            step: "",
            has_header: false,
            sheets: None,
            warned: HashSet::new(),
        }
    }

    /// For fine-tuning: with a teacher or without, and with statistics that are measured on this many images.
    pub(crate) fn of_finetuning(mut self, with_distillation: bool, statistics_images: usize) -> Self {
        self.columns.distillation = with_distillation;
        self.statistics_images = statistics_images;
        self
    }

    /// For a run that drives scales to zero.
    pub(crate) fn of_slimming(mut self, slims: bool) -> Self {
        self.columns.slimming = slims;
        self
    }

    /// With pictures of the first batches in the folder of the run.
    pub(crate) fn with_sheets(mut self, sheets: Option<TrainingSheets<'a>>) -> Self {
        self.sheets = sheets;
        self
    }

    fn advance(&mut self, step: &'static str, done: usize, total: usize) -> &ProgressBar {
        if self.step != step {
            self.clear();
            self.step = step;
        }
        let bar = self.bar.get_or_insert_with(|| progress_bar(step, total as u64));
        bar.set_position(done as u64);
        bar
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.step = "";
    }

    fn print(&mut self, line: &str) {
        self.clear();
        if let Err(error) = self.output.line(line) {
            tracing::warn!("{error:#}");
        }
    }
}

impl Drop for TrainingView<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Observer for TrainingView<'_> {
    fn images(&mut self, number: usize, batch: &TrainBatch) {
        if let Some(sheets) = self.sheets.as_ref().filter(|_| number < DRAWN)
            && let Err(error) = sheets.write(number, batch)
        {
            self.warning(&format!("train_batch{number}.jpg: {error:#}"));
        }
    }

    fn batch(&mut self, report: &BatchReport) {
        let terms =
            report.mean.iter().map(|(term, value)| format!("{} {}", term.short_name(), general(value, 4)));
        let terms = terms.collect::<Vec<_>>().join(" ");
        let epochs = self.epochs;
        let bar = self.advance("Training", report.done, report.batches);
        bar.set_message(format!(
            "Epoch {}/{}  {terms}  {} objects, {} px ",
            report.epoch,
            epochs - 1,
            report.instances,
            report.image_size
        ));
    }

    fn validating(&mut self, images: usize) {
        let total = self.val_images;
        self.advance("Validating", images, total);
    }

    fn reestimating(&mut self, images: usize) {
        let total = self.statistics_images;
        self.advance("Statistics", images, total);
    }

    fn epoch(&mut self, record: &EpochRecord, is_best: bool) {
        if !self.has_header {
            self.has_header = true;
            self.print(&self.columns.header());
        }
        let row = EpochRow {
            epoch: (record.epoch, self.epochs),
            losses: record.train.iter().map(|(_, value)| value).collect(),
            distillation: record.distillation,
            small_scales: record.slim.map(|slim| slim.small),
            validation: record.validation.as_ref().map(|v| [v.precision, v.recall, v.map50, v.map]),
            is_best,
        };
        self.print(&self.columns.line(&row));
    }

    fn warning(&mut self, message: &str) {
        if self.warned.insert(message.to_owned()) {
            self.clear();
            tracing::warn!("{message}");
        }
    }

    fn should_stop(&self) -> bool {
        interrupt::requested()
    }
}
