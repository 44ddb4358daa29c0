//! Programs put together by hand, of the blocks of YOLOv8, YOLO11 and YOLO26: the runtime and Burn's own back end agree.

use burn::tensor::{Device, Tensor, TensorData};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use yolo_model::Result;
use yolo_model::architecture::{Activation, ConvSpec};
use yolo_model::program::{AttentionOrder, AttentionSpec, Lowering, ProgramLayout, ProgramModel, ValueId};
use yolo_nn::{Network as Interpreted, host_values};
use yolo_runtime::{Isa, Network, Options, Plan};

fn plain(spec: ConvSpec) -> ConvSpec {
    ConvSpec { activation: Activation::Identity, ..spec }
}

fn depthwise(channels: usize) -> ConvSpec {
    ConvSpec { groups: channels, ..ConvSpec::new(channels, channels, 3, 1) }
}

fn halves(lowering: &mut Lowering, input: ValueId, half: usize) -> Result<[ValueId; 2]> {
    let channels = lowering.channels(input);
    let split = lowering.conv("cv1", &ConvSpec::new(channels, 2 * half, 1, 1), input)?;
    Ok([lowering.slice(0..half, split)?, lowering.slice(half..2 * half, split)?])
}

fn join(lowering: &mut Lowering, parts: &[ValueId], out: usize) -> Result<ValueId> {
    let joined = lowering.concat(parts);
    let channels = lowering.channels(joined);
    lowering.conv("cv2", &ConvSpec::new(channels, out, 1, 1), joined)
}

fn c2f(lowering: &mut Lowering, input: ValueId, half: usize, shortcut: bool) -> Result<ValueId> {
    let [first, mut last] = halves(lowering, input, half)?;
    let mut parts = vec![first, last];
    for j in 0..2 {
        let hidden = lowering.conv(&format!("m.{j}.cv1"), &ConvSpec::new(half, half / 2, 3, 1), last)?;
        let output = lowering.conv(&format!("m.{j}.cv2"), &ConvSpec::new(half / 2, half, 3, 1), hidden)?;
        last = if shortcut { lowering.add([last, output])? } else { output };
        parts.push(last);
    }
    join(lowering, &parts, 2 * half)
}

fn c2psa(lowering: &mut Lowering, input: ValueId, half: usize, heads: usize) -> Result<ValueId> {
    let [first, mut last] = halves(lowering, input, half)?;
    let attention = AttentionSpec { heads, key: half / heads / 2, order: AttentionOrder::ByHead };
    for j in 0..2 {
        last = lowering.within(&format!("m.{j}"), |lowering| {
            let qkv = lowering.conv("qkv", &plain(ConvSpec::new(half, 2 * half, 1, 1)), last)?;
            let attended = lowering.attention(attention, qkv)?;
            let values = lowering.pick(attention.value_channels(2 * half), qkv)?;
            let position = lowering.conv("pe", &plain(depthwise(half)), values)?;
            let attended = lowering.add([attended, position])?;
            let projected = lowering.conv("proj", &plain(ConvSpec::new(half, half, 1, 1)), attended)?;
            let attended = lowering.add([last, projected])?;
            let hidden = lowering.conv("ffn.0", &ConvSpec::new(half, 2 * half, 1, 1), attended)?;
            let output = lowering.conv("ffn.1", &plain(ConvSpec::new(2 * half, half, 1, 1)), hidden)?;
            lowering.add([attended, output])
        })?;
    }
    join(lowering, &[first, last], 2 * half)
}

/// Two levels with box maps of four bins per side, each with two heads, one of them of detached features.
fn detector(shortcut: bool, heads: usize) -> ProgramModel {
    let build = || -> Result<ProgramLayout> {
        let mut lowering = Lowering::new(3);
        let stem = lowering.conv("stem", &ConvSpec::new(3, 10, 3, 2), 0)?;
        let fine = lowering.within("fine", |lowering| c2f(lowering, stem, 12, shortcut))?;
        let down = lowering.conv("down", &ConvSpec::new(24, 18, 3, 2), fine)?;
        let coarse = lowering.within("coarse", |lowering| c2psa(lowering, down, 16, heads))?;
        for (name, level) in [("fine.head", fine), ("coarse.head", coarse)] {
            for head in ["many", "one"] {
                let features = if head == "one" { lowering.detach(level) } else { level };
                let channels = lowering.channels(features);
                let output = lowering.within(&format!("{name}.{head}"), |lowering| {
                    let hidden = lowering.conv("box", &ConvSpec::new(channels, 8, 3, 1), features)?;
                    let boxes = lowering.bare_conv("bins", &plain(ConvSpec::new(8, 16, 1, 1)), hidden)?;
                    let hidden = lowering.conv("class", &depthwise(channels), features)?;
                    let scores =
                        lowering.bare_conv("scores", &plain(ConvSpec::new(channels, 5, 1, 1)), hidden)?;
                    Ok(lowering.concat(&[boxes, scores]))
                })?;
                lowering.output(output);
            }
        }
        Ok(ProgramLayout::new(lowering.finish(), [38, 54]))
    };
    let mut rng = StdRng::seed_from_u64(3);
    let mut model = ProgramModel::random(build().unwrap(), &mut rng).unwrap();
    for (name, tensor) in model.weights.iter_mut().filter(|(name, _)| name.contains(".bn.")) {
        let range = match name.rsplit('.').next().unwrap() {
            "weight" => 0.8..1.6,
            "running_var" => 0.2..0.6,
            "bias" | "running_mean" => -0.2..0.2,
            _ => continue,
        };
        tensor.f32s_mut().unwrap().iter_mut().for_each(|value| *value = rng.random_range(range.clone()));
    }
    model
}

#[test]
fn the_runtime_and_the_interpreter_agree() {
    let size = [38, 54];
    let mut rng = StdRng::seed_from_u64(8);
    let images: Vec<f32> = (0..2 * 3 * size[0] * size[1]).map(|_| rng.random()).collect();
    for (shortcut, heads) in [(true, 2), (false, 1)] {
        let model = detector(shortcut, heads);
        let device = Device::flex();
        let input = Tensor::from_data(TensorData::new(images.clone(), [2, 3, size[0], size[1]]), &device);
        let outputs = Interpreted::of(&model, &device).unwrap().forward(input);
        let expected: Vec<f32> =
            outputs.into_iter().flat_map(|output| host_values(output).unwrap()).collect();
        let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let network = Network::of_model(&model, 2, size).unwrap();
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let options = Options { threads: 2, isa: Some(isa), ..Options::default() };
            let plan = Plan::new(network.clone(), &options).unwrap();
            let mut found = vec![f32::NAN; plan.output_len()];
            plan.run(&images, &mut found).unwrap();
            assert_eq!(found.len(), expected.len());
            let worst = found.iter().zip(&expected).fold(0.0_f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(
                worst < 1e-4 * largest,
                "{isa}, shortcut {shortcut}, {heads} heads: {worst} of {largest}"
            );
            let steps = plan.profile(&images, &mut found).unwrap();
            let copies = steps.iter().filter(|(name, _)| ["upsample", "squares"].contains(&name.as_str()));
            assert_eq!(copies.count(), 0, "{isa}, {heads} heads");
        }
    }
}
