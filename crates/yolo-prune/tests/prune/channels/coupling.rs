//! The coupling groups, against the table worked out by hand.

use std::collections::HashMap;

use yolo_model::Architecture;
use yolo_model::architecture::ConvSpec;
use yolo_model::modules::{Block, BottleneckSpec, C3Spec, SppfSpec};
use yolo_prune::channels::{ChannelGroup, Coupling};

use super::networks::{all_sizes, tiny_architecture};

fn group<'a>(coupling: &'a Coupling, producer: &str) -> &'a ChannelGroup {
    &coupling.groups[coupling.produced_by(producer).unwrap()]
}

fn producers(group: &ChannelGroup) -> Vec<&str> {
    group.producers.iter().map(|conv| conv.name.as_str()).collect()
}

fn consumers(group: &ChannelGroup) -> Vec<(&str, Vec<usize>)> {
    group.consumers.iter().map(|c| (c.conv.name.as_str(), c.offsets.clone())).collect()
}

#[test]
fn the_sizes_have_their_numbers_of_groups() {
    let expected = [50, 50, 65, 80, 95];
    let counts: Vec<(&str, usize)> =
        all_sizes().map(|(name, architecture)| (name, Coupling::of(&architecture).groups.len())).collect();
    for (&(name, count), expected) in counts.iter().zip(expected) {
        assert_eq!(count, expected, "{name}");
    }
    for (name, architecture) in all_sizes() {
        let groups = Coupling::of(&architecture).groups.len();
        assert_eq!(groups, groups_by_blocks(&architecture), "{name}");
    }
}

/// Independent groups by block: a Conv has 1, an SPPF 2, a C3 has its residual stream, bypass and output, one
/// hidden width per bottleneck, and without shortcuts one output width per bottleneck more.
fn groups_by_blocks(architecture: &Architecture) -> usize {
    let of = |block: &Block| {
        if let Some(c3) = block.get::<C3Spec>() {
            return 3 + c3.m.iter().map(|b| if b.add { 1 } else { 2 }).sum::<usize>();
        }
        if block.get::<SppfSpec>().is_some() {
            return 2;
        }
        usize::from(block.get::<ConvSpec>().is_some())
    };
    architecture.layers.iter().map(|layer| of(&layer.block)).sum()
}

/// Every output channel belongs to one group, every input channel comes from one slice, and both sides agree.
#[test]
fn groups_partition_the_outputs_and_slices_the_inputs() {
    let networks = all_sizes().chain([("tiny", tiny_architecture())]);
    for (name, architecture) in networks {
        let coupling = Coupling::of(&architecture);
        let mut produced: HashMap<&str, usize> = HashMap::new();
        for group in &coupling.groups {
            assert_eq!(group.name, group.producers[0].name);
            assert!(group.fixed.is_none(), "{name}: {} {:?}", group.name, group.fixed);
            for conv in &group.producers {
                assert_eq!(conv.spec.out_channels, group.channels, "{name}: {}", conv.name);
                *produced.entry(&conv.name).or_default() += 1;
            }
        }
        let convs = architecture.convs();
        for conv in &convs {
            let expected = if conv.is_bare { None } else { Some(&1) };
            assert_eq!(produced.get(conv.name.as_str()), expected, "{name}: {}", conv.name);
        }
        assert_eq!(coupling.inputs.len(), convs.len(), "{name}");
        for conv in &convs {
            let input = coupling.inputs.iter().find(|input| input.conv == *conv).unwrap();
            let mut next = 0;
            for slice in &input.slices {
                assert_eq!(slice.offset, next, "{name}: {}", conv.name);
                next += slice.channels;
                let Some(group) = slice.group else {
                    assert_eq!((conv.name.as_str(), slice.channels), ("model.0", 3));
                    continue;
                };
                let group = &coupling.groups[group];
                assert_eq!(slice.channels, group.channels);
                let consumer = group.consumers.iter().find(|c| c.conv == *conv).unwrap();
                assert_eq!(consumer.offsets.iter().filter(|&&o| o == slice.offset).count(), 1);
            }
            assert_eq!(next, conv.spec.in_channels, "{name}: {}", conv.name);
        }
        let slices: usize =
            coupling.inputs.iter().flat_map(|i| &i.slices).filter(|s| s.group.is_some()).count();
        let offsets: usize = coupling.groups.iter().flat_map(|g| &g.consumers).map(|c| c.offsets.len()).sum();
        assert_eq!(slices, offsets, "{name}");
    }
}

/// Specification: the table of couplings of the sizes without P6, on yolov5s with its widths.
#[test]
fn couplings_are_those_of_the_table() {
    let coupling = Coupling::of(&Architecture::variant("yolov5s", None).unwrap());
    let residual = group(&coupling, "model.4.cv1");
    assert_eq!(producers(residual), ["model.4.cv1", "model.4.m.0.cv2", "model.4.m.1.cv2"]);
    assert_eq!(
        consumers(residual),
        [("model.4.m.0.cv1", vec![0]), ("model.4.m.1.cv1", vec![0]), ("model.4.cv3", vec![0])]
    );
    assert_eq!(consumers(group(&coupling, "model.4.cv2")), [("model.4.cv3", vec![64])]);
    let across = group(&coupling, "model.4.cv3");
    assert_eq!(producers(across), ["model.4.cv3"]);
    assert_eq!(
        consumers(across),
        [("model.5", vec![0]), ("model.17.cv1", vec![128]), ("model.17.cv2", vec![128])]
    );
    assert_eq!(consumers(group(&coupling, "model.9.cv1")), [("model.9.cv2", vec![0, 256, 512, 768])]);
    assert_eq!(
        consumers(group(&coupling, "model.10")),
        [
            ("model.13.cv1", vec![0]),
            ("model.13.cv2", vec![0]),
            ("model.23.cv1", vec![256]),
            ("model.23.cv2", vec![256])
        ]
    );
    // No shortcuts in the head.
    assert_eq!(producers(group(&coupling, "model.13.cv1")), ["model.13.cv1"]);
    assert_eq!(consumers(group(&coupling, "model.13.cv1")), [("model.13.m.0.cv1", vec![0])]);
    assert_eq!(consumers(group(&coupling, "model.13.m.0.cv2")), [("model.13.cv3", vec![0])]);
    assert_eq!(
        consumers(group(&coupling, "model.17.cv3")),
        [("model.18", vec![0]), ("model.24.m.0", vec![0])]
    );
    assert!(coupling.produced_by("model.24.m.0").is_none());
}

/// Sums that cross groups, and convolutions with groups, fix what they touch.
#[test]
fn what_cannot_go_says_why() {
    let mut architecture = tiny_architecture();
    if let Some(conv) = architecture.layers[3].block.get_mut::<ConvSpec>() {
        *conv = ConvSpec { groups: 8, ..conv.clone() };
    }
    architecture.validate().unwrap();
    let coupling = Coupling::of(&architecture);
    let fixed: Vec<&str> =
        coupling.groups.iter().filter(|g| g.fixed.is_some()).map(|g| g.name.as_str()).collect();
    assert_eq!(fixed, ["model.2.cv3", "model.3"]);
    assert!(
        group(&coupling, "model.3").fixed.as_deref().unwrap().contains("model.3 is a convolution with 8")
    );

    // A shortcut over a concatenation couples part of a group with another.
    let mut architecture = tiny_architecture();
    architecture.layers[8].block = Block::new(BottleneckSpec {
        cv1: ConvSpec::new(32, 8, 1, 1),
        cv2: ConvSpec::new(8, 32, 3, 1),
        add: true,
    });
    let after = architecture.layers[9].block.get_mut::<BottleneckSpec>().unwrap();
    after.cv1.in_channels = 32;
    after.add = false;
    architecture.validate().unwrap();
    let coupling = Coupling::of(&architecture);
    let fixed: Vec<&str> =
        coupling.groups.iter().filter(|g| g.fixed.is_some()).map(|g| g.name.as_str()).collect();
    assert_eq!(fixed, ["model.2.cv3", "model.5", "model.8.cv2"]);
}
