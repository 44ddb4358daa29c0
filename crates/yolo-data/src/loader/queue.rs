//! Which image is decoded next, and which batch is ready: the only state that threads share.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::rect::BatchPlan;

/// Hands out images batch by batch, and batches in order. `S` is the outcome for an image, beside its pixels.
pub(crate) struct Queue<S> {
    plans: Vec<BatchPlan>,
    /// Images before each plan.
    starts: Vec<usize>,
    /// Most batches that are begun and not handed out.
    ahead: usize,
    state: Mutex<State<S>>,
    /// Notified when there may be work, and when there will be no more.
    work: Condvar,
    /// Notified when a batch is complete, and when none will be any more.
    done: Condvar,
}

struct State<S> {
    /// The batch, and the position in it, that are handed out next.
    next: (usize, usize),
    /// How many batches were handed out.
    delivered: usize,
    /// Batches from `delivered` on that are begun.
    open: VecDeque<Arc<Open<S>>>,
    /// Memory of batches that are no longer used.
    spare: Vec<Vec<u8>>,
    stopped: bool,
    failure: Option<String>,
}

/// A batch that is being filled.
pub(crate) struct Open<S> {
    pub(crate) height: usize,
    pub(crate) width: usize,
    content: Mutex<Content<S>>,
}

struct Content<S> {
    /// `[N, 3, height, width]`.
    pixels: Vec<u8>,
    slots: Vec<Option<S>>,
    missing: usize,
}

/// One image to load.
pub(crate) struct Task<S> {
    pub(crate) batch: Arc<Open<S>>,
    /// Place in the batch.
    pub(crate) slot: usize,
    pub(crate) item_idx: usize,
    /// Place among all images of the plans.
    pub(crate) position: usize,
}

/// Locks even after a panic: a panic is reported as a failure, and no invariant is broken by it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Open<S> {
    fn new(plan: &BatchPlan, mut pixels: Vec<u8>) -> Self {
        let n = plan.indices.len();
        // Every byte is written later, or cut off, so the old content of reused memory does not matter.
        let len = n * 3 * plan.height * plan.width;
        if pixels.capacity() < len {
            // Fresh zeros cost nothing until they are written to; filling memory would block all threads.
            pixels = vec![0; len];
        } else {
            pixels.resize(len, 0);
        }
        let slots = (0..n).map(|_| None).collect();
        Self {
            height: plan.height,
            width: plan.width,
            content: Mutex::new(Content { pixels, slots, missing: n }),
        }
    }

    /// Bytes of one image.
    pub(crate) fn image_len(&self) -> usize {
        3 * self.height * self.width
    }

    /// Lets `write` fill the `[3, height, width]` pixels of one image. Other threads wait meanwhile, so it must be
    /// quick: decode and resize before.
    pub(crate) fn write(&self, slot: usize, write: impl FnOnce(&mut [u8])) {
        let len = self.image_len();
        write(&mut lock(&self.content).pixels[slot * len..(slot + 1) * len]);
    }

    /// Everything in the batch, once.
    pub(crate) fn take(&self) -> (Vec<u8>, Vec<Option<S>>) {
        let mut content = lock(&self.content);
        (std::mem::take(&mut content.pixels), std::mem::take(&mut content.slots))
    }

    fn is_complete(&self) -> bool {
        lock(&self.content).missing == 0
    }
}

impl<S> Queue<S> {
    /// The images of `plans` without the first `skip` of them.
    pub(crate) fn new(plans: Vec<BatchPlan>, ahead: usize, skip: usize) -> Self {
        let starts: Vec<usize> = plans
            .iter()
            .scan(0, |total, plan| {
                let start = *total;
                *total += plan.indices.len();
                Some(start)
            })
            .collect();
        let state = State {
            next: (skip.min(plans.len()), 0),
            delivered: skip.min(plans.len()),
            open: VecDeque::new(),
            spare: Vec::new(),
            stopped: false,
            failure: None,
        };
        Self { plans, starts, ahead, state: Mutex::new(state), work: Condvar::new(), done: Condvar::new() }
    }

    pub(crate) fn remaining(&self) -> usize {
        let state = lock(&self.state);
        if state.failure.is_some() { 0 } else { self.plans.len() - state.delivered }
    }

    /// The next image, if a batch is open for it.
    pub(crate) fn try_take(&self) -> Option<Task<S>> {
        self.take(&mut lock(&self.state))
    }

    /// The next image, as soon as a batch is open for it; `None` when there is nothing left to do.
    pub(crate) fn wait_for_task(&self) -> Option<Task<S>> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped || state.failure.is_some() || state.next.0 >= self.plans.len() {
                return None;
            }
            if let Some(task) = self.take(&mut state) {
                return Some(task);
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take(&self, state: &mut State<S>) -> Option<Task<S>> {
        if state.stopped || state.failure.is_some() {
            return None;
        }
        loop {
            let (batch_idx, slot) = state.next;
            let plan = self.plans.get(batch_idx)?;
            if slot == 0 {
                if state.open.len() >= self.ahead {
                    return None;
                }
                let memory = state.spare.pop().unwrap_or_default();
                state.open.push_back(Arc::new(Open::new(plan, memory)));
            }
            let Some(&item_idx) = plan.indices.get(slot) else {
                // A batch without images is complete.
                state.next = (batch_idx + 1, 0);
                self.done.notify_all();
                continue;
            };
            state.next =
                if slot + 1 == plan.indices.len() { (batch_idx + 1, 0) } else { (batch_idx, slot + 1) };
            let batch = Arc::clone(state.open.back()?);
            return Some(Task { batch, slot, item_idx, position: self.starts[batch_idx] + slot });
        }
    }

    /// Records the outcome of a task.
    pub(crate) fn complete(&self, task: &Task<S>, result: S) {
        let complete = {
            let mut content = lock(&task.batch.content);
            content.slots[task.slot] = Some(result);
            content.missing -= 1;
            content.missing == 0
        };
        if complete {
            // With the lock taken once, no thread is between its check and its wait, where it would miss this.
            drop(lock(&self.state));
            self.done.notify_all();
        }
    }

    /// The next batch, when it is complete; `None` after the last.
    ///
    /// # Errors
    /// The reason of a failure, once; `None` after that.
    pub(crate) fn wait_for_next(&self) -> Result<Option<Arc<Open<S>>>, String> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return Ok(None);
            }
            if let Some(reason) = state.failure.clone() {
                state.stopped = true;
                return Err(reason);
            }
            if state.delivered == self.plans.len() {
                return Ok(None);
            }
            if state.open.front().is_some_and(|open| open.is_complete()) {
                state.delivered += 1;
                let open = state.open.pop_front();
                self.work.notify_all();
                return Ok(open);
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps `memory` for a later batch, unless enough is kept already.
    pub(crate) fn recycle(&self, memory: Vec<u8>) {
        let mut state = lock(&self.state);
        if state.spare.is_empty() {
            state.spare.push(memory);
        }
    }

    /// Ends the iteration with an error.
    pub(crate) fn fail(&self, reason: String) {
        lock(&self.state).failure.get_or_insert(reason);
        self.work.notify_all();
        self.done.notify_all();
    }

    /// Ends the iteration; each thread ends after its current image.
    pub(crate) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.work.notify_all();
        self.done.notify_all();
    }
}
