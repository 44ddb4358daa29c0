//! The network that a plan is made from, as plain data: operations over numbered values.
//!
//! Value 0 is the image; value `i + 1` is what operation `i` makes. Maps are `[batch, channels, height, width]`.

mod shapes;

use std::borrow::Cow;
use std::ops::Range;

use yolo_model::LevelChannels;
use yolo_model::program::{AttentionSpec, PixelOrder, PoolSpec};

use crate::error::{Result, RuntimeError};
use shapes::shape_of;

/// Number of a value: 0 is the image, `i + 1` the output of operation `i`.
pub type ValueId = usize;

/// What follows a convolution's sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `x · σ(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `slope · x`; the slope lies in 0..=1.
    LeakyRelu(f32),
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · min(max(x + 3, 0), 6) / 6`.
    Hardswish,
    /// `x · tanh(ln(1 + eˣ))`.
    Mish,
    /// `x` where positive, else `alpha · (eˣ − 1)`.
    Elu(f32),
    /// `x · Φ(x)` with the normal distribution's Φ.
    Gelu,
}

/// A convolution with what is fused into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Name, for choices and tables: `model.2.m.0.cv1`.
    pub name: String,
    /// The value it reads.
    pub input: ValueId,
    /// `[out_channels, in_channels / groups, kernel[0], kernel[1]]`.
    pub weight: Vec<f32>,
    /// `[out_channels]`.
    pub bias: Vec<f32>,
    /// Channels that it makes.
    pub out_channels: usize,
    /// Groups of channels that do not see each other; 1 is an ordinary convolution.
    pub groups: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Step down and across.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
    /// Distance between the taps, down and across; 1 is an ordinary convolution.
    pub dilation: [usize; 2],
    /// Applied to the sum with bias.
    pub activation: Activation,
    /// A value of the output's shape that is added after the activation.
    pub residual: Option<ValueId>,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Convolution, bias, activation, residual.
    Conv(Conv),
    /// Sum of two values of the same shape.
    Add {
        /// The two values.
        inputs: [ValueId; 2],
    },
    /// Concatenation along the channels.
    Concat {
        /// The values in order.
        inputs: Vec<ValueId>,
    },
    /// Maximum over windows of `size`×`size`, stride 1, the border counting as −∞; the map keeps its size.
    MaxPool {
        /// The value it reads.
        input: ValueId,
        /// Side of the window, odd.
        size: usize,
    },
    /// Nearest-neighbour enlargement.
    Upsample {
        /// The value it reads.
        input: ValueId,
        /// The factor in both directions.
        scale: usize,
    },
    /// Maximum over any windows, padding counting as −∞.
    Pool {
        /// The value it reads.
        input: ValueId,
        /// The windows.
        pool: PoolSpec,
    },
    /// Zeros around the map.
    ZeroPad {
        /// The value it reads.
        input: ValueId,
        /// Columns on the left and on the right, rows above and below.
        sides: [usize; 4],
    },
    /// Squares of pixels become groups of channels.
    SpaceToDepth {
        /// The value it reads.
        input: ValueId,
        /// Side of the square.
        size: usize,
        /// Which pixel is which group.
        order: PixelOrder,
    },
    /// Groups of channels become squares of pixels, row by row.
    DepthToSpace {
        /// The value it reads.
        input: ValueId,
        /// Side of the square.
        size: usize,
        /// Whether the channels of a square follow each other, instead of those of a pixel.
        interleaved: bool,
    },
    /// Some channels, in another order. If they follow each other, nothing is copied.
    Pick {
        /// The value it reads.
        input: ValueId,
        /// Which channels of it.
        channels: Vec<usize>,
    },
    /// Attention between pixels.
    Attention {
        /// The value it reads: queries, keys and values.
        input: ValueId,
        /// Heads, and which channels are which.
        spec: AttentionSpec,
    },
}

/// One level of the detection head.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// The logits, `[channels, height, width]`.
    pub value: ValueId,
    /// The meaning of the channels.
    pub channels: LevelChannels,
}

/// What a run writes.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The values as they are, one after the other, each `[batch, channels, height, width]`.
    Maps(Vec<ValueId>),
    /// Boxes and scores: `[batch, rows, 4 + classes]`, rows in the order level, group of channels, y, x. A row is
    /// centre x, centre y, width, height in pixels, then a score per class. Levels are in the order of their rows.
    Detections(Vec<Level>),
}

/// A network for images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Images per run.
    pub batch: usize,
    /// Channels, height and width of the image.
    pub input: [usize; 3],
    /// Operations in order of execution: each reads values that come before it.
    pub ops: Vec<Op>,
    /// What a run writes.
    pub output: Output,
}

impl Conv {
    /// Channels that it reads.
    pub fn in_channels(&self) -> usize {
        self.weight.len() / (self.out_channels * self.kernel[0] * self.kernel[1]).max(1) * self.groups
    }

    /// The weights of an output channel for all input channels, `[in_channels, kernel[0], kernel[1]]`: zeros outside of
    /// its group.
    pub(crate) fn row(&self, channel: usize) -> Cow<'_, [f32]> {
        let own = self.weight.len() / self.out_channels;
        let weights = &self.weight[channel * own..][..own];
        if self.groups == 1 {
            return Cow::Borrowed(weights);
        }
        let mut row = vec![0.0; own * self.groups];
        row[channel / (self.out_channels / self.groups) * own..][..own].copy_from_slice(weights);
        Cow::Owned(row)
    }

    /// Height and width of the output for an input of `size`; `None` where the window does not fit.
    pub fn output_size(&self, size: [usize; 2]) -> Option<[usize; 2]> {
        let mut output = [0; 2];
        for axis in 0..2 {
            let reach = self.dilation[axis] * (self.kernel[axis].checked_sub(1)?) + 1;
            let room = (size[axis] + 2 * self.padding[axis]).checked_sub(reach)?;
            output[axis] = room.checked_div(self.stride[axis])? + 1;
        }
        Some(output)
    }
}

impl Op {
    /// The values that it reads.
    pub fn inputs(&self) -> Vec<ValueId> {
        match self {
            Self::Conv(conv) => std::iter::once(conv.input).chain(conv.residual).collect(),
            Self::Add { inputs } => inputs.to_vec(),
            Self::Concat { inputs } => inputs.clone(),
            Self::MaxPool { input, .. }
            | Self::Upsample { input, .. }
            | Self::Pool { input, .. }
            | Self::ZeroPad { input, .. }
            | Self::SpaceToDepth { input, .. }
            | Self::DepthToSpace { input, .. }
            | Self::Pick { input, .. }
            | Self::Attention { input, .. } => vec![*input],
        }
    }

    /// The value of which it takes a slice and that slice, if it does: channels that follow each other, in their order.
    pub(crate) fn slice(&self) -> Option<(ValueId, Range<usize>)> {
        let Self::Pick { input, channels } = self else { return None };
        let first = *channels.first()?;
        let range = first..first + channels.len();
        range.clone().eq(channels.iter().copied()).then_some((*input, range))
    }

    fn what(&self) -> String {
        match self {
            Self::Conv(conv) => format!("convolution {}", conv.name),
            Self::Add { .. } => "add".to_owned(),
            Self::Concat { .. } => "concat".to_owned(),
            Self::MaxPool { .. } | Self::Pool { .. } => "max-pool".to_owned(),
            Self::ZeroPad { .. } => "zero-pad".to_owned(),
            Self::SpaceToDepth { .. } => "space-to-depth".to_owned(),
            Self::DepthToSpace { .. } => "depth-to-space".to_owned(),
            Self::Pick { .. } => "choice of channels".to_owned(),
            Self::Attention { .. } => "attention".to_owned(),
            Self::Upsample { .. } => "upsample".to_owned(),
        }
    }
}

impl Output {
    /// The values that are read to make it.
    pub fn values(&self) -> Vec<ValueId> {
        match self {
            Self::Maps(values) => values.clone(),
            Self::Detections(levels) => levels.iter().map(|level| level.value).collect(),
        }
    }
}

impl Network {
    /// Channels, height and width of every value.
    ///
    /// # Errors
    /// [`RuntimeError`] where an operation's numbers do not fit together.
    pub fn shapes(&self) -> Result<Vec<[usize; 3]>> {
        if self.batch == 0 || self.input.contains(&0) {
            return Err(RuntimeError::Network("the batch or the image is empty".to_owned()));
        }
        let mut shapes = vec![self.input];
        for (index, op) in self.ops.iter().enumerate() {
            let shape = shape_of(op, &shapes).map_err(|reason| RuntimeError::Operation {
                index,
                what: op.what(),
                reason,
            })?;
            shapes.push(shape);
        }
        self.check_output(&shapes)?;
        Ok(shapes)
    }

    /// How many numbers a run writes, for values of these shapes.
    pub fn output_len(&self, shapes: &[[usize; 3]]) -> usize {
        match &self.output {
            Output::Maps(values) => {
                values.iter().map(|&value| self.batch * shapes[value].iter().product::<usize>()).sum()
            }
            Output::Detections(levels) => {
                let length = |level: &Level| {
                    let [_, height, width] = shapes[level.value];
                    level.channels.groups.len() * height * width * level.channels.row_width()
                };
                self.batch * levels.iter().map(length).sum::<usize>()
            }
        }
    }

    fn check_output(&self, shapes: &[[usize; 3]]) -> Result<()> {
        let wrong = |value, reason: String| Err(RuntimeError::Output { value, reason });
        for value in self.output.values() {
            if value >= shapes.len() {
                return wrong(value, format!("there are only {} values", shapes.len()));
            }
        }
        if let Output::Detections(levels) = &self.output {
            for level in levels {
                let channels = level.channels.n_channels();
                if channels == 0 {
                    return wrong(level.value, "its channels have no meaning".to_owned());
                }
                if shapes[level.value][0] != channels {
                    let reason = format!("it has {} channels, not {channels}", shapes[level.value][0]);
                    return wrong(level.value, reason);
                }
            }
        }
        Ok(())
    }

    /// Moves every sum that only adds something to a convolution's output into that convolution, as its
    /// residual. Values keep their numbers: the sum's place is taken by the convolution.
    pub fn fuse_residuals(&mut self) {
        for index in 0..self.ops.len() {
            let Op::Add { inputs } = self.ops[index] else { continue };
            let Some((conv_value, other)) = self.fusable(inputs) else { continue };
            // The convolution moves down to the sum's place, where every value that it needs is known; what is
            // left in its own place is an empty concat that nothing reads.
            let left = Op::Concat { inputs: Vec::new() };
            let op = std::mem::replace(&mut self.ops[conv_value - 1], left);
            if let Op::Conv(mut conv) = op {
                conv.residual = Some(other);
                self.ops[index] = Op::Conv(conv);
            }
        }
        self.remove_unread();
    }

    /// Which of the two values of a sum is a convolution that nothing else reads, and the other one.
    fn fusable(&self, [a, b]: [ValueId; 2]) -> Option<(ValueId, ValueId)> {
        let candidate = |value: ValueId| {
            let Some(Op::Conv(conv)) = value.checked_sub(1).and_then(|op| self.ops.get(op)) else {
                return false;
            };
            conv.residual.is_none() && self.reads(value) == 1
        };
        if a == b {
            None
        } else if candidate(a) {
            Some((a, b))
        } else if candidate(b) {
            Some((b, a))
        } else {
            None
        }
    }

    /// How often a value is read, the outputs included.
    fn reads(&self, value: ValueId) -> usize {
        let by_ops = self.ops.iter().flat_map(Op::inputs).filter(|&input| input == value).count();
        by_ops + self.output.values().iter().filter(|&&output| output == value).count()
    }

    /// Drops the operations whose value nothing reads, and renumbers.
    fn remove_unread(&mut self) {
        let mut is_read = vec![false; self.ops.len() + 1];
        for value in self.output.values() {
            if let Some(read) = is_read.get_mut(value) {
                *read = true;
            }
        }
        for index in (0..self.ops.len()).rev() {
            if is_read[index + 1] {
                self.ops[index].inputs().into_iter().for_each(|input| is_read[input] = true);
            }
        }
        let mut number = vec![0; self.ops.len() + 1];
        let mut kept = 0;
        for index in 0..self.ops.len() {
            kept += usize::from(is_read[index + 1]);
            number[index + 1] = kept;
        }
        let ops = std::mem::take(&mut self.ops);
        let kept_ops = ops.into_iter().enumerate().filter(|(index, _)| is_read[index + 1]);
        self.ops = kept_ops.map(|(_, op)| renumbered(op, &number)).collect();
        match &mut self.output {
            Output::Maps(values) => values.iter_mut().for_each(|value| *value = number[*value]),
            Output::Detections(levels) => {
                levels.iter_mut().for_each(|level| level.value = number[level.value]);
            }
        }
    }
}

fn renumbered(mut op: Op, number: &[ValueId]) -> Op {
    match &mut op {
        Op::Conv(conv) => {
            conv.input = number[conv.input];
            conv.residual = conv.residual.map(|value| number[value]);
        }
        Op::Add { inputs } => inputs.iter_mut().for_each(|value| *value = number[*value]),
        Op::Concat { inputs } => inputs.iter_mut().for_each(|value| *value = number[*value]),
        Op::MaxPool { input, .. }
        | Op::Upsample { input, .. }
        | Op::Pool { input, .. }
        | Op::ZeroPad { input, .. }
        | Op::SpaceToDepth { input, .. }
        | Op::DepthToSpace { input, .. }
        | Op::Pick { input, .. }
        | Op::Attention { input, .. } => *input = number[*input],
    }
    op
}
