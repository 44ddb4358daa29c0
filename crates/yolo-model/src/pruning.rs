//! What a model remembers of its pruning; part of its file.
//!
//! Names of methods and criteria are those of `yolo-prune`. A record of another version loads as well: keys that are
//! not known here are kept, and a record of another form stays as it is ([`PruningRecord::Other`]).

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The last pruning of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PruningRecord {
    /// Channels were removed.
    Channels(Box<ChannelRecord>),
    /// Single weights were set to zero.
    Weights(Box<WeightRecord>),
    /// A record of a form that is not known here.
    Other(Value),
}

/// Weights that were set to zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightRecord {
    /// The method, if the criterion and the allocation have a common name.
    pub method: Option<String>,
    /// The criterion that ranked weights.
    pub criterion: String,
    /// How the amount was divided over the convolutions.
    pub allocation: String,
    /// Fraction that was asked for.
    pub amount: f64,
    /// What it was a fraction of.
    pub unit: String,
    /// Whether magnitudes were compared as stored or after fusing.
    pub rank: String,
    /// Which weights were removed together: `unstructured`, `2:4`, `4x1`.
    pub structure: String,
    /// How the remaining weights were adjusted.
    pub repair: String,
    /// Number of weights that were set to zero.
    pub pruned: usize,
    /// Names of the weights that stayed as they were.
    pub skipped: Vec<String>,
    /// Keys that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Channels that were removed. Pairs are before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelRecord {
    /// Always the same, which tells this record from others.
    pub method: ChannelMethod,
    /// Output channels of all convolutions except those whose outputs the network returns.
    pub channels: [usize; 2],
    /// Parameters.
    pub parameters: [usize; 2],
    /// Billions of operations for one image.
    pub gflops: [f64; 2],
    /// Widths of the groups of channels that became narrower, by name.
    pub widths: IndexMap<String, [usize; 2]>,
    /// The criterion that ranked channels; this and the following are there unless the plan was written by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<String>,
    /// Which channels competed with each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// What was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RecordedTarget>,
    /// Widths are multiples of this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_to: Option<usize>,
    /// Groups that stayed as they were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Vec<String>>,
    /// What was pruned before that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<PruningRecord>>,
    /// Keys that are not known here.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The method of a [`ChannelRecord`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelMethod {
    /// Removal of channels.
    #[default]
    Channels,
}

/// How small the network was to become.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedTarget {
    /// Smaller by a fraction.
    Less {
        /// Of which quantity.
        of: String,
        /// The fraction to remove.
        fraction: f64,
    },
    /// Not larger than this.
    AtMost {
        /// Which quantity.
        of: String,
        /// In its unit.
        limit: f64,
    },
}

impl fmt::Display for PruningRecord {
    /// As in the file: one line of JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WEIGHTS: &str = concat!(
        r#"{"method":null,"criterion":"magnitude","allocation":"erk","amount":0.30000000000000004,"#,
        r#""unit":"weights","rank":"fused","structure":"2:4","repair":"none","pruned":558566,"#,
        r#""skipped":["model.0.conv.weight"]}"#
    );
    const CHANNELS: &str = concat!(
        r#"{"method":"channels","channels":[48,40],"parameters":[1000,900],"gflops":[8.0,3.125],"#,
        r#""widths":{"model.2.cv1":[16,8],"model.0":[8,4]},"criterion":"bn-scale","scope":"global","#,
        r#""target":{"less":{"of":"gflops","fraction":0.5}},"round_to":8,"skipped":["model.3"],"previous":"#
    );

    fn assert_same_bytes(text: &str) -> PruningRecord {
        let record: PruningRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.to_string(), text);
        record
    }

    #[test]
    fn records_keep_their_bytes() {
        let record = assert_same_bytes(WEIGHTS);
        let PruningRecord::Weights(weights) = record else { panic!("{record}") };
        assert_eq!((weights.pruned, weights.structure.as_str(), weights.method), (558_566, "2:4", None));
        let record = assert_same_bytes(&format!("{CHANNELS}{WEIGHTS}}}"));
        let PruningRecord::Channels(channels) = record else { panic!("{record}") };
        assert_eq!(channels.widths["model.0"], [8, 4]);
        assert!(matches!(channels.previous.as_deref(), Some(PruningRecord::Weights(_))));
        assert!(matches!(channels.target, Some(RecordedTarget::Less { fraction: 0.5, .. })));
        let by_hand =
            r#"{"method":"channels","channels":[2,1],"parameters":[9,5],"gflops":[0.2,0.1],"widths":{}}"#;
        assert!(matches!(assert_same_bytes(by_hand), PruningRecord::Channels(_)));
    }

    /// Keys that are added later are kept; so is a record of another form.
    #[test]
    fn records_of_other_versions_load() {
        let text = WEIGHTS.replace("]}", r#"],"seed":{"z":1,"a":[2.5]}}"#);
        let record = assert_same_bytes(&text);
        let PruningRecord::Weights(weights) = record else { panic!("{record}") };
        assert_eq!(weights.other["seed"]["z"], 1);
        for text in [r#"{"method":"layer","amount":0.3,"pruned":7}"#, r#"{"method":"channels","to":"half"}"#]
        {
            assert!(matches!(assert_same_bytes(text), PruningRecord::Other(_)));
        }
    }
}
