//! Weights from one network into another: other classes, other anchors, another head.

use crate::architecture::Architecture;
use crate::checkpoint::Checkpoint;
use crate::heads::HeadMut;

impl Architecture {
    /// The same network for `num_classes` classes.
    #[must_use]
    pub fn with_num_classes(mut self, num_classes: usize) -> Self {
        if let Some(mut head) = self.head_mut() {
            head.set_num_classes(num_classes);
        }
        self
    }

    /// The same network with other anchors: per level, width and height in pixels of the input. A head without anchors
    /// stays.
    #[must_use]
    pub fn with_anchors(mut self, anchors: Vec<Vec<[f32; 2]>>) -> Self {
        if let Some(HeadMut::AnchorBased(detect)) = self.head_mut() {
            detect.anchors = anchors;
        }
        self
    }
}

impl Checkpoint {
    /// Takes over every learned tensor of `other` that has a name and shape of this network, and returns how many
    /// these were.
    pub fn transfer_from(&mut self, other: &Self) -> usize {
        let buffers = self.architecture.head_buffers();
        let is_learned = |name: &str| !buffers.iter().any(|(buffer, _)| buffer == name);
        let mut transferred = 0;
        for (name, tensor) in self.weights.iter_mut().filter(|(name, _)| is_learned(name)) {
            if let Some(source) = other.weights.get(name).filter(|source| source.shape == tensor.shape) {
                tensor.clone_from(source);
                transferred += 1;
            }
        }
        transferred
    }

    /// The same network with other anchors of the same number, in pixels of the input; weights stay.
    #[must_use]
    pub fn with_anchors(mut self, anchors: Vec<Vec<[f32; 2]>>) -> Self {
        self.architecture = self.architecture.with_anchors(anchors);
        for (name, tensor) in self.architecture.head_buffers() {
            self.weights.insert(name, tensor);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn only_the_head_changes_with_the_classes() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(0);
        let coco = Checkpoint::random(Architecture::variant("yolov5n", Some(80)).unwrap(), &mut rng).unwrap();
        let architecture = coco.architecture.clone().with_num_classes(3);
        let mut mine = Checkpoint::random(architecture, &mut rng).unwrap();
        // The heads of three levels, weight and bias, and the anchors.
        assert_eq!(mine.transfer_from(&coco), mine.weights.len() - 7);
        mine.check_tensors().unwrap();
        assert_eq!(mine.weights.get("model.0.conv.weight"), coco.weights.get("model.0.conv.weight"));
        let anchors = vec![vec![[8.0, 16.0]; 3], vec![[32.0, 32.0]; 3], vec![[64.0, 32.0]; 3]];
        let mine = mine.with_anchors(anchors);
        mine.check_tensors().unwrap();
        assert_eq!(mine.weights.f32s("model.24.anchors").unwrap()[..2], [1.0, 2.0]);
    }
}
