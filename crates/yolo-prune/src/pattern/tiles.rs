//! The groups of weights that a structure handles together.

/// A tensor `[out, in, kh, kw]` cut into tiles of output × input channels at one tap. Every weight is in one
/// tile; the last tiles of a side are shorter if it does not divide the channels.
pub(super) struct Tiles {
    shape: [usize; 4],
    out_side: usize,
    in_side: usize,
}

impl Tiles {
    /// # Panics
    /// If a side is 0.
    pub(super) fn new(shape: [usize; 4], out_side: usize, in_side: usize) -> Self {
        assert!(out_side > 0 && in_side > 0, "a tile has no side of 0");
        Self { shape, out_side, in_side }
    }

    /// Number of tiles.
    pub(super) fn count(&self) -> usize {
        let [out, inp, kh, kw] = self.shape;
        out.div_ceil(self.out_side) * inp.div_ceil(self.in_side) * kh * kw
    }

    /// Visits the tiles in the order of their first elements, each as the ascending indices of its elements.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[usize])) {
        let [out, inp, kh, kw] = self.shape;
        let taps = kh * kw;
        let mut members = Vec::with_capacity(self.out_side * self.in_side);
        for first_out in (0..out).step_by(self.out_side) {
            let outs = first_out..out.min(first_out + self.out_side);
            for first_in in (0..inp).step_by(self.in_side) {
                let inps = first_in..inp.min(first_in + self.in_side);
                for tap in 0..taps {
                    members.clear();
                    for o in outs.clone() {
                        members.extend(inps.clone().map(|c| (o * inp + c) * taps + tap));
                    }
                    visit(&members);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_partition_the_tensor_in_order() {
        for (shape, out_side, in_side) in
            [([5, 6, 2, 3], 4, 1), ([5, 6, 2, 3], 1, 4), ([3, 3, 1, 1], 2, 2), ([0, 3, 1, 1], 2, 2)]
        {
            let tiles = Tiles::new(shape, out_side, in_side);
            let (mut all, mut firsts) = (Vec::new(), Vec::new());
            tiles.for_each(|members| {
                all.extend_from_slice(members);
                firsts.push(members[0]);
                assert!(members.is_sorted() && members.len() <= out_side * in_side);
                // One tap: the same index in a kernel.
                let taps = shape[2] * shape[3];
                assert!(members.iter().all(|index| index % taps == members[0] % taps));
            });
            assert!(firsts.is_sorted());
            assert_eq!(firsts.len(), tiles.count());
            all.sort_unstable();
            assert!(all.into_iter().eq(0..shape.iter().product()));
        }
    }
}
