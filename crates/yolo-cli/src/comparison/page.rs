//! The comparison as the content of `report.html`.

use yolo_data::dataset::Dataset;
use yolo_model::LossTerm;
use yolo_train::loss::LossTerms;
use yolo_train::train::EpochRecord;

use super::rows::signed;
use super::samples::samples;
use super::{Stage, is_smaller};
use crate::format::{bytes, thousands, utc_now};
use crate::report::{EpochPoint, LayerSparsity, Report, Row, Stage as Curves, Tile};
use crate::results::ModelFigures;
use crate::verdict::Verdict;

/// What a run says of itself.
pub(crate) struct Account {
    /// The network that was pruned.
    pub(crate) title: String,
    /// Data and device.
    pub(crate) subtitle: String,
    /// The command that does it again.
    pub(crate) command: String,
    /// Whether it paid.
    pub(crate) verdict: Option<Verdict>,
    /// Remarks.
    pub(crate) notes: Vec<String>,
}

/// The page of a run: its stages, the epochs of training, and some images of `dataset`.
pub(crate) fn report(
    account: Account,
    stages: &[Stage],
    rows: Vec<Row>,
    history: &[EpochRecord],
    dataset: &Dataset,
) -> Report {
    let names = &dataset.class_names;
    Report {
        title: account.title,
        subtitle: account.subtitle,
        verdict: format!("{} {}", kept(stages), account.verdict.as_ref().map_or("", |v| &v.headline))
            .trim()
            .to_owned(),
        conclusion: account.verdict.iter().flat_map(|verdict| verdict.sentences().cloned()).collect(),
        tiles: tiles(stages),
        command: account.command,
        created: utc_now(),
        stages: stages.iter().map(curves).collect(),
        rows,
        pr_note: "IoU 0.50, mean over classes".to_owned(),
        history: history.iter().map(|record| epoch(record, stages)).collect(),
        samples: samples(dataset, stages, names),
        notes: account.notes,
    }
}

/// What the run came to, in one sentence.
fn kept(stages: &[Stage]) -> String {
    let (Some(first), Some(last)) = (stages.first(), stages.last()) else { return String::new() };
    let (before, after) = (first.figures.native.map, last.figures.native.map);
    let kept = if before > 0.0 { after / before * 100.0 } else { 0.0 };
    if is_smaller(stages) {
        let share = |of: fn(&ModelFigures) -> f64| {
            (1.0 - of(&last.figures.model) / of(&first.figures.model).max(f64::MIN_POSITIVE)) * 100.0
        };
        return format!(
            "With {:.1} % fewer FLOPs and {:.1} % fewer parameters, the network keeps {kept:.1} % of its mAP.",
            share(|model| model.gflops),
            share(|model| model.parameters as f64)
        );
    }
    format!(
        "With {:.1} % of its convolution weights at zero, the network keeps {kept:.1} % of its mAP.",
        last.figures.model.conv_sparsity * 100.0
    )
}

fn tiles(stages: &[Stage]) -> Vec<Tile> {
    let Some(first) = stages.first() else { return Vec::new() };
    let mut tiles: Vec<Tile> = stages
        .iter()
        .map(|stage| {
            let points = (stage.figures.native.map - first.figures.native.map) * 100.0;
            let is_first = std::ptr::eq(stage, first);
            Tile {
                label: format!("mAP50-95, {}", stage.name),
                value: format!("{:.3}", stage.figures.native.map),
                detail: if is_first { String::new() } else { format!("{} points", signed(points)) },
                better: (!is_first && points.abs() >= 0.05).then_some(points > 0.0),
            }
        })
        .collect();
    if let Some(last) = stages.last() {
        let model = &last.figures.model;
        tiles.push(match is_smaller(stages) {
            true => Tile {
                label: "GFLOPs".to_owned(),
                value: format!("{:.2}", model.gflops),
                detail: format!("{:.2} before", first.figures.model.gflops),
                better: None,
            },
            false => Tile {
                label: "Convolution weights at zero".to_owned(),
                value: format!("{:.1} %", model.conv_sparsity * 100.0),
                detail: format!("{} of {}", thousands(model.conv_zeros), thousands(model.conv_weights)),
                better: None,
            },
        });
        tiles.push(Tile {
            label: "File".to_owned(),
            value: bytes(model.file_bytes),
            detail: format!("{} before", bytes(first.figures.model.file_bytes)),
            better: None,
        });
    }
    tiles
}

fn curves(stage: &Stage) -> Curves {
    let sparsity = stage.sparsity.layers.iter();
    Curves {
        name: stage.name.to_owned(),
        pr_curve: mean_curve(stage),
        layer_sparsity: sparsity
            .map(|layer| LayerSparsity {
                name: layer.name.clone(),
                weights: layer.weights,
                zeros: layer.zeros,
            })
            .collect(),
        map50: Some(stage.figures.native.map50),
        map: Some(stage.figures.native.map),
    }
}

/// Precision over recall at IoU 0.5, averaged over classes; every tenth point is enough for a plot.
fn mean_curve(stage: &Stage) -> Vec<(f64, f64)> {
    let curves = &stage.validation.native.curves;
    let mean = curves.mean(|class| &class.precision_at_recall);
    curves.x.iter().copied().zip(mean).step_by(10).collect()
}

fn epoch(record: &EpochRecord, stages: &[Stage]) -> EpochPoint {
    let weights = stages.first().map_or(0, |stage| stage.sparsity.conv_weights);
    let losses = |terms: &LossTerms| {
        [LossTerm::Box, LossTerm::Objectness, LossTerm::Class].map(|term| terms.get(term).unwrap_or(f64::NAN))
    };
    let validation = record.validation.as_ref();
    EpochPoint {
        epoch: record.epoch,
        train: losses(&record.train),
        val: validation.map_or([f64::NAN; 3], |v| losses(&v.loss)),
        map50: validation.map_or(f64::NAN, |v| v.map50),
        map: validation.map_or(f64::NAN, |v| v.map),
        sparsity: record.pruned as f64 / weights.max(1) as f64,
    }
}
