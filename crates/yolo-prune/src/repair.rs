//! Repair without labels: shifts caused by pruning are measured on calibration images and undone.

mod batch_norm;
mod stored;

pub use batch_norm::reestimate_batch_norm;
pub(crate) use stored::stored_tensors;

#[cfg(test)]
mod tests;
