//! Threads that prepare the images of batches ahead of their use, for any kind of preparation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::queue::{Open, Queue, Task};
use crate::rect::BatchPlan;
use crate::{DataError, Result};

/// How one image is prepared.
pub(crate) trait Prepare: Send + Sync + 'static {
    /// Memory that a thread reuses from image to image.
    type Scratch: Default;
    /// The outcome for an image, beside its pixels in the batch.
    type Slot: Send + 'static;

    /// Prepares the image of `task` and writes its pixels into the batch.
    fn prepare(&self, task: &Task<Self::Slot>, scratch: &mut Self::Scratch) -> Self::Slot;

    /// The file of an image, for messages.
    fn file(&self, item_idx: usize) -> String;
}

/// The batches of a list of plans, in order. Dropping it stops its threads and waits for them.
pub(crate) struct Pipeline<P: Prepare> {
    pub(super) job: Arc<Job<P>>,
    workers: Vec<JoinHandle<()>>,
    /// For work on the calling thread, if there are no others.
    scratch: P::Scratch,
}

/// The state that all threads share.
pub(super) struct Job<P: Prepare> {
    prepare: P,
    queue: Queue<P::Slot>,
}

impl<P: Prepare> Pipeline<P> {
    /// Starts `workers` threads. With 0, the thread that asks for a batch prepares it. The first
    /// `skip_batches` batches are left out.
    ///
    /// # Panics
    /// If a plan has an index of `items` or above, or a side of 0.
    pub(crate) fn new(
        prepare: P,
        items: usize,
        plans: Vec<BatchPlan>,
        workers: usize,
        prefetch_batches: usize,
        skip_batches: usize,
    ) -> Self {
        for plan in &plans {
            assert!(plan.height > 0 && plan.width > 0, "a batch of {}×{} pixels", plan.height, plan.width);
            assert!(plan.indices.iter().all(|&i| i < items), "a plan points beyond the items");
        }
        // Without threads nothing is prepared ahead.
        let ahead = if workers == 0 { 1 } else { prefetch_batches.max(1) };
        let job = Arc::new(Job { prepare, queue: Queue::new(plans, ahead, skip_batches) });
        let mut handles = Vec::with_capacity(workers);
        for i in 0..workers {
            let shared = Arc::clone(&job);
            match std::thread::Builder::new().name(format!("loader-{i}")).spawn(move || shared.work()) {
                Ok(handle) => handles.push(handle),
                Err(e) => {
                    job.queue.fail(format!("cannot start a loader thread ({e}); ask for fewer workers"))
                }
            }
        }
        Self { job, workers: handles, scratch: P::Scratch::default() }
    }

    /// Batches that were not returned yet.
    pub(crate) fn remaining(&self) -> usize {
        self.job.queue.remaining()
    }

    /// Gives the memory of a batch back for later ones.
    pub(crate) fn recycle(&self, pixels: Vec<u8>) {
        self.job.queue.recycle(pixels);
    }

    /// The next batch, complete; after the last, `None`. An error means a defect of the loader.
    pub(crate) fn next(&mut self) -> Option<Result<Arc<Open<P::Slot>>>> {
        if self.workers.is_empty() {
            while let Some(task) = self.job.queue.try_take() {
                self.job.run(task, &mut self.scratch);
            }
        }
        match self.job.queue.wait_for_next() {
            Ok(open) => open.map(Ok),
            Err(reason) => Some(Err(DataError::invalid("image loader", reason))),
        }
    }
}

impl<P: Prepare> Drop for Pipeline<P> {
    fn drop(&mut self) {
        self.job.queue.stop();
        for worker in self.workers.drain(..) {
            // `next` has already reported a panic.
            let _ = worker.join();
        }
    }
}

impl<P: Prepare> Job<P> {
    /// The loop of a thread: prepares images until none are left.
    fn work(&self) {
        let mut scratch = P::Scratch::default();
        while let Some(task) = self.queue.wait_for_task() {
            self.run(task, &mut scratch);
        }
    }

    /// Prepares the image of `task`. A panic ends the iteration with an error; otherwise `next` would wait forever.
    fn run(&self, task: Task<P::Slot>, scratch: &mut P::Scratch) {
        match catch_unwind(AssertUnwindSafe(|| self.prepare.prepare(&task, scratch))) {
            Ok(slot) => self.queue.complete(&task, slot),
            Err(_) => self.queue.fail(format!(
                "a thread panicked at {}; this is a bug in the loader, please report it with this file",
                self.prepare.file(task.item_idx)
            )),
        }
    }
}

/// The pixels and slots of a complete batch, without the pixels of images whose slot is not `kept`.
pub(crate) fn close_gaps<S>(open: &Open<S>, kept: impl Fn(&S) -> bool) -> (Vec<u8>, Vec<S>) {
    let (mut pixels, slots) = open.take();
    let image_len = open.image_len();
    // Only complete batches get here, so no slot is missing.
    let slots: Vec<S> = slots.into_iter().flatten().collect();
    let mut to = 0;
    for (i, _) in slots.iter().enumerate().filter(|(_, slot)| kept(slot)) {
        if to != i {
            pixels.copy_within(i * image_len..(i + 1) * image_len, to * image_len);
        }
        to += 1;
    }
    pixels.truncate(to * image_len);
    (pixels, slots)
}
