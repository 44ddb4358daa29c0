//! Repair without labels: what pruning shifts is measured on calibration images and shifted back.

mod batch_norm;
mod stored;

pub use batch_norm::reestimate_batch_norm;
pub(crate) use stored::stored_tensors;

#[cfg(test)]
mod tests;
