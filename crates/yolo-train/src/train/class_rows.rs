//! The part of a head that tells classes apart. In first weights from a network with other classes, what was learned about a class
//! follows its name.

use yolo_model::weights::StateDict;
use yolo_model::{Architecture, Checkpoint, Family};

use crate::error::{Result, TrainError};

/// Beginnings of the names of the parameters that tell classes apart in a head without anchors.
pub(super) fn class_branches(architecture: &Architecture) -> Vec<String> {
    match architecture.head().family() {
        Family::Yolov5 => Vec::new(),
        Family::Ultralytics => {
            let head = architecture.layers.len().saturating_sub(1);
            ["cv3", "one2one_cv3"].map(|branch| format!("model.{head}.{branch}.")).to_vec()
        }
    }
}

/// For each class of `to`, the class of `from` of the same name, whatever the case of its letters; the first of several.
pub fn classes_by_name(from: &[String], to: &[String]) -> Vec<Option<usize>> {
    let lower: Vec<String> = from.iter().map(|name| name.to_lowercase()).collect();
    to.iter().map(|name| lower.iter().position(|known| *known == name.to_lowercase())).collect()
}

/// Takes the rows of last class convolutions (`convs`, by name) over from `source`: those of the classes that both networks
/// have, by name. Rows of other classes stay as they are in `weights`. Without a class in common nothing changes. Returns the number
/// of classes in common.
///
/// # Errors
/// A convolution that one of the networks lacks, or that does not have a row per class and rows of the same length.
pub fn transfer_class_rows(
    weights: &mut StateDict,
    source: &StateDict,
    convs: &[String],
    (from, to): (&[String], &[String]),
) -> Result<usize> {
    let rows = classes_by_name(from, to);
    for name in convs.iter().flat_map(|conv| ["weight", "bias"].map(|part| format!("{conv}.{part}"))) {
        let source = source.require(&name)?;
        let Some(tensor) = weights.get_mut(&name) else { return Err(unfit(&name)) };
        let fits = tensor.shape.first() == Some(&to.len())
            && source.shape.first() == Some(&from.len())
            && tensor.shape[1..] == source.shape[1..];
        if !fits {
            return Err(unfit(&name));
        }
        let length: usize = tensor.shape[1..].iter().product();
        let (values, known) = (tensor.f32s_mut()?, source.f32s()?);
        for (row, class) in values.chunks_exact_mut(length).zip(&rows) {
            if let Some(class) = class {
                row.copy_from_slice(&known[class * length..(class + 1) * length]);
            }
        }
    }
    Ok(rows.iter().flatten().count())
}

/// Gives a network for `classes` that took its tensors from `source` the rows of the classes that both know by name, and those of
/// `fresh`, its weights before that, for all others. Nothing changes for heads with anchors, nor without a class in common. Returns the
/// number of classes in common.
///
/// # Errors
/// As [`transfer_class_rows`].
pub fn follow_class_names(
    checkpoint: &mut Checkpoint,
    fresh: &StateDict,
    source: &Checkpoint,
    classes: &[String],
) -> Result<usize> {
    let known = classes_by_name(&source.class_names, classes).iter().flatten().count();
    let starts = class_branches(&checkpoint.architecture);
    let convs = checkpoint.architecture.convs();
    let last =
        convs.iter().filter(|conv| conv.is_bare && starts.iter().any(|start| conv.name.starts_with(start)));
    // Of two sets of branches, a fused file has one.
    let last = last.filter(|conv| source.weights.get(&conv.weight()).is_some());
    let names: Vec<String> = last.map(|conv| conv.name.clone()).collect();
    if known == 0 || names.is_empty() {
        return Ok(0);
    }
    for name in names.iter().flat_map(|conv| ["weight", "bias"].map(|part| format!("{conv}.{part}"))) {
        if let (Some(tensor), Some(fresh)) = (checkpoint.weights.get_mut(&name), fresh.get(&name)) {
            tensor.clone_from(fresh);
        }
    }
    transfer_class_rows(&mut checkpoint.weights, &source.weights, &names, (&source.class_names, classes))
}

fn unfit(name: &str) -> TrainError {
    TrainError::State { reason: format!("{name} does not have a row per class in both networks") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;
    use yolo_model::weights::HostTensor;

    const CONV: &str = "model.22.cv3.0.2";

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// Two weights and a bias for each class, all of them `value` and more.
    fn state(classes: usize, value: f32) -> StateDict {
        let mut state = StateDict::new();
        let weights = (0..2 * classes).map(|i| value + i as f32).collect();
        state.insert(format!("{CONV}.weight"), HostTensor::from_f32s([classes, 2, 1, 1], weights));
        let biases = (0..classes).map(|i| value + 0.5 + i as f32).collect();
        state.insert(format!("{CONV}.bias"), HostTensor::from_f32s([classes], biases));
        state
    }

    #[test]
    fn rows_follow_the_names_of_their_classes() {
        let (from, to) = (names(&["person", "Car", "dog"]), names(&["DOG", "tree", "car", "boat"]));
        assert_eq!(classes_by_name(&from, &to), [Some(2), None, Some(1), None]);
        let (mut weights, source) = (state(4, 100.0), state(3, 0.0));
        let convs = [CONV.to_owned()];
        assert_eq!(transfer_class_rows(&mut weights, &source, &convs, (&from, &to)).unwrap(), 2);
        let got = weights.f32s("model.22.cv3.0.2.weight").unwrap();
        assert_eq!(got, [4.0, 5.0, 102.0, 103.0, 2.0, 3.0, 106.0, 107.0]);
        assert_eq!(weights.f32s("model.22.cv3.0.2.bias").unwrap(), [2.5, 101.5, 1.5, 103.5]);
    }

    #[test]
    fn networks_without_a_class_in_common_stay_as_they_are() {
        let (mut weights, source) = (state(2, 100.0), state(1, 0.0));
        let classes = (names(&["a"]), names(&["b", "c"]));
        let convs = [CONV.to_owned()];
        let n = transfer_class_rows(&mut weights, &source, &convs, (&classes.0, &classes.1)).unwrap();
        assert!(n == 0 && weights == state(2, 100.0));
        let wrong = (names(&["a", "b"]), classes.1);
        assert!(transfer_class_rows(&mut weights, &source, &convs, (&wrong.0, &wrong.1)).is_err());
    }

    #[test]
    fn a_network_keeps_what_it_learned_about_a_class_under_another_number() {
        let of = |classes: usize, seed| {
            let architecture = Architecture::variant("yolo26n", Some(classes)).unwrap();
            Checkpoint::random(architecture, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap()
        };
        let (mut source, mut checkpoint) = (of(2, 1), of(3, 2));
        source.class_names = names(&["cat", "dog"]);
        let fresh = checkpoint.weights.clone();
        checkpoint.transfer_from(&source);
        let classes = names(&["Dog", "bird", "horse"]);
        assert_eq!(follow_class_names(&mut checkpoint, &fresh, &source, &classes).unwrap(), 1);
        for name in ["model.23.cv3.0.2.weight", "model.23.one2one_cv3.2.2.weight"] {
            let (got, old) = (checkpoint.weights.f32s(name).unwrap(), source.weights.f32s(name).unwrap());
            let length = got.len() / 3;
            assert_eq!(got[..length], old[length..], "{name}: the dog");
            assert_eq!(got[length..], fresh.f32s(name).unwrap()[length..], "{name}: the others are new");
        }
    }
}
