//! Memory for activations: aligned to cache lines, on large pages where the system gives them.
#![allow(unsafe_code, reason = "aligned allocation")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};

/// Large pages are 2 MiB on x86 and most ARM systems.
const LARGE_PAGE: usize = 2 << 20;
const CACHE_LINE: usize = 64;

/// Zeroed numbers that start at a cache line.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    start: *mut f32,
    len: usize,
    layout: Layout,
}

// SAFETY: it owns its memory, like a `Vec<f32>`.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// `len` zeros.
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = (len * size_of::<f32>()).max(CACHE_LINE);
        let align = if bytes >= LARGE_PAGE { LARGE_PAGE } else { CACHE_LINE };
        let Ok(layout) = Layout::from_size_align(bytes.next_multiple_of(align), align) else {
            handle_alloc_error(Layout::new::<f32>())
        };
        // SAFETY: the size is not zero.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        if align == LARGE_PAGE {
            // Before the first write: pages get their size when they are first touched.
            prefer_large_pages(start, layout.size());
        }
        // SAFETY: as many bytes as were allocated.
        unsafe { start.write_bytes(0, layout.size()) };
        Self { start: start.cast(), len, layout }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `len` initialised numbers, owned by `self`.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.cast(), self.layout) }
    }
}

/// Tells Linux that these bytes are worth large pages; without it every plane costs several entries of the TLB.
#[cfg(target_os = "linux")]
fn prefer_large_pages(start: *mut u8, bytes: usize) {
    unsafe extern "C" {
        fn madvise(address: *mut std::ffi::c_void, length: usize, advice: std::ffi::c_int)
        -> std::ffi::c_int;
    }
    const MADV_HUGEPAGE: std::ffi::c_int = 14;
    // SAFETY: the range is ours and page-aligned. The advice may be refused, which changes nothing.
    let _ = unsafe { madvise(start.cast(), bytes, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_large_pages(_start: *mut u8, _bytes: usize) {}
