//! Pruning by what the network does on calibration images, against sums that are written out.

mod batch_norm;
mod fitting;
mod network_order;
pub(crate) mod networks;
mod refusals;
mod structures;

use yolo_model::Checkpoint;
use yolo_prune::{
    Calibration, CalibrationImages, ImageBatch, PruneOptions, PrunePlan, Result, plan_calibrated,
};

type Batches = Vec<([usize; 3], Vec<u8>)>;

fn calibration_images(batches: &Batches) -> CalibrationImages {
    let batch = |(shape, pixels): &([usize; 3], Vec<u8>)| ImageBatch {
        pixels: pixels.clone(),
        n: shape[0],
        height: shape[1],
        width: shape[2],
    };
    CalibrationImages::new(batches.iter().map(batch)).unwrap()
}

fn calibrated(checkpoint: &Checkpoint, options: &PruneOptions, batches: &Batches) -> Result<PrunePlan> {
    let images = calibration_images(batches);
    let device = networks::device();
    let mut progress = |_: &'static str, done: usize, total: usize| assert!(done <= total);
    plan_calibrated(checkpoint, options, &mut Calibration::new(&images, &device, &mut progress))
}
