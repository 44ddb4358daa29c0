//! Slices and what is joined of them: nothing is copied, and the numbers are those of the slow executor. The blocks are
//! those of YOLOv8, YOLO11 and YOLO26, and the boxes are decoded from distances.

use yolo_model::program::{AttentionOrder, AttentionSpec};
use yolo_model::{Channel, LevelChannels, Side};
use yolo_runtime::{Activation, Conv, Level, Network, Op, Options, Output, Plan, ValueId};

use crate::moved::check;
use crate::reference::{Random, Zeros, conv};

struct Builder {
    ops: Vec<Op>,
    random: Random,
}

impl Builder {
    fn new() -> Self {
        Self { ops: Vec::new(), random: Random::new(21) }
    }

    fn push(&mut self, op: Op) -> ValueId {
        self.ops.push(op);
        self.ops.len()
    }

    fn conv(&mut self, input: ValueId, channels: [usize; 2], kernel: usize) -> ValueId {
        let name = format!("conv{}", self.ops.len());
        let conv = conv(&name, input, channels, [kernel; 2], &mut self.random, Zeros::None);
        self.push(Op::Conv(conv))
    }

    fn plain(&mut self, input: ValueId, channels: [usize; 2]) -> ValueId {
        let value = self.conv(input, channels, 1);
        if let Op::Conv(conv) = &mut self.ops[value - 1] {
            conv.activation = Activation::None;
        }
        value
    }

    fn depthwise(&mut self, input: ValueId, channels: usize, activation: Activation) -> ValueId {
        let name = format!("conv{}", self.ops.len());
        let conv = conv(&name, input, [1, channels], [3, 3], &mut self.random, Zeros::None);
        self.push(Op::Conv(Conv { groups: channels, activation, ..conv }))
    }

    fn slice(&mut self, input: ValueId, range: std::ops::Range<usize>) -> ValueId {
        self.push(Op::Pick { input, channels: range.collect() })
    }

    fn add(&mut self, inputs: [ValueId; 2]) -> ValueId {
        self.push(Op::Add { inputs })
    }

    fn halves(&mut self, input: ValueId, [channels, half]: [usize; 2]) -> [ValueId; 3] {
        let split = self.conv(input, [channels, 2 * half], 1);
        [split, self.slice(split, 0..half), self.slice(split, half..2 * half)]
    }

    /// `concat [a, b, m1(b), m2(m1(b))]`.
    fn c2f(&mut self, input: ValueId, channels: [usize; 2], shortcut: bool) -> ValueId {
        let half = channels[1] / 2;
        let [_, first, mut last] = self.halves(input, [channels[0], half]);
        let mut parts = vec![first, last];
        for _ in 0..2 {
            let hidden = self.conv(last, [half, half], 3);
            let output = self.conv(hidden, [half, half], 3);
            last = if shortcut { self.add([output, last]) } else { output };
            parts.push(last);
        }
        let joined = self.push(Op::Concat { inputs: parts });
        self.conv(joined, [4 * half, channels[1]], 1)
    }

    /// `concat [m(a), b]`.
    fn c2(&mut self, input: ValueId, channels: usize) -> ValueId {
        let half = channels / 2;
        let [_, first, second] = self.halves(input, [channels, half]);
        let hidden = self.conv(first, [half, half], 3);
        let output = self.conv(hidden, [half, half], 3);
        let output = self.add([output, first]);
        let hidden = self.conv(output, [half, half], 3);
        let output = self.conv(hidden, [half, half], 3);
        let joined = self.push(Op::Concat { inputs: vec![output, second] });
        self.conv(joined, [channels, channels], 1)
    }

    /// `concat [a, m(b)]` with attention of two heads.
    fn c2psa(&mut self, input: ValueId, channels: usize) -> ValueId {
        let half = channels / 2;
        let [_, first, second] = self.halves(input, [channels, half]);
        let spec = AttentionSpec { heads: 2, key: half / 4, order: AttentionOrder::ByHead };
        let qkv = self.plain(second, [half, 2 * half]);
        let values = self.push(Op::Pick { input: qkv, channels: spec.value_channels(2 * half) });
        let attended = self.push(Op::Attention { input: qkv, spec });
        let position = self.depthwise(values, half, Activation::None);
        let attended = self.add([attended, position]);
        let projected = self.plain(attended, [half, half]);
        let attended = self.add([projected, second]);
        let hidden = self.conv(attended, [half, 2 * half], 1);
        let output = self.plain(hidden, [2 * half, half]);
        let output = self.add([output, attended]);
        let joined = self.push(Op::Concat { inputs: vec![first, output] });
        self.conv(joined, [channels, channels], 1)
    }

    /// Box map and class map of a level, joined.
    fn head(&mut self, input: ValueId, [channels, boxes, classes]: [usize; 3]) -> ValueId {
        let hidden = self.conv(input, [channels, 16], 3);
        let map = self.plain(hidden, [16, boxes]);
        let hidden = self.depthwise(input, channels, Activation::Silu);
        let hidden = self.conv(hidden, [channels, 16], 1);
        let scores = self.plain(hidden, [16, classes]);
        self.push(Op::Concat { inputs: vec![map, scores] })
    }
}

fn network(input: [usize; 3], ops: Vec<Op>) -> Network {
    let last = ops.len();
    Network { batch: 2, input, ops, output: Output::Maps(vec![last]) }
}

/// How many steps of a plan copy something.
fn copies(network: &Network) -> usize {
    let plan = Plan::new(network.clone(), &Options { threads: 1, ..Options::default() }).unwrap();
    let mut output = vec![0.0; plan.output_len()];
    let steps = plan.profile(&vec![0.5; plan.input_len()], &mut output).unwrap();
    steps.iter().filter(|(name, _)| ["upsample", "squares"].contains(&name.as_str())).count()
}

#[test]
fn c2f_copies_nothing() {
    for shortcut in [true, false] {
        let mut b = Builder::new();
        let stem = b.conv(0, [3, 9], 3);
        let block = b.c2f(stem, [9, 14], shortcut);
        b.c2f(block, [14, 10], shortcut);
        let network = network([3, 19, 13], b.ops);
        assert_eq!(copies(&network), 0, "shortcut {shortcut}");
        check(&network, &format!("C2f, shortcut {shortcut}"));
    }
}

#[test]
fn what_is_made_of_a_half_takes_its_place() {
    let mut b = Builder::new();
    let stem = b.conv(0, [3, 16], 3);
    b.c2(stem, 16);
    let c2 = network([3, 17, 21], b.ops);
    assert_eq!(copies(&c2), 0, "C2");
    check(&c2, "C2");
    let mut b = Builder::new();
    let stem = b.conv(0, [3, 32], 3);
    b.c2psa(stem, 32);
    let psa = network([3, 11, 13], b.ops);
    // The values of two heads are not neighbours: they are picked.
    assert_eq!(copies(&psa), 1, "C2PSA");
    check(&psa, "C2PSA");
}

/// A part that is read once more after the concatenation stays, so that it has to be copied.
#[test]
fn a_half_that_is_needed_later_is_copied() {
    let mut b = Builder::new();
    let [_, first, second] = b.halves(0, [3, 5]);
    let hidden = b.conv(second, [5, 5], 3);
    let output = b.conv(hidden, [5, 5], 3);
    let joined = b.push(Op::Concat { inputs: vec![first, output] });
    let behind = b.conv(joined, [10, 5], 3);
    b.add([behind, second]);
    let network = network([3, 9, 14], b.ops);
    assert_eq!(copies(&network), 1);
    check(&network, "later");
}

/// Slices of slices, of the image, of a concatenation, and returned ones.
#[test]
fn slices_of_anything() {
    let mut b = Builder::new();
    let image = b.slice(0, 1..4);
    let stem = b.conv(image, [3, 12], 3);
    let middle = b.slice(stem, 3..11);
    let inner = b.slice(middle, 2..6);
    let output = b.conv(inner, [4, 6], 3);
    let joined = b.push(Op::Concat { inputs: vec![middle, output] });
    let across = b.slice(joined, 5..11);
    let behind = b.conv(across, [6, 4], 3);
    let ops = b.ops;
    let output = Output::Maps(vec![inner, across, behind]);
    let network = Network { batch: 3, input: [5, 10, 15], ops, output };
    check(&network, "slices");
}

#[test]
fn boxes_of_distances() {
    for bins in [1, 7, 16] {
        let side = |side: Side| -> Vec<Channel> {
            match bins {
                1 => vec![Channel::Distance(side)],
                _ => (0..bins).map(|bin| Channel::Bin { side, bin }).collect(),
            }
        };
        let classes = 5;
        let mut group: Vec<Channel> = Side::ALL.into_iter().flat_map(side).collect();
        group.extend(vec![Channel::Class; classes]);
        let channels = LevelChannels { stride: 8.0, groups: vec![group] };
        let mut b = Builder::new();
        let stem = b.conv(0, [3, 12], 3);
        let value = b.head(stem, [12, 4 * bins, classes]);
        let output = Output::Detections(vec![Level { value, channels: channels.clone() }]);
        let boxes = Network { batch: 2, input: [3, 9, 13], ops: b.ops.clone(), output };
        assert_eq!(copies(&boxes), 0);
        check(&boxes, &format!("boxes of {bins} bins"));
    }
}
