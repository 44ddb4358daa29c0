//! What an architecture must satisfy before a network is built from it.

use super::Architecture;
use crate::error::Result;
use crate::program::architecture_error;

const MAX_LAYERS: usize = 4096;

impl Architecture {
    /// Checks that the graph is consistent: sources exist, widths agree along every edge, the head is last.
    ///
    /// # Errors
    /// [`crate::ModelError::Architecture`] with the layer's index and the two numbers that disagree.
    pub fn validate(&self) -> Result<()> {
        let last = self.layers.len().checked_sub(1).ok_or_else(|| architecture_error("it has no layers"))?;
        if last > MAX_LAYERS {
            return Err(architecture_error(format!("{} layers are more than {MAX_LAYERS}", last + 1)));
        }
        let misplaced =
            |(index, layer): &(usize, &super::Layer)| layer.block.head().is_some() != (*index == last);
        if let Some((index, layer)) = self.layers.iter().enumerate().find(misplaced) {
            let name = layer.block.name();
            return Err(architecture_error(format!(
                "layer {index} is {name}: exactly the last layer ({last}) must be Detect"
            )));
        }
        self.try_program().map(drop)
    }
}
