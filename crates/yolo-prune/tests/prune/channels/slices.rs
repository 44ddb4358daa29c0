//! Channels of networks whose convolutions are cut into slices, with attention and depthwise convolutions: the blocks of
//! YOLOv8, YOLO11 and YOLO26.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use yolo_model::Layout;
use yolo_model::Result;
use yolo_model::architecture::{Activation, ConvRef, ConvSpec};
use yolo_model::program::{AttentionOrder, AttentionSpec, Lowering, ProgramLayout, ProgramModel, ValueId};
use yolo_nn::{Network, host_values};
use yolo_prune::channels::{
    ChannelOptions, ChannelPlan, ChannelScores, Coupling, PassageKind, Quantity, Size, Slimming, Target,
    remove, select,
};

use super::networks::randomise_norms;

const IMAGE: [usize; 2] = [11, 14];

fn plain(spec: ConvSpec) -> ConvSpec {
    ConvSpec { activation: Activation::Identity, ..spec }
}

fn depthwise(channels: usize) -> ConvSpec {
    ConvSpec { groups: channels, ..ConvSpec::new(channels, channels, 3, 1) }
}

/// `cv2(concat [a, b, m1(b), m2(m1(b))])`.
fn c2f(lowering: &mut Lowering, input: ValueId, [channels, half, out]: [usize; 3]) -> Result<ValueId> {
    let split = lowering.conv("cv1", &ConvSpec::new(channels, 2 * half, 1, 1), input)?;
    let mut parts = vec![lowering.slice(0..half, split)?, lowering.slice(half..2 * half, split)?];
    for j in 0..2 {
        let last = parts[parts.len() - 1];
        let hidden = lowering.conv(&format!("m.{j}.cv1"), &ConvSpec::new(half, half, 3, 1), last)?;
        let output = lowering.conv(&format!("m.{j}.cv2"), &ConvSpec::new(half, half, 3, 1), hidden)?;
        parts.push(if j == 0 { lowering.add([last, output])? } else { output });
    }
    let joined = lowering.concat(&parts);
    lowering.conv("cv2", &ConvSpec::new(4 * half, out, 1, 1), joined)
}

/// `cv2(concat [a, m(b)])`, `m` being attention of two heads and two convolutions.
fn c2psa(lowering: &mut Lowering, input: ValueId, [channels, half, out]: [usize; 3]) -> Result<ValueId> {
    let attention = AttentionSpec { heads: 2, key: half / 4, order: AttentionOrder::ByHead };
    let split = lowering.conv("cv1", &ConvSpec::new(channels, 2 * half, 1, 1), input)?;
    let first = lowering.slice(0..half, split)?;
    let second = lowering.slice(half..2 * half, split)?;
    let qkv = lowering.conv("qkv", &plain(ConvSpec::new(half, 2 * half, 1, 1)), second)?;
    let attended = lowering.attention(attention, qkv)?;
    let values = lowering.pick(attention.value_channels(2 * half), qkv)?;
    let position = lowering.conv("pe", &plain(depthwise(half)), values)?;
    let attended = lowering.add([attended, position])?;
    let projected = lowering.conv("proj", &plain(ConvSpec::new(half, half, 1, 1)), attended)?;
    let attended = lowering.add([second, projected])?;
    let hidden = lowering.conv("ffn.0", &ConvSpec::new(half, 2 * half, 1, 1), attended)?;
    let output = lowering.conv("ffn.1", &plain(ConvSpec::new(2 * half, half, 1, 1)), hidden)?;
    let output = lowering.add([attended, output])?;
    let joined = lowering.concat(&[first, output]);
    lowering.conv("cv2", &ConvSpec::new(2 * half, out, 1, 1), joined)
}

/// A detector of one level that returns its boxes and scores joined, twice: the second time of detached features.
fn detector() -> Result<ProgramLayout> {
    let mut lowering = Lowering::new(3);
    let stem = lowering.conv("stem", &ConvSpec::new(3, 12, 3, 1), 0)?;
    let block = lowering.within("c2f", |lowering| c2f(lowering, stem, [12, 8, 16]))?;
    let block = lowering.within("psa", |lowering| c2psa(lowering, block, [16, 8, 10]))?;
    for name in ["many", "one"] {
        let features = if name == "one" { lowering.detach(block) } else { block };
        let head = lowering.within(name, |lowering| {
            let hidden = lowering.conv("box.0", &ConvSpec::new(10, 6, 3, 1), features)?;
            let boxes = lowering.bare_conv("box.1", &plain(ConvSpec::new(6, 8, 1, 1)), hidden)?;
            let hidden = lowering.conv("class.0", &depthwise(10), features)?;
            let hidden = lowering.conv("class.1", &ConvSpec::new(10, 7, 1, 1), hidden)?;
            let scores = lowering.bare_conv("class.2", &plain(ConvSpec::new(7, 3, 1, 1)), hidden)?;
            Ok(lowering.concat(&[boxes, scores]))
        })?;
        lowering.output(head);
    }
    Ok(ProgramLayout::new(lowering.finish(), IMAGE))
}

fn random(seed: u64) -> ProgramModel {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = ProgramModel::random(detector().unwrap(), &mut rng).unwrap();
    randomise_norms(&mut model.weights, &mut rng);
    model
}

fn logits(model: &ProgramModel) -> Vec<f32> {
    let (device, [height, width]) = (Device::flex(), IMAGE);
    let pixels: Vec<f32> = (0..2 * 3 * height * width).map(|i| ((i * 7 % 31) as f32) / 31.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [2, 3, height, width]), &device);
    let outputs = Network::of(model, &device).unwrap().forward(images);
    assert!(outputs.iter().all(|output| output.dims() == [2, 11, height, width]));
    outputs.into_iter().flat_map(|output| host_values(output).unwrap()).collect()
}

/// The network whose channels that the plan removes are zero: `SiLU(0) = 0`.
fn masked(dense: &ProgramModel, plan: &ChannelPlan) -> ProgramModel {
    let mut masked = dense.clone();
    let coupling = Coupling::of(&dense.layout);
    let mut clear = |conv: &ConvRef, rows: Vec<usize>| {
        for vector in [conv.bn("weight"), conv.bn("bias")] {
            let values = masked.weights.get_mut(&vector).unwrap().f32s_mut().unwrap();
            rows.iter().for_each(|&row| values[row] = 0.0);
        }
    };
    let gone = |group: usize| -> Vec<usize> {
        let kept = &plan.groups[group].kept;
        (0..coupling.groups[group].channels).filter(|channel| !kept.contains(channel)).collect()
    };
    for (index, group) in coupling.groups.iter().enumerate() {
        assert_eq!(group.name, plan.groups[index].group);
        group.producers.iter().for_each(|conv| clear(conv, group.rows(conv, &gone(index))));
    }
    // What a depthwise convolution makes of zeros is not zero.
    for passage in &coupling.passages {
        let PassageKind::Depthwise(conv) = &passage.kind else { continue };
        for slice in &passage.slices {
            let rows = slice.group.map(gone).unwrap_or_default();
            clear(conv, rows.into_iter().map(|channel| slice.offset + channel).collect());
        }
    }
    masked
}

/// Halves of one convolution stay equal, shortcuts join a half with what is added to it, and attention keeps its width.
#[test]
fn groups_of_slices() {
    let coupling = Coupling::of(&detector().unwrap());
    let group = |name: &str| coupling.groups.iter().find(|group| group.name == name).unwrap();
    let split = group("c2f.cv1");
    assert_eq!((split.channels, split.fixed.as_ref()), (8, None));
    let producers: Vec<(&str, usize)> =
        split.producers.iter().map(|conv| (conv.name.as_str(), split.copies(conv))).collect();
    assert_eq!(producers, [("c2f.cv1", 2), ("c2f.m.0.cv2", 1)]);
    let consumers: Vec<(&str, &[usize])> =
        split.consumers.iter().map(|consumer| (consumer.conv.name.as_str(), &consumer.offsets[..])).collect();
    let expected: [(&str, &[usize]); 3] =
        [("c2f.m.0.cv1", &[0]), ("c2f.m.1.cv1", &[0]), ("c2f.cv2", &[0, 8, 16])];
    assert_eq!(consumers, expected);
    assert_eq!(group("c2f.m.1.cv2").consumers[0].offsets, [24]);
    let reason = |name: &str| group(name).fixed.clone().unwrap_or_default();
    assert_eq!(reason("psa.cv1"), "psa.qkv makes queries, keys and values of it");
    assert_eq!(reason("psa.qkv"), "attention reads it");
    assert_eq!(group("psa.cv1").producers.len(), 3, "the projection and the last of the ffn are added to it");
    for free in ["stem", "c2f.m.0.cv1", "c2f.cv2", "psa.ffn.0", "psa.cv2", "many.box.0", "one.class.1"] {
        assert_eq!(group(free).fixed, None, "{free}");
    }
    for returned in ["many.box.1", "many.class.2", "one.box.1", "many.class.0"] {
        assert_eq!(coupling.produced_by(returned), None, "{returned}");
    }
    let channels = 12 + 16 + 4 * 8 + 16 + 16 + 16 + 8 + 8 + 16 + 8 + 10 + 2 * (6 + 10 + 7);
    assert_eq!(Size::of(&detector().unwrap(), None).channels, channels);
}

#[test]
fn a_narrowed_network_equals_the_masked_one() {
    let dense = random(1);
    let mut rng = StdRng::seed_from_u64(2);
    let coupling = Coupling::of(&dense.layout);
    let mut plan = ChannelPlan::identity(&dense.layout);
    for (group, kept) in coupling.groups.iter().zip(&mut plan.groups) {
        if group.fixed.is_none() {
            kept.kept.shuffle(&mut rng);
            kept.kept.truncate(rng.random_range(1..kept.width));
        }
    }
    let smaller = remove(&dense, &plan).unwrap();
    assert_eq!(plan.predict(&dense.layout).unwrap(), Size::of(&smaller.layout, None));
    let split = coupling.groups.iter().position(|group| group.name == "c2f.cv1").unwrap();
    let cv1 = &smaller.layout.convs()[1];
    assert_eq!((cv1.name.as_str(), cv1.spec.out_channels), ("c2f.cv1", 2 * plan.groups[split].kept.len()));
    let expected = logits(&masked(&dense, &plan));
    let found = logits(&smaller);
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
    let changed = logits(&dense).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(changed > 1e-2, "{changed}");
}

/// Every criterion counts both halves.
#[test]
fn scores_of_halves_count_together() {
    let dense = random(3);
    let scales = ChannelScores::bn_scale(&dense).unwrap();
    let of = |name: &str| dense.weights.f32s(&format!("{name}.bn.weight")).unwrap();
    let (halves, joined) = (of("c2f.cv1"), of("c2f.m.0.cv2"));
    for (channel, score) in scales.groups["c2f.cv1"].iter().enumerate() {
        let sum = halves[channel].abs() + halves[8 + channel].abs() + joined[channel].abs();
        assert!((score - f64::from(sum) / 3.0).abs() < 1e-6, "{channel}");
    }
    let slimming = Slimming::new(&dense, 0.5, &[]).unwrap();
    let scales = slimming.tensors().map(|name| (name.to_owned(), dense.weights.f32s(name).unwrap().to_vec()));
    let gradients = slimming.gradients(&scales.collect(), 0.1).unwrap();
    let (_, gradient) = gradients.iter().find(|(name, _)| name == "c2f.cv1.bn.weight").unwrap();
    assert_eq!(gradient.len(), 16);
    assert!((0..8).all(|channel| (gradient[channel] == 0.0) == (gradient[8 + channel] == 0.0)));
    assert_eq!(gradient.iter().filter(|value| **value != 0.0).count(), 8);
    for scores in [ChannelScores::l1(&dense, true).unwrap(), ChannelScores::l2(&dense, false).unwrap()] {
        let options = ChannelOptions::new(Target::less(Quantity::Gflops, 0.4));
        let plan = select(&dense.layout, &scores.normalised(), &options, None).unwrap();
        let smaller = remove(&dense, &plan).unwrap();
        assert!(smaller.layout.gflops() <= 0.6 * dense.layout.gflops());
        assert!(logits(&smaller).iter().all(|logit| logit.is_finite()));
    }
}

/// Slices of other widths than a half stay whole, with a reason.
#[test]
fn unequal_slices_stay() {
    let mut lowering = Lowering::new(3);
    let split = lowering.conv("split", &ConvSpec::new(3, 8, 1, 1), 0).unwrap();
    let (small, large) = (lowering.slice(0..3, split).unwrap(), lowering.slice(3..8, split).unwrap());
    let joined = lowering.concat(&[large, small]);
    lowering.output_conv("out", &ConvSpec::new(8, 2, 1, 1), joined).unwrap();
    let layout = ProgramLayout::new(lowering.finish(), [8, 8]);
    let coupling = Coupling::of(&layout);
    assert_eq!(coupling.groups[0].fixed.as_deref(), Some("it is cut into unequal slices"));
    let model = ProgramModel::random(layout, &mut StdRng::seed_from_u64(4)).unwrap();
    let plan = ChannelPlan::identity(&model.layout);
    let same = remove(&model, &plan).unwrap();
    assert!(same.weights.iter().eq(model.weights.iter()));
}
