//! Padded planes on which the taps of a kernel are plain offsets.
#![allow(unsafe_code, reason = "copies lines with vector loads and stores")]

use std::cell::RefCell;

use yolo_simd::{Kernel, Simd};

/// Which pixels of the source a plane of the grid holds along one axis: `first + i · step`, zero outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) first: isize,
    pub(super) step: usize,
}

/// The taps of a kernel along one axis, sorted by the phase of the stride they fall into.
#[derive(Debug)]
pub(super) struct Phases {
    /// The phases that any tap uses, ascending.
    pub(super) used: Vec<usize>,
    /// Per tap: index into `used`, and the shift in that phase.
    pub(super) taps: Vec<(usize, usize)>,
    /// The largest shift.
    pub(super) reach: usize,
}

impl Phases {
    /// Tap `t` lies `t · dilation` pixels from the start.
    pub(super) fn new(kernel: usize, stride: usize, dilation: usize) -> Self {
        let distances = (0..kernel).map(|tap| tap * dilation);
        let mut used: Vec<usize> = distances.clone().map(|d| d % stride).collect();
        used.sort_unstable();
        used.dedup();
        let index = |phase: usize| used.iter().position(|&p| p == phase).unwrap_or(0);
        let taps = distances.map(|d| (index(d % stride), d / stride)).collect();
        let reach = (kernel - 1) * dilation / stride;
        Self { used, taps, reach }
    }
}

/// Fills `grid` with `columns` pixels of each of its rows from `plane`.
pub(super) struct CopyPlane<'a> {
    pub(super) plane: &'a [f32],
    pub(super) size: [usize; 2],
    pub(super) axes: [Axis; 2],
    pub(super) columns: usize,
    /// Whole rows.
    pub(super) grid: &'a mut [f32],
}

impl Kernel for CopyPlane<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plane, size: [height, width], axes: [vertical, horizontal], columns, grid } = self;
        let [zeros, pixels] = inside(horizontal, width, columns);
        let first = (horizontal.first + (zeros * horizontal.step) as isize).max(0) as usize;
        for (row, to) in grid.chunks_exact_mut(columns).enumerate() {
            let y = vertical.first + (row * vertical.step) as isize;
            if y < 0 || y >= height as isize || pixels == 0 {
                clear(s, to);
                continue;
            }
            let line = &plane[y as usize * width..][first..width];
            let (before, rest) = to.split_at_mut(zeros);
            let (inner, behind) = rest.split_at_mut(pixels);
            clear(s, before);
            clear(s, behind);
            match horizontal.step {
                1 => copy(s, line, inner),
                2 => copy_every_second(s, line, inner),
                step => {
                    for (to, from) in inner.iter_mut().zip(line.iter().step_by(step)) {
                        *to = *from;
                    }
                }
            }
        }
    }
}

// Lines are short, so these stay in registers instead of calling memset and memcpy.

#[inline(always)]
fn clear<S: Simd>(s: S, to: &mut [f32]) {
    for part in to.chunks_mut(S::LANES) {
        // SAFETY: writes as many numbers as the part has.
        unsafe { s.store_first(part.as_mut_ptr(), s.splat(0.0), part.len()) }
    }
}

#[inline(always)]
fn copy<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
    for (from, to) in from[..to.len()].chunks(S::LANES).zip(to.chunks_mut(S::LANES)) {
        // SAFETY: both parts have the same length.
        unsafe { s.store_first(to.as_mut_ptr(), s.load_first(from.as_ptr(), from.len()), from.len()) }
    }
}

/// Numbers 0, 2, 4, … of `from`.
#[inline(always)]
fn copy_every_second<S: Simd>(s: S, from: &[f32], to: &mut [f32]) {
    let from = &from[..2 * to.len() - 1];
    for (from, to) in from.chunks(2 * S::LANES).zip(to.chunks_mut(S::LANES)) {
        let (low, high) = from.split_at(from.len().min(S::LANES));
        // SAFETY: reads as many numbers as the parts have, and writes as many.
        unsafe {
            let low = s.load_first(low.as_ptr(), low.len());
            let high = s.load_first(high.as_ptr(), high.len());
            s.store_first(to.as_mut_ptr(), s.every_second(low, high), to.len());
        }
    }
}

/// How many of `count` positions lie before the line of `width` pixels, and how many on it.
fn inside(axis: Axis, width: usize, count: usize) -> [usize; 2] {
    let before = |limit: isize| -> usize {
        let distance = (limit - axis.first).max(0) as usize;
        distance.div_ceil(axis.step).min(count)
    };
    let zeros = before(0);
    [zeros, before(width as isize) - zeros]
}

/// Runs `f` with this thread's buffers, which keep their capacity.
pub(super) fn with_scratch<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
    thread_local!(static SCRATCH: RefCell<Scratch> = RefCell::default());
    // A task never starts another one, so the buffers are free.
    SCRATCH.with(|scratch| f(&mut scratch.borrow_mut()))
}

/// Buffers of a task.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) grid: Buffer,
    pub(super) transposed: Buffer,
}

/// Numbers that outlive their task, so that the next one need not clear them.
#[derive(Default)]
pub(super) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` numbers of any value.
    pub(super) fn take(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0.resize(len, 0.0);
        }
        &mut self.0[..len]
    }
}
