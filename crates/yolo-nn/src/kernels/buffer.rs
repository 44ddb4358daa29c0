//! Outputs that several tasks fill, each its own part, without being cleared first.
#![allow(unsafe_code, reason = "tasks write to disjoint parts of one allocation")]

/// `len` numbers that nobody has written yet.
pub(crate) struct Output {
    numbers: Vec<f32>,
}

/// Where tasks write; a pointer that remembers its bounds.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    start: *mut f32,
    len: usize,
    buffer: std::marker::PhantomData<&'a mut f32>,
}

// SAFETY: a target is only written through the `unsafe` contract of `at`, which asks for disjoint parts.
unsafe impl Send for Target<'_> {}
// SAFETY: as above.
unsafe impl Sync for Target<'_> {}

impl Output {
    /// Room for `len` numbers.
    pub(crate) fn new(len: usize) -> Self {
        Self { numbers: Vec::with_capacity(len) }
    }

    /// Lets tasks write.
    pub(crate) fn target(&mut self) -> Target<'_> {
        let room = self.numbers.spare_capacity_mut();
        Target { start: room.as_mut_ptr().cast(), len: room.len(), buffer: std::marker::PhantomData }
    }

    /// The numbers.
    ///
    /// # Safety
    /// The first `len` were all written.
    pub(crate) unsafe fn finish(mut self, len: usize) -> Vec<f32> {
        assert!(len <= self.numbers.capacity());
        // SAFETY: within the capacity, and written as the caller says.
        unsafe { self.numbers.set_len(len) };
        self.numbers
    }
}

impl<'a> Target<'a> {
    /// Lets tasks read and write `numbers`.
    pub(crate) fn over(numbers: &'a mut [f32]) -> Self {
        Self { start: numbers.as_mut_ptr(), len: numbers.len(), buffer: std::marker::PhantomData }
    }

    /// The place of numbers `start .. start + len`.
    ///
    /// # Panics
    /// If they lie outside the buffer.
    ///
    /// # Safety
    /// While the pointer is used, no other task uses any of these numbers.
    #[inline(always)]
    pub(crate) unsafe fn at(self, start: usize, len: usize) -> *mut f32 {
        assert!(start <= self.len && len <= self.len - start, "{start} + {len} of {}", self.len);
        // SAFETY: inside the allocation, as just checked.
        unsafe { self.start.add(start) }
    }
}
