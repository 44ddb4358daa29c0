//! Running steps on a team.
#![allow(unsafe_code, reason = "steps share the arena by contract: see `run_steps`")]

use crate::kernels::{Kernels, Span};
use crate::memory::AlignedBuffer;
use crate::steps::{Context, Step};
use crate::team::{Barrier, Team};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// Memory that a run works in.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) arena: AlignedBuffer,
    pub(crate) scratch: AlignedBuffer,
    /// Next chunk of each step.
    pub(crate) counters: Vec<AtomicUsize>,
}

/// Room for `threads` times `numbers`, each thread's on separate cache lines.
pub(crate) fn scratch(threads: usize, numbers: usize) -> AlignedBuffer {
    AlignedBuffer::zeroed(threads * numbers.next_multiple_of(32))
}

/// Runs all steps on all threads, with a barrier behind each.
///
/// The arena is as long as the places of the steps reach, the scratch was made for the team and for the largest
/// step, and input and output are as long as the plan says.
pub(crate) fn run_steps(
    team: &Team,
    kernels: &'static Kernels,
    steps: &[Step],
    workspace: &mut Workspace,
    input: &[f32],
    output: &mut [f32],
    ends: Option<&Ends>,
) {
    let scratch = workspace.scratch.as_mut_slice();
    let share = scratch.len() / team.threads();
    let scratch = Span::of_mut(scratch);
    let arena = Span::of_mut(workspace.arena.as_mut_slice());
    let (input, output) = (Span::of(input), Span::of_mut(output));
    let counters = &workspace.counters;
    counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    let barrier = Barrier::new(team.threads());
    team.run(&|thread| {
        let _guard = barrier.guard();
        // SAFETY: each thread has its own share of the scratch.
        let scratch = unsafe { scratch.part(thread * share, share) };
        let context = Context { kernels, arena, scratch, input, output };
        for (index, (step, counter)) in steps.iter().zip(counters).enumerate() {
            let chunks = step.chunks();
            loop {
                let chunk = counter.fetch_add(1, Ordering::Relaxed);
                if chunk >= chunks {
                    break;
                }
                // SAFETY: the counter gives each chunk to one thread; the barrier orders the steps; the spans are
                // as long as this function asks for.
                unsafe { step.run(&context, chunk) };
            }
            if let Some(ends) = ends {
                ends.note(index);
            }
            barrier.wait();
        }
    });
}

/// When the last thread left each step.
#[derive(Debug)]
pub(crate) struct Ends {
    start: Instant,
    nanoseconds: Vec<AtomicU64>,
}

impl Ends {
    pub(crate) fn new(steps: usize) -> Self {
        Self { start: Instant::now(), nanoseconds: (0..steps).map(|_| AtomicU64::new(0)).collect() }
    }

    fn note(&self, step: usize) {
        let now = self.start.elapsed().as_nanos() as u64;
        self.nanoseconds[step].fetch_max(now, Ordering::Relaxed);
    }

    /// Seconds of each step.
    pub(crate) fn seconds(&self) -> Vec<f64> {
        let mut before = 0;
        let step = |end: &AtomicU64| {
            let end = end.load(Ordering::Relaxed);
            end.saturating_sub(std::mem::replace(&mut before, end)) as f64 * 1e-9
        };
        self.nanoseconds.iter().map(step).collect()
    }
}

/// Seconds of one step that touches neither input nor output.
pub(crate) fn time_step(
    team: &Team,
    kernels: &'static Kernels,
    arena: &mut [f32],
    scratch: &mut AlignedBuffer,
    step: &Step,
) -> f64 {
    let scratch = scratch.as_mut_slice();
    let share = scratch.len() / team.threads();
    let scratch = Span::of_mut(scratch);
    let (input, output) = (Span::of(&[]), Span::of_mut(&mut []));
    let arena = Span::of_mut(arena);
    let barrier = Barrier::new(team.threads());
    let counter = AtomicUsize::new(0);
    let chunks = step.chunks();
    // A thread that was held up at the barrier must not hide what the others did meanwhile.
    let clock = Instant::now();
    let (first, last) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
    team.run(&|thread| {
        let _guard = barrier.guard();
        // SAFETY: each thread has its own share of the scratch.
        let scratch = unsafe { scratch.part(thread * share, share) };
        let context = Context { kernels, arena, scratch, input, output };
        barrier.wait();
        first.fetch_min(clock.elapsed().as_nanos() as u64, Ordering::Relaxed);
        loop {
            let chunk = counter.fetch_add(1, Ordering::Relaxed);
            if chunk >= chunks {
                break;
            }
            // SAFETY: the counter gives each chunk to one thread; the step's places lie in the arena.
            unsafe { step.run(&context, chunk) };
        }
        last.fetch_max(clock.elapsed().as_nanos() as u64, Ordering::Relaxed);
    });
    last.load(Ordering::Relaxed).saturating_sub(first.load(Ordering::Relaxed)) as f64 * 1e-9
}
