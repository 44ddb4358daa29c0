//! Entering a kernel with the instructions of a vector unit switched on.
#![allow(unsafe_code, reason = "functions with target features; each call has its reason")]

use crate::{Isa, Portable, Simd};

/// Work that is compiled once for every vector unit.
pub trait Kernel {
    /// What it computes.
    type Output;
    /// Does it. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// A vector unit that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit(Isa);

impl Unit {
    /// The unit with the instruction set `isa`; `None` where the processor lacks it.
    pub fn of(isa: Isa) -> Option<Self> {
        isa.is_available().then_some(Self(isa))
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        Self(Isa::detect())
    }

    /// All that this processor has, the best last.
    pub fn all() -> impl Iterator<Item = Self> {
        Isa::ALL.into_iter().filter_map(Self::of)
    }

    /// Its instruction set.
    pub fn isa(self) -> Isa {
        self.0
    }

    /// Runs `kernel` on this unit.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY, for all of them: a value of this type exists only where the processor has the instructions.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { with_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: see above.
            Isa::Avx2 => unsafe { with_avx2(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: see above.
            Isa::Neon => unsafe { with_neon(kernel) },
            _ => kernel.run(Portable),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller of this function has made sure of the instructions.
    kernel.run(unsafe { crate::Avx512::assume() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: as above.
    kernel.run(unsafe { crate::Avx2::assume() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn with_neon<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: as above.
    kernel.run(unsafe { crate::Neon::assume() })
}
