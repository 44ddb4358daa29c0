//! Coupling: which output channels of which convolutions belong together, and which convolutions read them.

use yolo_model::Layout;
use yolo_model::architecture::{ConvRef, NormRef};
use yolo_model::program::{OperationKind, Program};

/// Convolutions whose output channels belong together: channel `i` of one is added to channel `i` of the others.
///
/// A convolution whose output is cut into equal slices makes every channel of its group several times, once per slice: its
/// output channel `j` is channel `j mod channels` of the group. The slices then stay equal.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelGroup {
    /// Name of the first producer in the order of execution: `model.2.cv1`.
    pub name: String,
    /// Channels, of which every producer makes all, once or several times.
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

/// A range of input channels: all the channels of one group, in order, once.
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
    /// depthwise convolutions pass channels through; pixels that become channels repeat them; equal slices of a convolution's
    /// output keep equal widths. The channels of the image and of the network's outputs stay, and whatever another convolution
    /// with groups, a transposed one, attention, a linear layer, unequal slices or channels that become pixels read or make.
    /// So do the channels of which queries, keys and values are made: their number is that of the attention.
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

/// Channels of one source that follow each other, as a part of a value.
#[derive(Clone, Copy)]
struct Piece {
    source: usize,
    first: usize,
    channels: usize,
}

/// The image, or a convolution.
struct Source {
    /// A source in the same group, or itself.
    joined: usize,
    channels: usize,
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
        let mut tracing = Self { sources: Vec::new(), values: Vec::new() };
        let image = tracing.source(image_channels, None, Some("it is added to the image".to_owned()));
        tracing.values.push(image);
        tracing
    }

    fn run(mut self, program: &Program) -> Coupling {
        let mut reads: Vec<(ConvRef, Vec<Piece>)> = Vec::new();
        let mut passed: Vec<(PassageKind, Vec<Piece>)> = Vec::new();
        let (only_returned, returned) = (only_returned(program), program.returned());
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
                    match only_returned[index + 1] {
                        true => Vec::new(),
                        false => self.source(conv.spec.out_channels, Some(conv.clone()), fixed),
                    }
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
                OperationKind::Pick { channels } => match (operation.kind.slice(), &inputs[0][..]) {
                    (Some(range), &[piece]) => {
                        vec![Piece { first: piece.first + range.start, channels: range.len(), ..piece }]
                    }
                    _ => self.opaque(&inputs, channels.len(), "its channels are dealt out to others"),
                },
                OperationKind::DepthToSpace { .. } => {
                    self.opaque(&inputs, program.channels[index + 1], "its channels become pixels")
                }
                OperationKind::Attention(_) => {
                    self.fix_made_of(&inputs[0], &reads);
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
        self.source(channels, None, Some(reason.to_owned()))
    }

    /// Keeps the channels that the convolutions read which make `pieces`, for attention.
    fn fix_made_of(&mut self, pieces: &[Piece], reads: &[(ConvRef, Vec<Piece>)]) {
        for piece in pieces {
            let Some(maker) = self.sources[piece.source].conv.as_ref().map(|conv| conv.name.clone()) else {
                continue;
            };
            let read = reads.iter().filter(|(conv, _)| conv.name == maker).flat_map(|(_, read)| read);
            read.for_each(|piece| {
                self.fix(piece.source, &format!("{maker} makes queries, keys and values of it"));
            });
        }
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

    /// All channels of a new source.
    fn source(&mut self, channels: usize, conv: Option<ConvRef>, fixed: Option<String>) -> Vec<Piece> {
        let source = self.sources.len();
        self.sources.push(Source { joined: source, channels, conv, fixed });
        vec![Piece { source, first: 0, channels }]
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

    /// For every source that is its group's first the width of the group: what all its sources and slices are multiples of.
    /// Slices of which none is that narrow are not equal, and fix the group.
    fn widths(&mut self, roots: &[usize]) -> Vec<usize> {
        let (mut widths, mut narrowest) = (vec![0; roots.len()], vec![usize::MAX; roots.len()]);
        for (source, &root) in self.sources.iter().zip(roots) {
            widths[root] = gcd(widths[root], source.channels);
            narrowest[root] = narrowest[root].min(source.channels);
        }
        for piece in self.values.iter().flatten() {
            let root = roots[piece.source];
            widths[root] = gcd(gcd(widths[root], piece.first), piece.channels);
            narrowest[root] = narrowest[root].min(piece.channels);
        }
        for (root, (&width, &narrowest)) in widths.iter().zip(&narrowest).enumerate() {
            if roots[root] == root && width < narrowest {
                self.fix(root, "it is cut into unequal slices");
            }
        }
        widths
    }

    fn finish(
        mut self,
        reads: Vec<(ConvRef, Vec<Piece>)>,
        passed: Vec<(PassageKind, Vec<Piece>)>,
    ) -> Coupling {
        let roots: Vec<usize> = (0..self.sources.len()).map(|source| self.root(source)).collect();
        let widths = self.widths(&roots);
        let mut group_of_root = vec![None; self.sources.len()];
        let mut groups: Vec<ChannelGroup> = Vec::new();
        for (source, &root) in self.sources.iter().zip(&roots) {
            let Some(conv) = &source.conv else { continue };
            let index = *group_of_root[root].get_or_insert_with(|| {
                groups.push(ChannelGroup {
                    name: conv.name.clone(),
                    channels: widths[root],
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
            let (mut offset, mut slices) = (0, Vec::new());
            for piece in &pieces {
                let group = group_of(piece);
                let channels = group.map_or(piece.channels, |_| widths[roots[piece.source]]);
                for _ in 0..piece.channels / channels.max(1) {
                    slices.push(InputSlice { group, offset, channels });
                    offset += channels;
                }
            }
            slices
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

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// For every value whether nothing but the network's outputs reads it, as it is or in a concatenation.
fn only_returned(program: &Program) -> Vec<bool> {
    let (readers, returned) = (program.readers(), program.returned());
    let mut only = vec![false; program.channels.len()];
    for value in (0..only.len()).rev() {
        let is_joined =
            |&reader: &usize| program.operations[reader].kind == OperationKind::Concat && only[reader + 1];
        only[value] = returned.contains(&value) && readers[value].iter().all(is_joined);
    }
    only
}

impl ChannelGroup {
    /// How often the producer `conv` makes every channel.
    pub fn copies(&self, conv: &ConvRef) -> usize {
        conv.spec.out_channels / self.channels.max(1)
    }

    /// The output channels of the producer `conv` that are these channels of the group, in their order, copy by copy.
    pub fn rows(&self, conv: &ConvRef, channels: &[usize]) -> Vec<usize> {
        let copy = |copy: usize| channels.iter().map(move |channel| copy * self.channels + channel);
        (0..self.copies(conv)).flat_map(copy).collect()
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
