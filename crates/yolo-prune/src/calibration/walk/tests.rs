//! The walk against the network itself, layer by layer.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use yolo_model::program::Program;
use yolo_model::{Architecture, Checkpoint};

use super::*;
use crate::networks::{
    Map, activate, convolve, device, difference, layers, mixed_architecture, random, raw_batches, tensor,
    tiny_architecture,
};
use crate::{CalibrationImages, ImageBatch};

/// What the walk showed of a convolution.
struct Seen {
    conv: ConvRef,
    dense: Vec<Map>,
    pruned: Option<Vec<Map>>,
}

fn see(fused: &Checkpoint, images: &CalibrationImages, chosen: &HashMap<String, ConvValues>) -> Vec<Seen> {
    let mut seen = Vec::new();
    walk(&Fused::of(fused).unwrap(), images, &device(), |visit| {
        seen.push(Seen {
            conv: visit.conv.clone(),
            dense: visit.dense.iter().map(Map::of).collect(),
            pruned: visit.pruned.map(|batches| batches.iter().map(Map::of).collect()),
        });
        Ok(chosen.get(&visit.conv.name).cloned())
    })
    .unwrap();
    seen
}

/// Half of the weights at zero, the others larger, biases moved.
fn changed(fused: &Checkpoint, conv: &ConvRef) -> ConvValues {
    let mut weight = fused.weights.f32s(&conv.weight()).unwrap().to_vec();
    let bias = fused.weights.f32s(&conv.bias()).unwrap();
    weight.iter_mut().enumerate().for_each(|(i, w)| *w *= if i % 2 == 0 { 0.0 } else { 1.3 });
    ConvValues { weight, bias: bias.iter().map(|b| b + 0.05).collect() }
}

/// Whether a value differs from that of the dense network, by the graph alone.
fn is_changed(program: &Program, chosen: &HashMap<String, ConvValues>) -> Vec<bool> {
    let mut changed = vec![false];
    for operation in &program.operations {
        let itself = match &operation.kind {
            OperationKind::Conv(conv) => chosen.contains_key(&conv.name),
            _ => false,
        };
        changed.push(itself || operation.inputs.iter().any(|input| changed[*input]));
    }
    changed
}

/// The map that a convolution makes where it is the output of a layer or the logits of a level.
fn output_of<'a>(
    architecture: &Architecture,
    conv: &ConvRef,
    maps: &'a (Vec<Map>, Vec<Map>),
) -> Option<&'a Map> {
    if conv.is_bare {
        return Some(&maps.1[conv.name.rsplit('.').next().unwrap().parse::<usize>().unwrap()]);
    }
    let program = architecture.program();
    let value = program.convs().find(|(_, other)| other.name == conv.name).unwrap().0 + 1;
    (program.layers[conv.layer] == value).then(|| &maps.0[conv.layer])
}

/// Both streams of `seen` make what the dense and the changed network make.
fn assert_outputs(
    fused: &Checkpoint,
    changed: &Checkpoint,
    seen: &[Seen],
    batches: &[([usize; 3], Vec<u8>)],
) -> usize {
    let mut compared = 0;
    for (index, (shape, pixels)) in batches.iter().enumerate() {
        for (network, is_dense) in [(fused, true), (changed, false)] {
            let maps = layers(network, tensor(pixels, *shape));
            for Seen { conv, dense, pruned } in seen {
                let Some(expected) = output_of(&fused.architecture, conv, &maps) else { continue };
                let input = if is_dense { dense } else { pruned.as_ref().unwrap_or(dense) };
                let weight = network.weights.f32s(&conv.weight()).unwrap();
                let bias = network.weights.f32s(&conv.bias()).unwrap();
                let outputs = convolve(&input[index], &conv.spec, weight, bias);
                let actual = activate(&outputs, shape[0], &conv.spec.activation);
                let worst = difference(&actual, &expected.values);
                assert!(worst < 1e-5, "{} of batch {index}, dense {is_dense}: {worst}", conv.name);
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn both_streams_are_those_of_the_networks() {
    for (architecture, seed) in [(tiny_architecture(), 1), (mixed_architecture(), 2)] {
        let fused = random(architecture, seed).fuse().unwrap().into_checkpoint();
        let program = fused.architecture.program();
        let batches = raw_batches(10);
        let images = CalibrationImages::new(batches.iter().map(|(shape, pixels)| ImageBatch {
            pixels: pixels.clone(),
            n: shape[0],
            height: shape[1],
            width: shape[2],
        }))
        .unwrap();
        let convs: Vec<&ConvRef> = program.convs().map(|(_, conv)| conv).collect();
        let named = |names: &[&str]| -> HashMap<String, ConvValues> {
            let chosen = convs.iter().filter(|conv| names.contains(&conv.name.as_str()));
            chosen.map(|conv| (conv.name.clone(), changed(&fused, conv))).collect()
        };
        let all: Vec<&str> = convs.iter().map(|conv| conv.name.as_str()).collect();
        let every_other: Vec<&str> = all.iter().copied().skip(1).step_by(2).collect();
        for names in [&all[..], &every_other, &["model.8.cv2"], &["model.2.m.1.cv1", "model.10.m.1"], &[]] {
            let chosen = named(names);
            assert_eq!(chosen.len(), names.len());
            let mut network = fused.clone();
            for conv in convs.iter().filter(|conv| chosen.contains_key(&conv.name)) {
                let values = &chosen[&conv.name];
                for (name, values) in [(conv.weight(), &values.weight), (conv.bias(), &values.bias)] {
                    network.weights.get_mut(&name).unwrap().f32s_mut().unwrap().copy_from_slice(values);
                }
            }
            let seen = see(&fused, &images, &chosen);
            assert!(seen.iter().map(|seen| &seen.conv.name).eq(convs.iter().map(|conv| &conv.name)));
            let changed = is_changed(&program, &chosen);
            for (seen, (index, _)) in seen.iter().zip(program.convs()) {
                let input = program.operations[index].inputs[0];
                assert_eq!(seen.pruned.is_some(), changed[input], "{}", seen.conv.name);
            }
            // Seven outputs of layers and two levels, three batches, two networks.
            assert_eq!(assert_outputs(&fused, &network, &seen, &batches), 9 * 3 * 2);
        }
    }
}

#[test]
fn an_error_of_the_visitor_ends_the_walk() {
    let fused = random(tiny_architecture(), 3).fuse().unwrap().into_checkpoint();
    let batch = ImageBatch { pixels: crate::networks::pixels([1, 32, 32], 4), n: 1, height: 32, width: 32 };
    let images = CalibrationImages::new([batch]).unwrap();
    let mut visits = 0;
    let error = walk(&Fused::of(&fused).unwrap(), &images, &device(), |visit| {
        visits += 1;
        let reason = visit.conv.name.clone();
        if visits < 3 { Ok(None) } else { Err(crate::PruneError::Calibration { reason }) }
    });
    assert_eq!(error.unwrap_err().to_string(), "calibration: model.2.cv1");
    assert_eq!(visits, 3);
}
