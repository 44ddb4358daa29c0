//! The files around the figures: of `prune-finetune`, `sweep`, `val --task speed` and `val --task study`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Milliseconds, Results, SCHEMA, Times};
use crate::sweep::SweepResults;
use crate::verdict::Verdict;

/// The files that can be read, for messages.
pub const UNDERSTOOD: &str = "results.json of `val` or `sweep`, or summary.json of `prune-finetune`; run the command again to have a new one";

/// `summary.json` of `prune-finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PruningSummary {
    /// Version of the layout: [`SCHEMA`].
    pub schema: u32,
    /// The stages in order of time.
    pub stages: Vec<Results>,
    /// Whether the last stage is worth more than a dense network of its cost.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// What was pruned and how it was fine-tuned.
    #[serde(default)]
    pub recipe: Value,
    /// Which weights were kept.
    #[serde(default)]
    pub kept: String,
    /// The epochs of fine-tuning.
    #[serde(default)]
    pub epochs: Value,
    /// Times, if the pruning was asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<Milliseconds>,
}

/// `results.json` of `val --task speed` on several networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedRuns {
    /// Version of the layout: [`SCHEMA`].
    pub schema: u32,
    /// The networks, each measured alone.
    pub runs: Vec<Results>,
}

/// `results.json` of `val --task study`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// Version of the layout: [`SCHEMA`].
    pub schema: u32,
    /// The networks.
    pub study: Vec<StudyNetwork>,
}

/// A network at several image sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyNetwork {
    /// Its files.
    pub weights: String,
    /// Its figures, a point per image size.
    pub points: Vec<StudyPoint>,
}

/// A network at one image size. Metrics are in `[0, 1]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyPoint {
    /// Long side in pixels.
    pub imgsz: usize,
    /// Precision.
    pub precision: f64,
    /// Recall.
    pub recall: f64,
    /// Mean average precision at IoU 0.50.
    pub map50: f64,
    /// Mean average precision over IoU 0.50 to 0.95.
    pub map: f64,
    /// Milliseconds per image.
    pub speed_ms: Times,
}

/// A file that a command left.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultsFile {
    /// Of `val`.
    Validation(Box<Results>),
    /// Of `prune-finetune`.
    Pruning(Box<PruningSummary>),
    /// Of `sweep`.
    Sweep(SweepResults),
}

/// Why a text cannot be read as results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The text is not JSON.
    #[error("not JSON ({0}); it has to be {UNDERSTOOD}")]
    NotJson(serde_json::Error),
    /// The file does not say which layout it has.
    #[error("`schema` is missing; it has to be {UNDERSTOOD}")]
    NoSchema,
    /// The layout of another version.
    #[error("its layout is number {0}, this program knows {SCHEMA}; use the version that wrote it")]
    OtherSchema(u64),
    /// JSON of something else.
    #[error("it has neither `native` nor `stages` nor `points`; it has to be {UNDERSTOOD}")]
    OtherFile,
    /// A key that has to be there.
    #[error("`{0}` is missing; it has to be {UNDERSTOOD}")]
    Missing(String),
    /// A value of another type.
    #[error("`{key}`: {reason}; it has to be {UNDERSTOOD}")]
    Invalid {
        /// Place in the file.
        key: String,
        /// What was found, and what belongs there.
        reason: String,
    },
}

impl ResultsFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Text that is not JSON, has another layout, or lacks a figure.
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        let value: Value = serde_json::from_str(text).map_err(ReadError::NotJson)?;
        match value.get("schema").and_then(Value::as_u64) {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(schema) => return Err(ReadError::OtherSchema(schema)),
            None => return Err(ReadError::NoSchema),
        }
        if value.get("stages").is_some() {
            Ok(Self::Pruning(read(value)?))
        } else if value.get("points").is_some() {
            Ok(Self::Sweep(read(value)?))
        } else if value.get("native").is_some() {
            Ok(Self::Validation(read(value)?))
        } else {
            Err(ReadError::OtherFile)
        }
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ReadError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (place, reason) = (error.path().to_string(), error.inner().to_string());
        let place = if place == "." { String::new() } else { place };
        match reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            Some(field) if place.is_empty() => ReadError::Missing(field.to_owned()),
            Some(field) => ReadError::Missing(format!("{place}.{field}")),
            None => ReadError::Invalid { key: place, reason },
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn results() -> Value {
        json!({
            "schema": 1,
            "model": {
                "weights": "a.pt", "parameters": 10, "zeros": 2, "sparsity": 0.2, "conv_weights": 8, "conv_zeros": 2,
                "conv_sparsity": 0.25, "layers": 3, "gflops": 4.5, "gflops_nonzero": 3.0, "file_bytes": 40
            },
            "data": {"images": 4, "instances": 9, "imgsz": 640},
            "native": {
                "precision": 0.6, "recall": 0.4, "map50": 0.5, "map": 0.3,
                "per_class": [
                    {"name": "cat", "instances": 9, "precision": 0.6, "recall": 0.4, "map50": 0.5, "map": 0.3}
                ],
                "precision_at_recall": [1.0, 0.5]
            },
            "coco": null,
            "speed_ms": {"preprocess": 0.5, "inference": 20.0, "nms": 1.0, "shape": [32, 3, 640, 640]}
        })
    }

    #[test]
    fn a_file_is_written_as_it_was_read() {
        let mut stage = json!({"stage": "baseline"});
        for (key, value) in results().as_object().unwrap() {
            stage[key] = value.clone();
        }
        let summary = json!({
            "schema": 1, "stages": [stage], "verdict": null, "recipe": {"prune": {"amount": 0.5}}, "kept": "epoch 3",
            "epochs": [], "milliseconds": {"predicted": [2.0, 1.0], "measured": [2.0, 1.5], "threads": 1, "imgsz": 64}
        });
        for file in [results(), summary] {
            let text = file.to_string();
            let written = match ResultsFile::parse(&text).unwrap() {
                ResultsFile::Validation(results) => serde_json::to_string(&results),
                ResultsFile::Pruning(summary) => serde_json::to_string(&summary),
                ResultsFile::Sweep(sweep) => serde_json::to_string(&sweep),
            };
            assert_eq!(written.unwrap(), text);
        }
    }

    #[test]
    fn what_older_versions_did_not_write_may_be_missing() {
        let mut old = results();
        for (object, key) in
            [("native", "precision_at_recall"), ("model", "gflops_nonzero"), ("model", "file_bytes")]
        {
            old[object].as_object_mut().unwrap().remove(key);
        }
        let ResultsFile::Validation(read) = ResultsFile::parse(&old.to_string()).unwrap() else {
            panic!("not the file of a validation");
        };
        assert!(read.native.precision_at_recall.is_empty());
        assert_eq!((read.model.gflops_nonzero, read.model.file_bytes), (None, None));
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let error = |change: fn(&mut Value)| {
            let mut file = results();
            change(&mut file);
            ResultsFile::parse(&file.to_string()).unwrap_err().to_string()
        };
        let without = |file: &mut Value, object: &str, key: &str| {
            file[object].as_object_mut().unwrap().remove(key);
        };
        assert!(error(|file| file["schema"] = Value::Null).starts_with("`schema` is missing"));
        assert!(error(|file| file["schema"] = 9.into()).starts_with("its layout is number 9"));
        assert!(error(|file| *file = json!({"schema": 1})).starts_with("it has neither `native`"));
        assert!(
            error(|file| file["native"]["map"] = "high".into()).starts_with("`native.map`: invalid type")
        );
        let mut file = results();
        without(&mut file, "native", "recall");
        let message = ResultsFile::parse(&file.to_string()).unwrap_err().to_string();
        assert!(message.starts_with("`native.recall` is missing; it has to be results.json"), "{message}");
        assert!(matches!(ResultsFile::parse("mAP 0.3"), Err(ReadError::NotJson(_))));
    }
}
