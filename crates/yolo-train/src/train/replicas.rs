//! One batch on all devices of a run: each takes a part of its images, and the gradients are added.
//!
//! The weights, the optimiser, the masks and the average are on the host, once. So devices do not communicate with each
//! other: each gets a part of the batch and returns its gradients as a single device does, and their sum is the gradient
//! of the batch. At the end of an epoch, a device without images is idle and is not waited for.

use std::ops::Range;

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};
use yolo_data::train_loader::{Target, TrainBatch};
use yolo_model::{Architecture, Checkpoint};

use super::step::{BatchResult, Student, pixels};
use crate::distill::Teacher;
use crate::error::{Result, TrainError};
use crate::loss::DetectionLoss;
use crate::train::TrainOptions;

/// The networks that are trained, one on each device.
pub(super) struct Replicas {
    /// On the first device, by the thread of the loop.
    first: Replica,
    /// On the others.
    others: Vec<(Replica, ThreadPool)>,
}

struct Replica {
    student: Student,
    teacher: Option<Teacher>,
}

/// One batch, and how to process it.
pub(super) struct Work<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) batch: &'a TrainBatch,
    pub(super) loss: &'a DetectionLoss,
    /// Factor on the loss before the backward pass; gradients have it too.
    pub(super) loss_scale: f64,
    pub(super) options: &'a TrainOptions,
    /// Sides of images are multiples of it.
    pub(super) stride: usize,
    /// Batches before this one, in all epochs.
    pub(super) batch_number: usize,
}

impl Replicas {
    /// A replica on `first` and on each of `others`, for a student of `architecture` and, where there is distillation,
    /// a `teacher`.
    ///
    /// # Errors
    /// No teacher where one is needed, or a thread that cannot be started.
    pub(super) fn new(
        (first, others): (&Device, &[Device]),
        options: &TrainOptions,
        teacher: Option<&Checkpoint>,
        architecture: &Architecture,
    ) -> Result<Self> {
        let replica = |device| -> Result<Replica> {
            let teacher = match (&options.distillation, teacher) {
                (Some(options), Some(dense)) => {
                    Some(Teacher::new(dense, *options, device)?.for_student(architecture))
                }
                (Some(_), None) => return Err(TrainError::Teacher { reason: "there is none".to_owned() }),
                (None, _) => None,
            };
            Ok(Replica { student: Student::new(options, device), teacher })
        };
        let others = others.iter().map(|device| Ok((replica(device)?, thread()?)));
        Ok(Self { first: replica(first)?, others: others.collect::<Result<_>>()? })
    }

    /// To be called when the weights on the host have changed.
    pub(super) fn outdated(&mut self) {
        self.first.student.outdated();
        self.others.iter_mut().for_each(|(replica, _)| replica.student.outdated());
    }

    /// Forward and backward pass with every image of a batch that is not empty. Losses are means over the images, whatever the
    /// device they were on; gradients come device by device; running statistics are those of the first device.
    ///
    /// # Errors
    /// The error of the first device that has one.
    pub(super) fn run(&mut self, work: &Work) -> Result<BatchResult> {
        let shards = shards(work.batch.item_indices.len(), 1 + self.others.len());
        let (own, others) = (shards[0].clone(), &shards[1..]);
        let results = std::thread::scope(|scope| {
            let busy = self.others.iter_mut().zip(others).filter(|(_, shard)| !shard.is_empty());
            let others: Vec<_> = busy
                .map(|((replica, thread), shard)| {
                    // This thread only waits; the tensors are made by the device's own.
                    scope.spawn(move || thread.install(|| replica.run(work, shard.clone())))
                })
                .collect();
            let own = self.first.run(work, own);
            // A panic of the tensor library continues here as it would on one device.
            let join = |other: std::thread::ScopedJoinHandle<'_, _>| {
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            std::iter::once(own).chain(others.into_iter().map(join)).collect::<Vec<Result<_>>>()
        });
        Ok(merged(results.into_iter().collect::<Result<_>>()?))
    }
}

impl Replica {
    /// Forward and backward pass with the images `shard` of the batch.
    fn run(&mut self, work: &Work, shard: Range<usize>) -> Result<BatchResult> {
        let targets: Vec<Target> = work
            .batch
            .targets
            .iter()
            .filter(|target| shard.contains(&target.image))
            .map(|target| Target { image: target.image - shard.start, ..*target })
            .collect();
        let pixels = pixels(work, shard, &self.student.device());
        self.student.run(work, pixels, &targets, self.teacher.as_ref())
    }
}

/// A thread that lives as long as the run: CubeCL has a stream and a pool of memory for every thread that it meets.
fn thread() -> Result<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "replica".to_owned()).build();
    pool.map_err(|error| TrainError::Device(format!("a thread could not be started: {error}")))
}

/// `n_images` in `n_devices` parts whose lengths differ by one at most, the longer ones first.
fn shards(n_images: usize, n_devices: usize) -> Vec<Range<usize>> {
    let start = |device: usize| device * (n_images / n_devices) + device.min(n_images % n_devices);
    (0..n_devices).map(|device| start(device)..start(device + 1)).collect()
}

/// The results of the parts of a batch as one.
fn merged(mut parts: Vec<BatchResult>) -> BatchResult {
    let mut sum = parts.remove(0);
    for part in parts {
        let share = part.n_images as f64 / (sum.n_images + part.n_images) as f64;
        let join = |mean: &mut f64, other: f64| *mean += (other - *mean) * share;
        sum.terms.move_towards(&part.terms, share);
        join(&mut sum.distillation, part.distillation);
        sum.level_objectness
            .iter_mut()
            .zip(part.level_objectness)
            .for_each(|(mean, other)| join(mean, other));
        sum.gradients.extend(part.gradients);
        sum.n_images += part.n_images;
    }
    sum
}

#[cfg(test)]
mod tests;
