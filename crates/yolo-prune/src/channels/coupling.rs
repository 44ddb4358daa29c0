//! Coupling: which output channels of which convolutions belong together, and which convolutions read them.

use yolo_model::Layout;
use yolo_model::architecture::{ConvRef, NormRef};
use yolo_model::program::{OperationKind, Program};

/// Convolutions whose output channels belong together: channel `i` of one is added to channel `i` of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelGroup {
    /// Name of the first producer in the order of execution: `model.2.cv1`.
    pub name: String,
    /// Output channels of every producer.
    pub channels: usize,
    /// The convolutions that make these channels, in the order of execution.
    pub producers: Vec<ConvRef>,
    /// The convolutions that read them, heads included, in the order of execution.
    pub consumers: Vec<Consumer>,
    /// Why no channel of the group can be removed; `None` if channels can.
    pub fixed: Option<String>,
}

/// A convolution that reads the channels of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The convolution.
    pub conv: ConvRef,
    /// Position: channel `i` of the group is input channel `offset + i`, for each of these offsets. The last
    /// convolution of an SPPF reads every channel of its first one four times.
    pub offsets: Vec<usize>,
}

/// The input of a convolution, by the groups that make it.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvInput {
    /// The convolution.
    pub conv: ConvRef,
    /// Consecutive ranges that cover all of its input channels.
    pub slices: Vec<InputSlice>,
}

/// A range of input channels: all the channels of one group, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputSlice {
    /// Index of the group that makes these channels; `None` for the image.
    pub group: Option<usize>,
    /// First input channel.
    pub offset: usize,
    /// How many.
    pub channels: usize,
}

/// Something with a number per channel that channels pass through: they go there if they go anywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Passage {
    /// What it is.
    pub kind: PassageKind,
    /// Consecutive ranges that cover all of its channels.
    pub slices: Vec<InputSlice>,
}

/// What channels pass through.
#[derive(Clone, Debug, PartialEq)]
pub enum PassageKind {
    /// A batch normalisation that stands alone.
    Norm(NormRef),
    /// A depthwise convolution.
    Depthwise(ConvRef),
}

/// All couplings of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Coupling {
    /// The groups, in the order of their first producers. Every convolution produces for exactly one, except depthwise ones
    /// and those whose outputs the network returns and nothing else reads.
    pub groups: Vec<ChannelGroup>,
    /// The input of every convolution, in the order of execution.
    pub inputs: Vec<ConvInput>,
    /// What channels pass through, in the order of execution.
    pub passages: Vec<Passage>,
}

impl Coupling {
    /// The couplings of a network.
    ///
    /// Concatenation shifts channels; addition joins its operands' groups; enlargement, pools, padding, batch normalisation and
    /// depthwise convolutions pass channels through; pixels that become channels repeat them. The channels of the image and of
    /// the network's outputs stay, and whatever another convolution with groups, a transposed one, attention, a linear layer or
    /// channels that become pixels read or make.
    pub fn of(layout: &dyn Layout) -> Self {
        let program = layout.program();
        Tracing::new(program.channels[0]).run(&program)
    }

    /// Index of the group for which the convolution called `name` produces; `None` for one that only makes an output.
    pub fn produced_by(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.producers.iter().any(|conv| conv.name == name))
    }

    /// The batch normalisation that stands alone behind the channels of group `group`, if there is one, and the first of its
    /// channels that is theirs.
    pub fn norm_behind(&self, group: usize) -> Option<(&NormRef, usize)> {
        self.passages.iter().find_map(|passage| {
            let PassageKind::Norm(norm) = &passage.kind else { return None };
            let slice = passage.slices.iter().find(|slice| slice.group == Some(group))?;
            Some((norm, slice.offset))
        })
    }

    /// Channels of every group.
    pub fn widths(&self) -> Vec<usize> {
        self.groups.iter().map(|group| group.channels).collect()
    }
}

/// All channels of one source, as a part of a value.
#[derive(Clone, Copy)]
struct Piece {
    source: usize,
    channels: usize,
}

/// The image, or a convolution.
struct Source {
    /// A source in the same group, or itself.
    joined: usize,
    conv: Option<ConvRef>,
    fixed: Option<String>,
}

struct Tracing {
    sources: Vec<Source>,
    /// What every value consists of.
    values: Vec<Vec<Piece>>,
}

impl Tracing {
    fn new(image_channels: usize) -> Self {
        let image = Source { joined: 0, conv: None, fixed: Some("it is added to the image".to_owned()) };
        Self { sources: vec![image], values: vec![vec![Piece { source: 0, channels: image_channels }]] }
    }

    fn run(mut self, program: &Program) -> Coupling {
        let mut reads: Vec<(ConvRef, Vec<Piece>)> = Vec::new();
        let mut passed: Vec<(PassageKind, Vec<Piece>)> = Vec::new();
        let (readers, returned) = (program.readers(), program.returned());
        for (index, operation) in program.operations.iter().enumerate() {
            let inputs: Vec<Vec<Piece>> =
                operation.inputs.iter().map(|&input| self.values[input].clone()).collect();
            let value = match &operation.kind {
                OperationKind::Conv(conv) if conv.spec.is_depthwise() && !returned.contains(&(index + 1)) => {
                    let input = inputs.concat();
                    reads.push((conv.clone(), input.clone()));
                    passed.push((PassageKind::Depthwise(conv.clone()), input.clone()));
                    input
                }
                OperationKind::Norm(norm) => {
                    passed.push((PassageKind::Norm(norm.clone()), inputs.concat()));
                    inputs.concat()
                }
                OperationKind::Conv(conv) => {
                    let input = inputs.concat();
                    reads.push((conv.clone(), input.clone()));
                    let fixed = self.fix_grouped(conv, &input);
                    let is_only_returned = readers[index + 1].is_empty() && program.is_output(index + 1);
                    if is_only_returned { Vec::new() } else { self.produce(conv, fixed) }
                }
                OperationKind::Add => self.add(&inputs),
                OperationKind::Concat => inputs.concat(),
                OperationKind::MaxPool { .. }
                | OperationKind::Detach
                | OperationKind::Upsample { .. }
                | OperationKind::Pool(_)
                | OperationKind::ZeroPad { .. } => inputs.concat(),
                // All channels of one pixel of the square, then of the next.
                OperationKind::SpaceToDepth { size, .. } => inputs.concat().repeat(size * size),
                OperationKind::Pick { channels } => {
                    self.opaque(&inputs, channels.len(), "its channels are dealt out to others")
                }
                OperationKind::DepthToSpace { .. } => {
                    self.opaque(&inputs, program.channels[index + 1], "its channels become pixels")
                }
                OperationKind::Attention(_) => {
                    self.opaque(&inputs, program.channels[index + 1], "attention reads it")
                }
                OperationKind::Transposed(transposed) => {
                    let reason = format!("{} is a transposed convolution", transposed.name);
                    self.opaque(&inputs, program.channels[index + 1], &reason)
                }
            };
            self.values.push(value);
        }
        for &output in &program.outputs {
            for piece in self.values[output].clone() {
                self.fix(piece.source, "the network returns its channels");
            }
        }
        self.finish(reads, passed)
    }

    /// A value whose channels cannot be told apart by those that it is made of: both stay.
    fn opaque(&mut self, inputs: &[Vec<Piece>], channels: usize, reason: &str) -> Vec<Piece> {
        inputs.iter().flatten().for_each(|piece| self.fix(piece.source, reason));
        let source = self.sources.len();
        self.sources.push(Source { joined: source, conv: None, fixed: Some(reason.to_owned()) });
        vec![Piece { source, channels }]
    }

    /// Why a convolution with groups or a layer of a transformer keeps what it reads and makes; nothing for others.
    fn fix_grouped(&mut self, conv: &ConvRef, input: &[Piece]) -> Option<String> {
        let reason = match conv.spec.groups {
            _ if conv.spec.form.is_linear() => format!("{} is a layer of a transformer", conv.name),
            1 => return None,
            groups => format!("{} is a convolution with {groups} groups", conv.name),
        };
        input.iter().for_each(|piece| self.fix(piece.source, &reason));
        Some(reason)
    }

    /// The output of a convolution.
    fn produce(&mut self, conv: &ConvRef, fixed: Option<String>) -> Vec<Piece> {
        let source = self.sources.len();
        self.sources.push(Source { joined: source, conv: Some(conv.clone()), fixed });
        vec![Piece { source, channels: conv.spec.out_channels }]
    }

    fn add(&mut self, inputs: &[Vec<Piece>]) -> Vec<Piece> {
        let Some((first, others)) = inputs.split_first() else { return Vec::new() };
        for other in others {
            let widths = |value: &[Piece]| value.iter().map(|piece| piece.channels).collect::<Vec<_>>();
            if widths(first) == widths(other) {
                first.iter().zip(other).for_each(|(a, b)| self.join(a.source, b.source));
            } else {
                // Parts of groups would go together.
                let reason = "it is added to channels of several groups";
                first.iter().chain(other).for_each(|piece| self.fix(piece.source, reason));
            }
        }
        first.clone()
    }

    fn fix(&mut self, source: usize, reason: &str) {
        self.sources[source].fixed.get_or_insert_with(|| reason.to_owned());
    }

    /// The first source of the group of `source`.
    fn root(&self, mut source: usize) -> usize {
        while self.sources[source].joined != source {
            source = self.sources[source].joined;
        }
        source
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.sources[a.max(b)].joined = a.min(b);
    }

    fn finish(self, reads: Vec<(ConvRef, Vec<Piece>)>, passed: Vec<(PassageKind, Vec<Piece>)>) -> Coupling {
        let roots: Vec<usize> = (0..self.sources.len()).map(|source| self.root(source)).collect();
        let mut group_of_root = vec![None; self.sources.len()];
        let mut groups: Vec<ChannelGroup> = Vec::new();
        for (source, &root) in self.sources.iter().zip(&roots) {
            let Some(conv) = &source.conv else { continue };
            let index = *group_of_root[root].get_or_insert_with(|| {
                groups.push(ChannelGroup {
                    name: conv.name.clone(),
                    channels: conv.spec.out_channels,
                    producers: Vec::new(),
                    consumers: Vec::new(),
                    fixed: self.sources[root].fixed.clone(),
                });
                groups.len() - 1
            });
            groups[index].producers.push(conv.clone());
            groups[index].fixed = groups[index].fixed.take().or_else(|| source.fixed.clone());
        }
        // What no convolution makes belongs to no group, but keeps those that it is added to.
        for (source, &root) in self.sources.iter().zip(&roots).filter(|(source, _)| source.conv.is_none()) {
            if let Some(group) = group_of_root[root] {
                groups[group].fixed = groups[group].fixed.take().or_else(|| source.fixed.clone());
            }
        }
        let group_of = |piece: &Piece| group_of_root[roots[piece.source]];
        let slices = |pieces: Vec<Piece>| -> Vec<InputSlice> {
            let mut offset = 0;
            let slice = |piece: &Piece| {
                let slice = InputSlice { group: group_of(piece), offset, channels: piece.channels };
                offset += piece.channels;
                slice
            };
            pieces.iter().map(slice).collect()
        };
        let inputs: Vec<ConvInput> =
            reads.into_iter().map(|(conv, pieces)| ConvInput { conv, slices: slices(pieces) }).collect();
        for input in &inputs {
            input.consume(&mut groups);
        }
        let passages =
            passed.into_iter().map(|(kind, pieces)| Passage { kind, slices: slices(pieces) }).collect();
        Coupling { groups, inputs, passages }
    }
}

impl PassageKind {
    /// What its tensors' names start with.
    pub fn name(&self) -> &str {
        match self {
            Self::Norm(norm) => &norm.name,
            Self::Depthwise(conv) => &conv.name,
        }
    }
}

impl InputSlice {
    /// The channels of these slices that stay if the groups keep `kept`, in order.
    pub(super) fn channels_kept(slices: &[Self], kept: &[Vec<usize>]) -> Vec<usize> {
        let mut channels = Vec::new();
        for slice in slices {
            match slice.group {
                Some(group) => channels.extend(kept[group].iter().map(|channel| slice.offset + channel)),
                None => channels.extend(slice.offset..slice.offset + slice.channels),
            }
        }
        channels
    }
}

impl ConvInput {
    /// Adds this convolution to the consumers of the groups that it reads.
    fn consume(&self, groups: &mut [ChannelGroup]) {
        for slice in &self.slices {
            let Some(group) = slice.group else { continue };
            let consumers = &mut groups[group].consumers;
            match consumers.last_mut().filter(|last| last.conv.name == self.conv.name) {
                Some(consumer) => consumer.offsets.push(slice.offset),
                None => consumers.push(Consumer { conv: self.conv.clone(), offsets: vec![slice.offset] }),
            }
        }
    }
}
