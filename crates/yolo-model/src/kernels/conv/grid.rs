//! Padded planes on which the taps of a kernel are plain offsets.

use std::cell::RefCell;

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

/// Appends `rows × columns` pixels of the plane `source` to `grid`.
pub(super) fn copy_plane(
    source: &[f32],
    [height, width]: [usize; 2],
    [vertical, horizontal]: [Axis; 2],
    [rows, columns]: [usize; 2],
    grid: &mut Vec<f32>,
) {
    let [zeros, pixels] = inside(horizontal, width, columns);
    for row in 0..rows {
        let y = vertical.first + (row * vertical.step) as isize;
        if y < 0 || y >= height as isize || pixels == 0 {
            grid.resize(grid.len() + columns, 0.0);
            continue;
        }
        let line = &source[y as usize * width..][..width];
        let start = (horizontal.first + (zeros * horizontal.step) as isize) as usize;
        let line = &line[start..];
        grid.resize(grid.len() + zeros, 0.0);
        match horizontal.step {
            1 => grid.extend_from_slice(&line[..pixels]),
            2 => grid.extend(line.chunks(2).take(pixels).map(|pair| pair[0])),
            step => grid.extend(line.iter().step_by(step).take(pixels)),
        }
        grid.resize(grid.len() + columns - zeros - pixels, 0.0);
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
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        scratch.grid.clear();
        scratch.transposed.clear();
        f(&mut scratch)
    })
}

/// Buffers of a task.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) grid: Vec<f32>,
    pub(super) transposed: Vec<f32>,
}
