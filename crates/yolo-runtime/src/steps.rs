//! The steps of a plan: each is a list of chunks that any thread may take.
#![allow(unsafe_code, reason = "calls the kernels, on parts of the arena that the plan keeps apart")]

mod attention;
mod conv;
mod depthwise;
mod maps;
mod output;
mod windows;
mod winograd;

pub(crate) use attention::AttentionStep;
pub(crate) use conv::{ConvPlaces, ConvStep, Entries};
pub(crate) use depthwise::{DepthwiseStep, depthwise_fits};
pub(crate) use maps::{AddStep, BorderStep, CopyStep, PoolStep};
pub(crate) use output::{DecodeStep, InputStep, MapStep, Outlet};
pub(crate) use windows::{Squares, SquaresStep, WindowStep};

pub(crate) use winograd::{WinogradStep, fits as winograd_fits};

use crate::kernels::{Kernels, Span};
use crate::tiling::{BorderTable, PlaneLayout};
use std::sync::Arc;

/// Where a value lies in the arena. Distances are counted in numbers.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The plane of the first channel of the first image.
    pub(crate) offset: usize,
    /// From an image to the next.
    pub(crate) image: usize,
    /// Channels of an image.
    pub(crate) channels: usize,
    /// The layout of a plane.
    pub(crate) layout: PlaneLayout,
}

impl Place {
    /// The planes of this value for one image.
    ///
    /// # Safety
    /// The place lies in the arena.
    pub(crate) unsafe fn span(&self, arena: Span, image: usize) -> Span {
        // SAFETY: by contract.
        unsafe { arena.part(self.offset + image * self.image, self.channels * self.layout.plane()) }
    }
}

/// What a chunk works with.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    /// The kernels.
    pub(crate) kernels: &'static Kernels,
    /// Activations.
    pub(crate) arena: Span,
    /// Room of this thread alone, as much as the step asks for.
    pub(crate) scratch: Span,
    /// The images, `[batch, channels, height, width]`; read only.
    pub(crate) input: Span,
    /// What the run writes.
    pub(crate) output: Span,
}

/// A step.
#[derive(Debug)]
pub(crate) enum Step {
    /// Brings the images into planes.
    Input(InputStep),
    /// A convolution.
    Conv(Box<ConvStep>),
    /// A convolution by short convolutions.
    Winograd(Box<WinogradStep>),
    /// A convolution of one channel each.
    Depthwise(Box<DepthwiseStep>),
    /// Fills the borders of a value.
    Border(BorderStep),
    /// A chain of max-pools.
    Pool(PoolStep),
    /// Copies or enlarges a value.
    Copy(CopyStep),
    /// Adds two values.
    Add(AddStep),
    /// Pools over any windows, or zeros around a map.
    Windows(WindowStep),
    /// Squares of pixels that become channels, the other way, or their maximum.
    Squares(SquaresStep),
    /// Attention between pixels.
    Attention(AttentionStep),
    /// Decodes a level of the head.
    Decode(DecodeStep),
    /// Writes a value to the output.
    Map(MapStep),
}

impl Step {
    /// How many chunks there are.
    pub(crate) fn chunks(&self) -> usize {
        match self {
            Self::Input(step) => step.chunks(),
            Self::Conv(step) => step.chunks(),
            Self::Winograd(step) => step.chunks(),
            Self::Depthwise(step) => step.chunks(),
            Self::Border(step) => step.chunks(),
            Self::Pool(step) => step.chunks(),
            Self::Copy(step) => step.chunks(),
            Self::Add(step) => step.chunks(),
            Self::Windows(step) => step.chunks(),
            Self::Squares(step) => step.chunks(),
            Self::Attention(step) => step.chunks(),
            Self::Decode(step) => step.chunks(),
            Self::Map(step) => step.chunks(),
        }
    }

    /// Has a convolution fill the borders of its output, if it can; whether it will.
    pub(crate) fn fills_border(&mut self, border: &Arc<BorderTable>) -> bool {
        match self {
            Self::Conv(step) => step.fills_border(border),
            Self::Depthwise(step) => {
                step.fills_border(border);
                true
            }
            _ => false,
        }
    }

    /// Numbers of scratch that a thread needs.
    pub(crate) fn scratch(&self, lanes: usize) -> usize {
        match self {
            Self::Conv(step) => step.scratch(lanes),
            Self::Winograd(step) => step.scratch(lanes),
            Self::Pool(step) => step.scratch(lanes),
            Self::Attention(step) => step.scratch(lanes),
            Self::Decode(step) => step.scratch(lanes),
            _ => 0,
        }
    }

    /// Does one chunk.
    ///
    /// # Safety
    /// The spans of `context` are as long as the plan says; no other thread does the same chunk, and steps that
    /// this one depends on are done.
    pub(crate) unsafe fn run(&self, context: &Context, chunk: usize) {
        // SAFETY: by contract.
        unsafe {
            match self {
                Self::Input(step) => step.run(context, chunk),
                Self::Conv(step) => step.run(context, chunk),
                Self::Winograd(step) => step.run(context, chunk),
                Self::Depthwise(step) => step.run(context, chunk),
                Self::Border(step) => step.run(context, chunk),
                Self::Pool(step) => step.run(context, chunk),
                Self::Copy(step) => step.run(context, chunk),
                Self::Add(step) => step.run(context, chunk),
                Self::Windows(step) => step.run(context, chunk),
                Self::Squares(step) => step.run(context, chunk),
                Self::Attention(step) => step.run(context, chunk),
                Self::Decode(step) => step.run(context, chunk),
                Self::Map(step) => step.run(context, chunk),
            }
        }
    }

    /// Bytes of its packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        match self {
            Self::Conv(step) => step.weight_bytes(),
            Self::Winograd(step) => step.weight_bytes(),
            Self::Depthwise(step) => step.weight_bytes(),
            _ => 0,
        }
    }

    /// Bytes of its tables.
    pub(crate) fn index_bytes(&self) -> usize {
        match self {
            Self::Conv(step) => step.index_bytes(),
            Self::Winograd(step) => step.index_bytes(),
            Self::Depthwise(step) => step.index_bytes(),
            Self::Pool(step) => step.index_bytes(),
            Self::Windows(step) => step.index_bytes(),
            Self::Attention(step) => step.index_bytes(),
            _ => 0,
        }
    }

    /// Short description, for profiles.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Input(_) => "input".to_owned(),
            Self::Conv(step) => step.name.clone(),
            Self::Winograd(step) => step.name.clone(),
            Self::Depthwise(step) => step.name.clone(),
            Self::Border(_) => "border".to_owned(),
            Self::Pool(_) => "max-pool".to_owned(),
            Self::Copy(_) => "upsample".to_owned(),
            Self::Add(_) => "add".to_owned(),
            Self::Windows(_) => "windows".to_owned(),
            Self::Squares(_) => "squares".to_owned(),
            Self::Attention(_) => "attention".to_owned(),
            Self::Decode(_) => "decode".to_owned(),
            Self::Map(_) => "map".to_owned(),
        }
    }
}
