//! Whole networks against a slow executor in f64.

use std::sync::Arc;

use yolo_model::LevelChannels;
use yolo_runtime::{Conv, Isa, Level, Network, Op, Options, Output, Plan, RuntimeError, ValueId};

use crate::reference::{Random, Zeros, anchor_channels, assert_close, conv, naive};

/// Operations in the making.
struct Builder {
    ops: Vec<Op>,
    random: Random,
    zeros: Zeros,
}

impl Builder {
    fn new(seed: u64, zeros: Zeros) -> Self {
        Self { ops: Vec::new(), random: Random::new(seed), zeros }
    }

    fn push(&mut self, op: Op) -> ValueId {
        self.ops.push(op);
        self.ops.len()
    }

    fn conv(&mut self, input: ValueId, channels: [usize; 2], kernel: usize, stride: usize) -> ValueId {
        let name = format!("conv{}", self.ops.len());
        let conv = conv(&name, input, channels, [kernel; 2], &mut self.random, self.zeros);
        self.push(Op::Conv(Conv { stride: [stride; 2], ..conv }))
    }

    fn c3(&mut self, input: ValueId, channels: [usize; 2], shortcut: bool) -> ValueId {
        let half = channels[1] / 2;
        let mut deep = self.conv(input, [channels[0], half], 1, 1);
        for _ in 0..2 {
            let hidden = self.conv(deep, [half, half], 1, 1);
            let output = self.conv(hidden, [half, half], 3, 1);
            deep = if shortcut { self.push(Op::Add { inputs: [output, deep] }) } else { output };
        }
        let beside = self.conv(input, [channels[0], half], 1, 1);
        let joined = self.push(Op::Concat { inputs: vec![deep, beside] });
        self.conv(joined, [2 * half, channels[1]], 1, 1)
    }

    fn sppf(&mut self, input: ValueId, channels: usize) -> ValueId {
        let mut stages = vec![self.conv(input, [channels, channels / 2], 1, 1)];
        for _ in 0..3 {
            let last = stages[stages.len() - 1];
            stages.push(self.push(Op::MaxPool { input: last, size: 5 }));
        }
        let joined = self.push(Op::Concat { inputs: stages });
        self.conv(joined, [channels * 2, channels], 1, 1)
    }
}

/// A small detector with everything that YOLOv5 has, two levels at strides 4 and 8.
fn detector(batch: usize, size: [usize; 2], width: usize, zeros: Zeros, boxes: bool) -> Network {
    let mut b = Builder::new(11, zeros);
    let w = width;
    let stem = b.conv(0, [3, w], 6, 2);
    if let Some(Op::Conv(conv)) = b.ops.last_mut() {
        conv.padding = [2, 2];
    }
    let down = b.conv(stem, [w, 2 * w], 3, 2);
    let c3 = b.c3(down, [2 * w, 2 * w], true);
    let deeper = b.conv(c3, [2 * w, 4 * w], 3, 2);
    let sppf = b.sppf(deeper, 4 * w);
    let lateral = b.conv(sppf, [4 * w, 2 * w], 1, 1);
    let up = b.push(Op::Upsample { input: lateral, scale: 2 });
    let joined = b.push(Op::Concat { inputs: vec![up, c3] });
    let fine = b.c3(joined, [4 * w, 2 * w], false);
    let down = b.conv(fine, [2 * w, 2 * w], 3, 2);
    let joined = b.push(Op::Concat { inputs: vec![down, lateral] });
    let coarse = b.c3(joined, [4 * w, 4 * w], false);
    let mut head = |input, channels| {
        let value = b.conv(input, [channels, 2 * 18], 1, 1);
        if let Some(Op::Conv(conv)) = b.ops.last_mut() {
            conv.activation = yolo_runtime::Activation::None;
        }
        value
    };
    let values = [head(fine, 2 * w), head(coarse, 4 * w)];
    let level = |(value, stride): (ValueId, f32)| {
        let channels = anchor_channels(stride, &[[10.0, 13.0], [33.0, 23.0]], 13);
        Level { value, channels }
    };
    let output = if boxes {
        Output::Detections(values.into_iter().zip([4.0, 8.0]).map(level).collect())
    } else {
        Output::Maps(values.to_vec())
    };
    Network { batch, input: [3, size[0], size[1]], ops: b.ops, output }
}

fn isas() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available()).collect()
}

fn image(network: &Network) -> Vec<f32> {
    Random::new(5).numbers(network.batch * network.input.iter().product::<usize>())
}

fn check(network: &Network, isa: Isa) {
    let image = image(network);
    let expected = naive(network, &image);
    let options = Options { threads: 2, isa: Some(isa), ..Options::default() };
    let plan = Plan::new(network.clone(), &options).unwrap();
    let mut output = vec![f32::NAN; plan.output_len()];
    for _ in 0..2 {
        plan.run(&image, &mut output).unwrap();
        assert_close(&output, &expected, 1e-4, &format!("{:?} {isa}", network.input));
    }
}

#[test]
fn detectors_of_awkward_shapes_make_the_same_boxes() {
    for isa in isas() {
        for size in [[64, 64], [96, 160], [104, 104], [8, 8], [40, 24], [120, 16]] {
            check(&detector(1, size, 5, Zeros::None, true), isa);
        }
        check(&detector(3, [48, 64], 4, Zeros::Share(0.7), true), isa);
        check(&detector(1, [64, 48], 8, Zeros::Blocks(0.7), true), isa);
        check(&detector(2, [56, 72], 4, Zeros::Share(0.3), false), isa);
    }
}

#[test]
fn threads_do_not_change_the_result() {
    for zeros in [Zeros::None, Zeros::Share(0.6)] {
        let network = detector(2, [64, 96], 6, zeros, true);
        let image = image(&network);
        let outputs = [1, 2, 3, 5].map(|threads| {
            let plan = Plan::new(network.clone(), &Options { threads, ..Options::default() }).unwrap();
            assert_eq!(plan.threads(), threads);
            let mut output = vec![0.0; plan.output_len()];
            plan.run(&image, &mut output).unwrap();
            output
        });
        assert!(outputs.windows(2).all(|pair| pair[0] == pair[1]));
    }
}

#[test]
fn plans_can_be_shared_between_threads() {
    let network = detector(1, [64, 64], 4, Zeros::Share(0.5), true);
    let image = image(&network);
    let plan = Arc::new(Plan::new(network.clone(), &Options { threads: 2, ..Options::default() }).unwrap());
    let other = Plan::new(network, &Options { team: Some(plan.team()), ..Options::default() }).unwrap();
    let mut expected = vec![0.0; plan.output_len()];
    plan.run(&image, &mut expected).unwrap();
    std::thread::scope(|scope| {
        for plan in [&*plan, &*plan, &other, &other] {
            let (image, expected) = (&image, &expected);
            scope.spawn(move || {
                for _ in 0..20 {
                    let mut output = vec![0.0; plan.output_len()];
                    plan.run(image, &mut output).unwrap();
                    assert_eq!(&output, expected);
                }
            });
        }
    });
}

#[test]
fn values_may_be_read_in_any_way() {
    for isa in isas() {
        let mut b = Builder::new(2, Zeros::None);
        let a = b.conv(0, [2, 3], 3, 1);
        let both = b.push(Op::Add { inputs: [a, a] });
        let twice = b.push(Op::Concat { inputs: vec![both, both, 0, a] });
        let nested = b.push(Op::Concat { inputs: vec![a, twice, 0] });
        let pooled = b.push(Op::MaxPool { input: nested, size: 3 });
        let pooled_again = b.push(Op::MaxPool { input: pooled, size: 7 });
        let c = b.conv(pooled, [16, 4], 3, 1);
        let d = b.conv(nested, [16, 4], 5, 1);
        let sum = b.push(Op::Add { inputs: [c, d] });
        let up = b.push(Op::Upsample { input: sum, scale: 3 });
        let down = b.conv(up, [4, 5], 3, 3);
        let output = Output::Maps(vec![0, a, twice, pooled_again, c, up, down, a]);
        for size in [[10, 9], [3, 17]] {
            check(
                &Network {
                    batch: 2,
                    input: [2, size[0], size[1]],
                    ops: b.ops.clone(),
                    output: output.clone(),
                },
                isa,
            );
        }
    }
}

#[test]
fn plain_sums_are_fused_and_unread_operations_dropped() {
    let mut network = detector(1, [64, 64], 4, Zeros::None, true);
    let convs = |network: &Network| network.ops.iter().filter(|op| matches!(op, Op::Conv(_))).count();
    let before = convs(&network);
    network.fuse_residuals();
    assert!(!network.ops.iter().any(|op| matches!(op, Op::Add { .. })));
    assert_eq!(convs(&network), before);
    check(&network, Isa::detect());
}

#[test]
fn buffers_share_memory_that_is_no_longer_needed() {
    let network = detector(1, [256, 256], 16, Zeros::None, true);
    let plan = Plan::new(network, &Options { threads: 1, ..Options::default() }).unwrap();
    let memory = plan.memory();
    assert!(memory.arena >= memory.live);
    assert!(memory.arena as f64 <= 1.25 * memory.live as f64 + (2 << 20) as f64, "{memory:?}");
}

#[test]
fn wrong_networks_and_buffers_are_errors() {
    let good = detector(1, [64, 64], 4, Zeros::None, true);
    let plan = Plan::new(good.clone(), &Options { threads: 1, ..Options::default() }).unwrap();
    let mut output = vec![0.0; plan.output_len()];
    let error = plan.run(&[0.0; 3], &mut output).unwrap_err();
    assert_eq!(error.to_string(), "the input holds 3 numbers, the plan needs 12288");
    assert!(plan.run(&vec![0.0; plan.input_len()], &mut output[1..]).is_err());
    let fails = |change: fn(&mut Network)| {
        let mut network = good.clone();
        change(&mut network);
        Plan::new(network, &Options { threads: 1, ..Options::default() }).unwrap_err()
    };
    let first = |network: &mut Network, change: fn(&mut Conv)| {
        if let Op::Conv(conv) = &mut network.ops[0] {
            change(conv);
        }
    };
    let of_first = move |change: fn(&mut Conv)| {
        let mut network = detector(1, [64, 64], 4, Zeros::None, true);
        first(&mut network, change);
        Plan::new(network, &Options { threads: 1, ..Options::default() }).unwrap_err()
    };
    for error in [
        of_first(|conv| conv.weight.truncate(5)),
        of_first(|conv| conv.bias.clear()),
        of_first(|conv| conv.kernel = [0, 6]),
        of_first(|conv| conv.stride = [0, 2]),
        of_first(|conv| conv.dilation = [0, 1]),
        of_first(|conv| conv.input = 7),
        of_first(|conv| conv.residual = Some(0)),
        fails(|network| network.batch = 0),
        fails(|network| network.input = [4, 64, 64]),
        fails(|network| network.ops.push(Op::Concat { inputs: vec![] })),
        fails(|network| network.ops.push(Op::Concat { inputs: vec![0, 1] })),
        fails(|network| network.ops.push(Op::Upsample { input: 0, scale: 0 })),
        fails(|network| network.ops.push(Op::MaxPool { input: 0, size: 4 })),
        fails(|network| network.output = Output::Maps(vec![100])),
        fails(|network| {
            let channels = LevelChannels { stride: 8.0, groups: Vec::new() };
            network.output = Output::Detections(vec![Level { value: 1, channels }])
        }),
        fails(|network| {
            let channels = anchor_channels(8.0, &[[1.0, 1.0]], 4);
            network.output = Output::Detections(vec![Level { value: 1, channels }])
        }),
    ] {
        assert!(!matches!(error, RuntimeError::Length { .. }), "{error}");
    }
}
