//! Keeping memory that tensors gave back.
#![allow(unsafe_code, reason = "one call into the C library")]

/// Makes the C library keep freed memory for later tensors instead of returning it to the system, which would
/// clear it again page by page in every training step.
///
/// The process then never shrinks below its peak: for programs that train. Call it once, at the start. Only glibc
/// has the setting; elsewhere nothing happens.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGEST: libc::c_int = 1 << 30;
        // What old versions allow at most.
        const FALLBACK: libc::c_int = 32 << 20;
        // SAFETY: sets two parameters of the allocator, which it may be asked to at any time.
        unsafe {
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            if libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST) == 0 {
                libc::mallopt(libc::M_MMAP_THRESHOLD, FALLBACK);
            }
        }
    }
}
