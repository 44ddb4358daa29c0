//! Masks: which elements of a tensor stay.

/// One bit per element of a tensor, row-major: set if the element stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u64>,
    len: usize,
}

impl Mask {
    /// A mask of `len` elements that keeps all.
    pub fn keep_all(len: usize) -> Self {
        let mut words = vec![u64::MAX; len.div_ceil(64)];
        if let (Some(last), tail @ 1..) = (words.last_mut(), len % 64) {
            *last = (1 << tail) - 1;
        }
        Self { words, len }
    }

    /// The mask that keeps the elements for which `keep` is true.
    pub fn of(keep: &[bool]) -> Self {
        let mut mask = Self::keep_all(keep.len());
        keep.iter().enumerate().filter(|(_, keep)| !**keep).for_each(|(index, _)| mask.prune(index));
        mask
    }

    /// Whether each element stays.
    pub fn to_bools(&self) -> Vec<bool> {
        (0..self.len).map(|index| self.keeps(index)).collect()
    }

    /// The mask that keeps the elements of `values` that are not zero.
    pub fn of_nonzeros(values: &[f32]) -> Self {
        let mut mask = Self::keep_all(values.len());
        values.iter().enumerate().filter(|(_, v)| **v == 0.0).for_each(|(index, _)| mask.prune(index));
        mask
    }

    /// A mask of `len` elements from what [`Mask::words`] gave; `None` if they do not belong together.
    pub fn from_words(words: Vec<u64>, len: usize) -> Option<Self> {
        let tail = len % 64;
        let is_clean = tail == 0 || words.last().is_none_or(|last| last >> tail == 0);
        (words.len() == len.div_ceil(64) && is_clean).then_some(Self { words, len })
    }

    /// The bits, 64 to a word, the first element in the lowest bit.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it covers no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether element `index` stays.
    ///
    /// # Panics
    /// If `index` is not below [`Mask::len`].
    pub fn keeps(&self, index: usize) -> bool {
        assert!(index < self.len, "element {index} of {}", self.len);
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Removes element `index`.
    ///
    /// # Panics
    /// If `index` is not below [`Mask::len`].
    pub fn prune(&mut self, index: usize) {
        assert!(index < self.len, "element {index} of {}", self.len);
        self.words[index / 64] &= !(1 << (index % 64));
    }

    /// Number of elements removed.
    pub fn pruned(&self) -> usize {
        self.len - self.words.iter().map(|word| word.count_ones() as usize).sum::<usize>()
    }

    /// Sets the removed elements of `values` to zero.
    ///
    /// # Panics
    /// If `values` does not have [`Mask::len`] elements.
    pub fn apply(&self, values: &mut [f32]) {
        assert_eq!(values.len(), self.len, "a mask and its tensor have the same length");
        for (word, chunk) in self.words.iter().zip(values.chunks_mut(64)) {
            for (bit, value) in chunk.iter_mut().enumerate() {
                // All ones or all zeros, without a branch that half of the time goes the other way.
                let keep = 0u32.wrapping_sub((word >> bit & 1) as u32);
                *value = f32::from_bits(value.to_bits() & keep);
            }
        }
    }

    /// Number of removed elements of `values` that are not zero: 0, or an invariant is broken.
    ///
    /// # Panics
    /// If `values` does not have [`Mask::len`] elements.
    pub fn violations(&self, values: &[f32]) -> usize {
        assert_eq!(values.len(), self.len, "a mask and its tensor have the same length");
        values.iter().enumerate().filter(|&(index, value)| *value != 0.0 && !self.keeps(index)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_removes_exactly_its_elements() {
        for len in [1, 63, 64, 65, 130] {
            let mut mask = Mask::keep_all(len);
            assert_eq!(mask.pruned(), 0);
            mask.prune(len - 1);
            mask.prune(0);
            assert_eq!(mask.pruned(), if len == 1 { 1 } else { 2 });
            let mut values: Vec<f32> = (0..len).map(|v| v as f32 - 200.0).collect();
            assert_eq!(mask.violations(&values), mask.pruned());
            mask.apply(&mut values);
            assert_eq!(mask.violations(&values), 0);
            assert_eq!(Mask::of_nonzeros(&values), mask);
            assert_eq!(Mask::from_words(mask.words().to_vec(), len), Some(mask.clone()));
            assert_eq!(Mask::from_words(mask.words().to_vec(), len + 64), None);
            assert_eq!(Mask::from_words(vec![u64::MAX; len.div_ceil(64)], len).is_none(), len % 64 != 0);
        }
    }
}
