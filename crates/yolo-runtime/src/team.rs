//! A fixed team of threads that walks through a plan together.
//!
//! The threads are our own, since a pool that takes jobs from a queue allocates for each of them.
#![allow(unsafe_code, reason = "lends a closure to threads that outlive it; see `Team::run`")]

use crate::error::{Result, RuntimeError};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of a busy wait before a thread gives its time slice away. A longer or endless spin is disastrous where
/// other processes use the cores.
const SPINS: usize = 2000;

/// Threads that run one job at a time, all of them together. The caller of [`Team::run`] is the first.
#[derive(Debug)]
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One job at a time: threads of two jobs would wait for each other at their barriers.
    turn: Mutex<()>,
}

type Job = dyn Fn(usize) + Sync;

#[derive(Clone, Copy)]
struct JobPointer(*const Job);

// SAFETY: the job is `Sync`, and `Team::run` keeps it alive until every thread has left it.
unsafe impl Send for JobPointer {}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Counts jobs; the last one is `u64::MAX`.
    epoch: AtomicU64,
    running: AtomicUsize,
    has_panicked: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    job: Option<JobPointer>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes guard is whole at any time.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Team {
    /// A team of `threads`, the caller included; 0 means as many as there are cores.
    ///
    /// # Errors
    /// [`RuntimeError::Threads`] where the system gives no more threads.
    pub fn new(threads: usize) -> Result<Self> {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        let shared = Arc::new(Shared::default());
        let mut team = Self { shared, workers: Vec::with_capacity(threads - 1), turn: Mutex::new(()) };
        for thread in 1..threads {
            let shared = Arc::clone(&team.shared);
            let worker = std::thread::Builder::new()
                .name(format!("yolo-runtime-{thread}"))
                .spawn(move || work(&shared, thread))
                .map_err(|error| RuntimeError::Threads(error.to_string()))?;
            team.workers.push(worker);
        }
        Ok(team)
    }

    /// Threads of the team.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job` once on every thread, which it is given the number of, and waits for all of them.
    ///
    /// # Panics
    /// Where the job panics on any thread.
    pub fn run(&self, job: &(dyn Fn(usize) + Sync)) {
        let _turn = lock(&self.turn);
        if self.workers.is_empty() {
            return job(0);
        }
        // SAFETY: only the lifetime changes. The workers use the pointer only between the start of this job and
        // their leaving it, and this function returns, or unwinds, after all of them have left.
        let job_pointer = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), *const Job>(job) };
        self.shared.has_panicked.store(false, Ordering::Relaxed);
        self.shared.running.store(self.workers.len(), Ordering::Relaxed);
        {
            let mut state = lock(&self.shared.state);
            state.job = Some(JobPointer(job_pointer));
            self.shared.epoch.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        wait_until(|| self.shared.running.load(Ordering::Acquire) == 0);
        match own {
            Err(panic) => resume_unwind(panic),
            Ok(()) if self.shared.has_panicked.load(Ordering::Relaxed) => {
                panic!("a thread of the team has panicked")
            }
            Ok(()) => {}
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.shared.state);
            state.job = None;
            self.shared.epoch.store(u64::MAX, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its jobs' panics, so there is nothing to hear from it.
            let _ = worker.join();
        }
    }
}

fn work(shared: &Shared, thread: usize) {
    let mut seen = 0;
    loop {
        for _ in 0..SPINS {
            if shared.epoch.load(Ordering::Acquire) != seen {
                break;
            }
            std::hint::spin_loop();
        }
        let job = {
            let mut state = lock(&shared.state);
            while shared.epoch.load(Ordering::Acquire) == seen {
                state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            seen = shared.epoch.load(Ordering::Acquire);
            state.job
        };
        let Some(JobPointer(job)) = job else { return };
        // SAFETY: `Team::run` keeps the job alive until `running` is 0.
        let job = unsafe { &*job };
        if catch_unwind(AssertUnwindSafe(|| job(thread))).is_err() {
            shared.has_panicked.store(true, Ordering::Relaxed);
        }
        shared.running.fetch_sub(1, Ordering::Release);
    }
}

fn wait_until(mut is_done: impl FnMut() -> bool) {
    let mut turns = 0;
    while !is_done() {
        turns += 1;
        if turns < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Where the threads of a job wait for each other.
#[derive(Debug)]
pub(crate) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    is_broken: AtomicBool,
}

impl Barrier {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
        }
    }

    /// Waits for the others. What they wrote before is visible after.
    ///
    /// # Panics
    /// Where another thread has panicked and will not come.
    pub(crate) fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let generation = self.generation.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.generation.fetch_add(1, Ordering::Release);
            return;
        }
        wait_until(|| {
            self.generation.load(Ordering::Acquire) != generation || self.is_broken.load(Ordering::Relaxed)
        });
        assert!(!self.is_broken.load(Ordering::Relaxed), "another thread has panicked");
    }

    /// A guard that breaks the barrier when its thread panics.
    pub(crate) fn guard(&self) -> BarrierGuard<'_> {
        BarrierGuard(self)
    }
}

/// See [`Barrier::guard`].
pub(crate) struct BarrierGuard<'a>(&'a Barrier);

impl Drop for BarrierGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.is_broken.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_thread_runs_the_job_and_barriers_order_it() {
        for threads in 1..=3 {
            let team = Team::new(threads).unwrap();
            assert_eq!(team.threads(), threads);
            for _ in 0..20 {
                let barrier = Barrier::new(threads);
                let counter = AtomicUsize::new(0);
                team.run(&|_| {
                    for round in 1..=10 {
                        counter.fetch_add(1, Ordering::Relaxed);
                        barrier.wait();
                        assert_eq!(counter.load(Ordering::Relaxed), round * threads);
                        barrier.wait();
                    }
                });
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2).unwrap();
        let barrier = Barrier::new(2);
        let run = || {
            team.run(&|thread| {
                let _guard = barrier.guard();
                assert!(thread != 1, "on purpose");
                barrier.wait();
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        let counter = AtomicUsize::new(0);
        team.run(&|_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(counter.load(Ordering::Relaxed), 2);
    }
}
