//! Another program that runs networks of the same architecture, to compare speeds with.

use std::process::{Command, Stdio};

use serde::Deserialize;
use yolo_train::device_check::{Load, Row, Speed, stock_network};

use crate::{MeasureError, Result};

/// Inference has to reach this much of the peer's speed.
const INFERENCE: f64 = 0.8;
/// And training this much.
const TRAINING: f64 = 0.6;

/// How fast a network is, in a line of what a peer prints.
#[derive(Clone, Debug, Deserialize)]
struct Figure {
    /// `yolov5n`, ….
    model: String,
    /// `inference` or `training`.
    task: String,
    /// How its tensors lie in memory; for people.
    layout: String,
    images_per_second: f64,
}

/// Runs the peer, and returns our speed as a fraction of its speed, for each of its figures; limits are for GPUs. `command`
/// is a program with its arguments, separated by spaces; it is given a folder with the networks `names` as JSON, the
/// batch size and the image size, and prints an object per figure, one a line.
///
/// # Errors
/// A program that cannot be started, fails, or prints what is no figure.
pub fn beside(
    command: &str,
    names: &[&str],
    load: Load,
    ours: &[Speed],
    has_limits: bool,
) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().map_err(MeasureError::PeerFolder)?;
    for name in names {
        let architecture = serde_json::to_vec(&stock_network(name)?.architecture);
        architecture
            .map_err(std::io::Error::from)
            .and_then(|json| std::fs::write(folder.path().join(format!("{name}.json")), json))
            .map_err(MeasureError::PeerFolder)?;
    }
    let wrong = |reason: String| MeasureError::Peer { command: command.to_owned(), reason };
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else { return Err(MeasureError::NoPeer) };
    let output = Command::new(program)
        .args(words)
        .arg(folder.path())
        .args([load.batch.to_string(), load.size.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| wrong(error.to_string()))?;
    if !output.status.success() {
        return Err(wrong(format!("it failed ({}); what it says is above", output.status)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().filter(|line| line.starts_with('{'));
    let mut rows = Vec::new();
    for line in figures {
        let theirs = serde_json::from_str(line)
            .map_err(|source| MeasureError::PeerFigure { line: line.to_owned(), source })?;
        rows.extend(row(&theirs, ours, has_limits));
    }
    Ok(rows)
}

/// Nothing where we have no figure of our own, for want of time.
fn row(theirs: &Figure, ours: &[Speed], has_limits: bool) -> Option<Row> {
    let ours = ours.iter().find(|ours| ours.model == theirs.model && ours.task == theirs.task)?;
    let wanted = if theirs.task == "training" { TRAINING } else { INFERENCE };
    let ratio = ours.images_per_second / theirs.images_per_second;
    let measured = format!("{ratio:.2} of {:.1} images/s", theirs.images_per_second);
    let check = format!("{} of {} beside {}", theirs.task, theirs.model, theirs.layout);
    Some(match has_limits {
        true => Row::holds(check, ratio >= wanted, measured, &format!("≥ {wanted}")),
        false => Row::info(check, measured),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use yolo_train::device_check::Outcome;

    use super::*;

    #[test]
    fn speeds_are_compared_task_by_task() {
        let figure = |task: &str, images_per_second| Figure {
            model: "yolov5n".to_owned(),
            task: task.to_owned(),
            layout: "eager".to_owned(),
            images_per_second,
        };
        let speed = |task, images_per_second| Speed { model: "yolov5n".to_owned(), task, images_per_second };
        let ours = [speed("inference", 80.0), speed("training", 59.0)];
        assert_eq!(row(&figure("inference", 100.0), &ours, true).unwrap().outcome, Outcome::Ok);
        assert_eq!(row(&figure("training", 100.0), &ours, true).unwrap().outcome, Outcome::Failed);
        assert_eq!(row(&figure("training", 100.0), &ours, false).unwrap().outcome, Outcome::Info);
        assert!(
            row(&Figure { model: "yolov5x".to_owned(), ..figure("training", 1.0) }, &ours, true).is_none()
        );
    }
}
