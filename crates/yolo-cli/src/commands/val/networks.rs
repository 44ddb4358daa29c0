//! The networks that are measured as one: read, fused, and pruned where asked.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use yolo_data::dataset::Dataset;
use yolo_detect::{Detector, convention_of};
use yolo_device::Backend;
use yolo_eval::Convention;
use yolo_measure::figures::{model_figures, pruning_line};
use yolo_model::FusedCheckpoint;
use yolo_prune::{Sparsity, apply};
use yolo_report::network::summary_line;
use yolo_report::results::ModelFigures;
use yolo_report::verdict::before_measuring;

use crate::args::{ConventionArg, SelectionArgs, ValArgs};
use crate::console::Output;
use crate::measure::check_classes;
use crate::resolve::Weights;
use crate::selection::{self, Planned, plan_pruning};

/// One network, or an ensemble.
pub(super) struct Networks {
    first: Member,
    others: Vec<Member>,
}

/// A network and where it comes from.
struct Member {
    /// As read.
    weights: Weights,
    /// As it runs.
    network: FusedCheckpoint<'static>,
}

impl Networks {
    /// Reads `files`, and says what is in each. All have to have as many classes.
    pub(super) fn load(
        args: &ValArgs,
        files: &[PathBuf],
        backend: &Backend,
        output: &Output,
    ) -> Result<Self> {
        let mut members = Vec::new();
        for file in files {
            let weights = Weights::load(file, args.compute.offline)?.answering(args.branches.end2end)?;
            let network = network(args, &weights, &backend.device, output)?;
            members.push(Member { weights, network });
        }
        if members.is_empty() {
            bail!("no weights; name a checkpoint with --weights");
        }
        let networks = Self { first: members.remove(0), others: members };
        networks.check_members()?;
        if !networks.others.is_empty() {
            output.line(format!("Ensemble of {}", networks.name()))?;
        }
        Ok(networks)
    }

    fn check_members(&self) -> Result<()> {
        let classes = |member: &Member| member.network.architecture.num_classes();
        if let Some(other) = self.others.iter().find(|other| classes(other) != classes(&self.first)) {
            bail!(
                "{} has {} classes, {} has {}; the networks of an ensemble need the same",
                self.first.weights.path.display(),
                classes(&self.first),
                other.weights.path.display(),
                classes(other)
            );
        }
        Ok(())
    }

    /// All have to have the classes of the data set, unless all classes count as one.
    pub(super) fn check_classes(&self, args: &ValArgs, dataset: &Dataset) -> Result<()> {
        let check = |member: &Member| {
            check_classes(
                &member.weights.checkpoint,
                &member.weights.path,
                dataset,
                &args.dataset.data,
                args.single_cls,
            )
        };
        self.members().try_for_each(check)
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Their files.
    pub(super) fn name(&self) -> String {
        let files: Vec<String> =
            self.members().map(|member| member.weights.path.display().to_string()).collect();
        files.join(", ")
    }

    /// The name of the first file without its extension.
    pub(super) fn stem(&self) -> String {
        self.first.weights.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Class names of the first.
    pub(super) fn class_names(&self, args: &ValArgs) -> Vec<String> {
        if args.single_cls { vec!["item".to_owned()] } else { self.first.network.class_names.clone() }
    }

    /// Whose conventions to follow: as asked, or those of the first network's family.
    pub(super) fn convention(&self, args: &ValArgs) -> Convention {
        match args.convention {
            Some(ConventionArg::Yolov5) => Convention::Yolov5,
            Some(ConventionArg::Ultralytics) => Convention::Ultralytics,
            None => convention_of(&self.first.network.architecture),
        }
    }

    /// Of the coarsest level of all.
    pub(super) fn max_stride(&self) -> usize {
        self.members().map(|member| member.network.architecture.max_stride()).max().unwrap_or(1)
    }

    /// Ready to be measured.
    pub(super) fn detector(&self, backend: &Backend) -> Result<Detector> {
        let networks = self.members().map(|member| member.network.borrowed());
        backend.ensemble(networks).with_context(|| self.name())
    }

    /// Sizes and zeros, added up.
    pub(super) fn figures(&self) -> Result<ModelFigures> {
        let of =
            |member: &Member| model_figures(&member.network, &member.weights.path, member.weights.file_bytes);
        self.others.iter().try_fold(of(&self.first)?, |sum, other| Ok(sum.with(&of(other)?)))
    }

    /// What to know about a pruned network until it is measured; nothing of an ensemble.
    pub(super) fn advice(&self, args: &ValArgs, figures: &ModelFigures) -> Vec<String> {
        if args.prune.is_none() || !self.others.is_empty() {
            return Vec::new();
        }
        before_measuring(&self.first.weights.checkpoint, figures)
    }
}

/// The network that is measured: fused, and pruned where asked.
fn network(
    args: &ValArgs,
    weights: &Weights,
    device: &Device,
    output: &Output,
) -> Result<FusedCheckpoint<'static>> {
    let fused = weights.checkpoint.fuse()?;
    output.line(summary_line(&fused.architecture))?;
    let Some(amount) = args.prune else { return Ok(fused.into_owned()) };
    let flags = SelectionArgs {
        method: args.prune_method,
        exclude: args.exclude.clone(),
        calibration: args.calibration.clone(),
        ..SelectionArgs::default()
    };
    let options = selection::options(&flags, selection::amount(Some(amount), None)?);
    let dense = &weights.checkpoint;
    let images = selection::images(&flags, &options, dense, args.imgsz as usize)?;
    let Planned { dense, plan } = plan_pruning(dense, &options, false, images.as_ref(), device)
        .with_context(|| weights.path.display().to_string())?;
    let pruned = apply(&dense, &plan)?.into_fused()?;
    output.line(pruning_line(&plan, &Sparsity::of(&pruned)?))?;
    for skipped in &plan.skipped {
        tracing::info!("{} was not pruned: {}", skipped.tensor, skipped.reason);
    }
    Ok(pruned)
}
