//! The figures of an epoch, and the table of all epochs that YOLOv5 calls `results.csv`.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use yolo_prune::channels::SlimProgress;

use yolo_model::LossTerm;

use crate::loss::LossTerms;

/// The figures of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 0.
    pub epoch: usize,
    /// Mean losses over the training batches.
    pub train: LossTerms,
    /// Mean distillation loss per image; 0 without a teacher.
    pub distillation: f64,
    /// Figures of the averaged weights, unless the epoch was not validated.
    pub validation: Option<EpochValidation>,
    /// Learning rates of biases, weights and scales at the end of the epoch.
    pub lr: [f64; 3],
    /// Weights that a mask holds at zero.
    pub pruned: usize,
    /// Progress of the scales that are driven to zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slim: Option<SlimProgress>,
}

/// The figures of a validation within a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochValidation {
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// mAP at IoU 0.5.
    pub map50: f64,
    /// mAP over IoU 0.5 to 0.95.
    pub map: f64,
    /// Mean losses over the validation batches.
    pub loss: LossTerms,
}

/// Column titles of `results.csv`, for a loss of these terms.
fn columns(terms: &[LossTerm]) -> Vec<String> {
    let losses = |set: &str| -> Vec<String> {
        terms.iter().map(|term| format!("{set}/{}_loss", term.short_name())).collect()
    };
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
    let metrics = names(&["metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"]);
    let rates = names(&["x/lr0", "x/lr1", "x/lr2"]);
    [names(&["epoch"]), losses("train"), metrics, losses("val"), rates].concat()
}

/// `results.csv` in YOLOv5's layout, for a loss of these terms: right-aligned columns of width 20, five significant
/// digits. Figures of epochs without validation are 0, as there.
pub fn results_csv(history: &[EpochRecord], terms: &[LossTerm]) -> String {
    let titles: Vec<String> = columns(terms).iter().map(|title| format!("{title:>20}")).collect();
    let mut csv = titles.join(",") + "\n";
    for record in history {
        let v = record.validation.as_ref();
        let losses = |losses: Option<&LossTerms>| -> Vec<f64> {
            terms.iter().map(|&term| losses.and_then(|losses| losses.get(term)).unwrap_or(0.0)).collect()
        };
        let metrics = v.map_or([0.0; 4], |v| [v.precision, v.recall, v.map50, v.map]);
        let values = [
            vec![record.epoch as f64],
            losses(Some(&record.train)),
            metrics.to_vec(),
            losses(v.map(|v| &v.loss)),
            record.lr.to_vec(),
        ];
        let cells = values.iter().flatten().map(|value| format!("{:>20}", significant(*value)));
        let _ = writeln!(csv, "{}", cells.collect::<Vec<_>>().join(","));
    }
    csv
}

/// C's `%.5g`.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let scientific = format!("{value:.4e}");
    let exponent: i32 = scientific.rsplit('e').next().and_then(|e| e.parse().ok()).unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..5).contains(&exponent) {
        let decimals = usize::try_from(4 - exponent).unwrap_or(0);
        return trimmed(&format!("{value:.decimals$}"));
    }
    let mantissa = trimmed(scientific.split('e').next().unwrap_or_default());
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_c() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.0333, "0.0333"),
            (0.123456789, "0.12346"),
            (12.0, "12"),
            (0.00001234567, "1.2346e-05"),
            (0.0001, "0.0001"),
            (123456.0, "1.2346e+05"),
            (99999.7, "1e+05"),
        ];
        for (value, expected) in cases {
            assert_eq!(significant(value), expected);
        }
    }

    #[test]
    fn the_table_has_a_row_per_epoch() {
        let terms = [LossTerm::Box, LossTerm::Objectness, LossTerm::Class];
        let record = EpochRecord {
            epoch: 3,
            train: terms.into_iter().zip([0.05, 0.04, 0.03]).collect(),
            distillation: 0.0,
            validation: None,
            lr: [0.01, 0.01, 0.01],
            pruned: 0,
            slim: None,
        };
        let csv = results_csv(&[record], &terms);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("               epoch,      train/box_loss,"));
        assert!(lines[1].starts_with("                   3,                0.05,                0.04,"));
        assert!(lines.iter().all(|line| line.len() == 14 * 21 - 1));
    }
}
