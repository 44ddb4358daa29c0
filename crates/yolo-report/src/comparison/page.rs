//! The comparison as `report.html`.

use super::report::{self, EpochPoint, Report, Row, SampleImage};
use super::rows::signed;
use super::{Stage, is_smaller};
use crate::format::{bytes, thousands};
use crate::html::Tile;
use crate::results::ModelFigures;
use crate::verdict::Verdict;

/// What the page says about a run beside its figures.
#[derive(Clone, Debug)]
pub struct Account {
    /// The network that was pruned.
    pub title: String,
    /// Data and device.
    pub subtitle: String,
    /// The command that does it again.
    pub command: String,
    /// Whether it paid.
    pub verdict: Option<Verdict>,
    /// When it was done.
    pub created: String,
    /// Remarks.
    pub notes: Vec<String>,
}

/// The page of a run: its stages with the `rows` that compare them, the epochs of fine-tuning, and some images.
pub fn page(
    account: Account,
    stages: &[Stage],
    rows: Vec<Row>,
    history: Vec<EpochPoint>,
    samples: Vec<SampleImage>,
) -> String {
    report::render(&Report {
        title: account.title,
        subtitle: account.subtitle,
        verdict: format!("{} {}", kept(stages), account.verdict.as_ref().map_or("", |v| &v.headline))
            .trim()
            .to_owned(),
        conclusion: account.verdict.iter().flat_map(|verdict| verdict.sentences().cloned()).collect(),
        tiles: tiles(stages),
        command: account.command,
        created: account.created,
        stages: stages.iter().map(curves).collect(),
        rows,
        pr_note: "IoU 0.50, mean over classes".to_owned(),
        history,
        samples,
        notes: account.notes,
    })
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
            value: file_size(model),
            detail: format!("{} before", file_size(first.model())),
            better: None,
        });
    }
    tiles
}

/// The size of the file; a dash if it is not known.
pub(super) fn file_size(model: &ModelFigures) -> String {
    model.file_bytes.map_or_else(|| "–".to_owned(), bytes)
}

fn curves(stage: &Stage) -> report::Stage {
    report::Stage {
        name: stage.name.clone(),
        pr_curve: stage.pr_curve.clone(),
        layer_sparsity: stage.layers.clone(),
        map50: Some(stage.figures.native.map50),
        map: Some(stage.figures.native.map),
    }
}
