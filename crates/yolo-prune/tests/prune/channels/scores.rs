//! Criteria, against sums written out.

use std::collections::HashMap;

use yolo_model::architecture::ConvRef;
use yolo_model::{Architecture, Checkpoint};
use yolo_prune::PruneError;
use yolo_prune::channels::{ChannelGroup, ChannelScores, Coupling, TaylorOf, remove};

use super::networks::{random, tiny_architecture};

fn dense() -> Checkpoint {
    random(tiny_architecture(), 21)
}

fn assert_close(actual: f64, expected: f64, what: &str) {
    assert!((actual - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{what}: {actual} {expected}");
}

/// Compares every score with `expected` of the group and channel.
fn assert_scores(
    scores: &ChannelScores,
    architecture: &Architecture,
    expected: impl Fn(&ChannelGroup, usize) -> f64,
) {
    let coupling = Coupling::of(architecture);
    assert_eq!(scores.groups.len(), coupling.groups.len());
    for group in &coupling.groups {
        assert_eq!(scores.groups[&group.name].len(), group.channels);
        for (channel, score) in scores.groups[&group.name].iter().enumerate() {
            assert_close(*score, expected(group, channel), &format!("{} {channel}", group.name));
        }
    }
}

/// `W[o, i, y, x]` by plain indexing.
fn weight(checkpoint: &Checkpoint, conv: &ConvRef, [o, i, y, x]: [usize; 4]) -> f64 {
    let [_, inputs, height, width] = conv.spec.weight_shape();
    let values = checkpoint.weights.f32s(&conv.weight()).unwrap();
    f64::from(values[((o * inputs + i) * height + y) * width + x])
}

/// Sum of `term` over the weights that make `channel` and, where asked, those that read it.
fn sum(
    fused: &Checkpoint,
    group: &ChannelGroup,
    channel: usize,
    consumers: bool,
    term: impl Fn(f64) -> f64,
) -> f64 {
    let mut sum = 0.0;
    for conv in &group.producers {
        let [_, inputs, height, width] = conv.spec.weight_shape();
        for index in
            (0..inputs * height * width).map(|n| [n / (height * width), n / width % height, n % width])
        {
            sum += term(weight(fused, conv, [channel, index[0], index[1], index[2]]));
        }
    }
    for consumer in group.consumers.iter().filter(|_| consumers) {
        let [outputs, _, height, width] = consumer.conv.spec.weight_shape();
        for offset in &consumer.offsets {
            for index in
                (0..outputs * height * width).map(|n| [n / (height * width), n / width % height, n % width])
            {
                sum += term(weight(fused, &consumer.conv, [index[0], offset + channel, index[1], index[2]]));
            }
        }
    }
    sum
}

#[test]
fn norms_are_those_of_the_fused_rows() {
    let dense = dense();
    let fused = dense.fuse().unwrap();
    for checkpoint in [&dense, &fused] {
        for consumers in [false, true] {
            let l1 = ChannelScores::l1(checkpoint, consumers).unwrap();
            assert_scores(&l1, &dense.architecture, |group, channel| {
                sum(&fused, group, channel, consumers, f64::abs)
            });
            let l2 = ChannelScores::l2(checkpoint, consumers).unwrap();
            assert_scores(&l2, &dense.architecture, |group, channel| {
                sum(&fused, group, channel, consumers, |w| w * w).sqrt()
            });
        }
    }
}

#[test]
fn bn_scale_is_averaged_over_producers() {
    let dense = dense();
    assert_scores(&ChannelScores::bn_scale(&dense).unwrap(), &dense.architecture, |group, channel| {
        let scale =
            |conv: &ConvRef| f64::from(dense.weights.f32s(&conv.bn("weight")).unwrap()[channel]).abs();
        group.producers.iter().map(scale).sum::<f64>() / group.producers.len() as f64
    });
    let error = ChannelScores::bn_scale(&dense.fuse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("score the checkpoint before fusing"), "{error}");
}

/// For a loss that is a sum of parameters times constants, the first-order change is the exact one: the loss of
/// the checkpoint minus that of the checkpoint whose channel is zero.
#[test]
fn taylor_is_the_change_of_a_linear_loss() {
    for (checkpoint, of) in [
        (dense().fuse().unwrap().into_checkpoint(), TaylorOf::Weights),
        (dense(), TaylorOf::BatchNorm),
        (dense(), TaylorOf::Weights),
    ] {
        let slope = |index: usize| (index as f32 * 0.7).sin();
        let names = checkpoint.architecture.tensors().into_iter().filter(|t| t.is_parameter).map(|t| t.name);
        let gradients: HashMap<String, Vec<f32>> = names
            .map(|name| {
                let count = checkpoint.weights.f32s(&name).unwrap().len();
                (name, (0..count).map(slope).collect())
            })
            .collect();
        let fused = checkpoint.architecture.fused;
        let tensors = |conv: &ConvRef| match (of, fused) {
            (TaylorOf::BatchNorm, _) => vec![conv.bn("weight"), conv.bn("bias")],
            (_, true) => vec![conv.weight(), conv.bias()],
            (_, false) => vec![conv.weight()],
        };
        let scores = ChannelScores::taylor(&checkpoint, &gradients, of).unwrap();
        assert_scores(&scores, &checkpoint.architecture, |group, channel| {
            let mut change = 0.0;
            for name in group.producers.iter().flat_map(tensors) {
                let values = checkpoint.weights.f32s(&name).unwrap();
                let row = values.len() / group.channels;
                let own = values.iter().enumerate().skip(channel * row).take(row);
                change += own.map(|(index, w)| f64::from(*w) * f64::from(slope(index))).sum::<f64>();
            }
            change.abs()
        });
    }
    let error = |gradients: &HashMap<String, Vec<f32>>, of| {
        ChannelScores::taylor(&dense().fuse().unwrap(), gradients, of).unwrap_err().to_string()
    };
    assert!(error(&HashMap::new(), TaylorOf::BatchNorm).contains("score its weights"));
    assert!(error(&HashMap::new(), TaylorOf::Weights).starts_with("model.0.conv.weight: it has no gradient"));
    let short = HashMap::from([("model.0.conv.weight".to_owned(), vec![0.0; 2])]);
    assert!(error(&short, TaylorOf::Weights).contains("2 gradients for 216 values"));
}

#[test]
fn activations_are_averaged_over_producers() {
    let dense = dense();
    let statistics: HashMap<String, Vec<f64>> = dense
        .architecture
        .convs()
        .into_iter()
        .enumerate()
        .map(|(n, conv)| (conv.name, (0..conv.spec.out_channels).map(|c| (n * 100 + c) as f64).collect()))
        .collect();
    let scores = ChannelScores::activation(&dense, &statistics).unwrap();
    assert_scores(&scores, &dense.architecture, |group, channel| {
        let producers = group.producers.iter().map(|conv| statistics[&conv.name][channel]);
        producers.sum::<f64>() / group.producers.len() as f64
    });
    let normalised = scores.normalised();
    for (name, own) in &normalised.groups {
        assert_close(own.iter().sum::<f64>() / own.len() as f64, 1.0, name);
    }
    type Statistics = HashMap<String, Vec<f64>>;
    let edited = |edit: &dyn Fn(&mut Statistics)| {
        let mut statistics = statistics.clone();
        edit(&mut statistics);
        ChannelScores::activation(&dense, &statistics).unwrap_err().to_string()
    };
    assert!(edited(&|s| drop(s.remove("model.2.cv2"))).starts_with("model.2.cv2: no statistics"));
    assert!(edited(&|s| s.get_mut("model.2.cv2").unwrap().truncate(3)).contains("3 values for 8 output"));
    assert!(edited(&|s| s.get_mut("model.2.cv2").unwrap()[1] = -1.0).contains("the score -1"));
    assert!(edited(&|s| s.get_mut("model.2.cv2").unwrap()[1] = f64::NAN).contains("the score NaN"));
}

/// A channel whose weights are zero scores nothing and goes first, and the scores follow a permutation.
#[test]
fn scores_follow_the_channels() {
    let mut dense = dense();
    for name in ["model.0.conv.weight", "model.0.bn.weight"] {
        let values = dense.weights.get_mut(name).unwrap().f32s_mut().unwrap();
        let row = values.len() / 8;
        values[5 * row..6 * row].fill(0.0);
    }
    let of_scale = |network: &Checkpoint| ChannelScores::bn_scale(network);
    let of_weights = |network: &Checkpoint| ChannelScores::l1(network, false);
    for score in [of_scale, of_weights as fn(&Checkpoint) -> _] {
        let scores = score(&dense).unwrap();
        let first = &scores.groups["model.0"];
        assert_eq!(first.iter().position(|score| *score == 0.0), Some(5));
        let mut plan = yolo_prune::channels::ChannelPlan::identity(&dense.architecture);
        plan.groups.iter_mut().for_each(|group| group.kept.reverse());
        let reversed = score(&remove(&dense, &plan).unwrap()).unwrap();
        for (name, own) in &scores.groups {
            for (a, b) in own.iter().zip(reversed.groups[name].iter().rev()) {
                assert_close(*a, *b, name);
            }
        }
    }
    dense.weights.get_mut("model.0.bn.weight").unwrap().f32s_mut().unwrap()[0] = f32::NAN;
    let error = ChannelScores::bn_scale(&dense).unwrap_err();
    assert!(matches!(error, PruneError::ChannelScores { .. }), "{error}");
}
