//! Entry points per vector unit.

use super::Span;
use super::attention::Attend;
use super::border::Border;
use super::decode::Decode;
use super::depthwise::Depthwise;
use super::epilogue::Epilogue;
use super::planes::{Lattice, Plane};
use super::pool::Pool;
use super::tile::{BatchKernel, TileKernel, ZipKernel};
use super::winograd;
use crate::error::{Result, RuntimeError};
use yolo_simd::Isa;

/// The kernels of one vector unit. Each is unsafe for the reasons of the function that it enters.
pub(crate) struct Kernels {
    /// Numbers in a vector.
    pub(crate) lanes: usize,
    /// Whether there are 32 vector registers, not 16.
    pub(crate) many_registers: bool,
    /// Four channels, 1.. pixel vectors.
    pub(crate) full_4: &'static [TileKernel],
    /// Six channels, 1.. pixel vectors.
    pub(crate) full_6: &'static [TileKernel],
    /// Eight channels, 1.. pixel vectors.
    pub(crate) full_8: &'static [TileKernel],
    /// Two channels with lists of their own, 1.. pixel vectors.
    pub(crate) pair: &'static [TileKernel],
    /// Four channels with lists of their own, 1.. pixel vectors.
    pub(crate) quad: &'static [TileKernel],
    /// Two channels with zipped lists, 1.. pixel vectors.
    pub(crate) zip: &'static [ZipKernel],
    /// One or two channels with zipped lists, for patches of 1.. rows: `[channels − 1][stride − 1]`.
    pub(crate) patch: [[&'static [ZipKernel]; 2]; 2],
    /// Products of four channels, 1.. patches.
    pub(crate) batch_4: &'static [BatchKernel],
    /// Products of six channels, 1.. patches.
    pub(crate) batch_6: &'static [BatchKernel],
    /// Products of eight channels, 1.. patches.
    pub(crate) batch_8: &'static [BatchKernel],
    /// F(2, 3).
    pub(crate) winograd_2: WinogradKernels,
    /// F(4, 3).
    pub(crate) winograd_4: WinogradKernels,
    /// Stride 2.
    pub(crate) winograd_strided: WinogradKernels,
    /// See [`super::epilogue::epilogue`].
    pub(crate) epilogue: unsafe fn(&Epilogue<'_>),
    /// See [`super::border::fill`].
    pub(crate) fill_border: unsafe fn(&Border<'_>),
    /// See [`super::pool::pool`].
    pub(crate) pool: unsafe fn(&Pool<'_>),
    /// See [`super::planes::upsample`].
    pub(crate) upsample: unsafe fn(Plane, Plane, [usize; 2], usize),
    /// See [`super::planes::add`].
    pub(crate) add: unsafe fn(Plane, Plane, Plane, [usize; 2]),
    /// See [`super::planes::spread`].
    pub(crate) spread: unsafe fn(Plane, Plane, &Lattice),
    /// See [`super::planes::pool_squares`].
    pub(crate) pool_squares: unsafe fn(Plane, Plane, [usize; 2], [usize; 2]),
    /// See [`super::attention::attend`].
    pub(crate) attend: unsafe fn(&Attend<'_>),
    /// See [`super::depthwise::depthwise`].
    pub(crate) depthwise: unsafe fn(&Depthwise<'_>),
    /// See [`super::planes::interleave`].
    pub(crate) interleave: unsafe fn(Span, &[usize], usize, Span),
    /// See [`super::decode::decode`].
    pub(crate) decode: unsafe fn(&Decode<'_>),
    /// Applies an activation to whole vectors in place, for tests.
    #[cfg(test)]
    pub(crate) activate: unsafe fn(Span, usize, super::math::Activate),
}

/// The transforms of one scheme of short convolutions.
pub(crate) struct WinogradKernels {
    /// See [`super::winograd::transform`].
    pub(crate) transform: unsafe fn(&winograd::Patches<'_>),
    /// See [`super::winograd::finish`].
    pub(crate) finish: unsafe fn(&winograd::Products<'_>),
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernels").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// Makes the entry points of `$unit`: functions that switch its instructions on and contain the generic code.
macro_rules! entry_points {
    ($module:ident, $unit:path, $(#[$feature:meta])?) => {
        pub(super) mod $module {
            use super::super::{Span, attention, border, decode, depthwise, epilogue, planes, pool, tile, winograd};
            use super::{Kernels, WinogradKernels};
            use $unit as Unit;
            use yolo_simd::Simd;

            $(#[$feature])?
            unsafe fn full<const NC: usize, const NP: usize>(tile: &tile::Tile<'_>) {
                // SAFETY: the contract of this function is that of the one that it enters.
                unsafe { tile::full::<Unit, NC, NP>(Unit::assume(), tile) }
            }
            $(#[$feature])?
            unsafe fn pair<const NP: usize>(tile: &tile::Tile<'_>) {
                // SAFETY: as above.
                unsafe { tile::pair::<Unit, NP>(Unit::assume(), tile) }
            }
            $(#[$feature])?
            unsafe fn quad<const NP: usize>(tile: &tile::Tile<'_>) {
                // SAFETY: as above.
                unsafe { tile::quad::<Unit, NP>(Unit::assume(), tile) }
            }
            $(#[$feature])?
            unsafe fn zip<const NP: usize>(z: &tile::Zip<'_>) {
                // SAFETY: as above.
                unsafe { tile::zip::<Unit, 2, NP, 1, 1>(Unit::assume(), z) }
            }
            $(#[$feature])?
            unsafe fn patch<const C: usize, const R: usize, const STRIDE: usize>(z: &tile::Zip<'_>) {
                // SAFETY: as above.
                unsafe { tile::zip::<Unit, C, R, { tile::PATCH_WIDTH }, STRIDE>(Unit::assume(), z) }
            }
            $(#[$feature])?
            unsafe fn batch<const NC: usize, const NP: usize>(b: &tile::Batch<'_>) {
                // SAFETY: as above.
                unsafe { tile::batch::<Unit, NC, NP>(Unit::assume(), b) }
            }
            $(#[$feature])?
            unsafe fn transform<W: winograd::Scheme>(p: &winograd::Patches<'_>) {
                // SAFETY: as above.
                unsafe { winograd::transform::<_, W>(Unit::assume(), p) }
            }
            $(#[$feature])?
            unsafe fn finish<W: winograd::Scheme>(p: &winograd::Products<'_>) {
                // SAFETY: as above.
                unsafe { winograd::finish::<_, W>(Unit::assume(), p) }
            }
            $(#[$feature])?
            unsafe fn epilogue(e: &epilogue::Epilogue<'_>) {
                // SAFETY: as above.
                unsafe { epilogue::epilogue(Unit::assume(), e) }
            }
            $(#[$feature])?
            unsafe fn fill_border(b: &border::Border<'_>) {
                // SAFETY: as above.
                unsafe { border::fill(Unit::assume(), b) }
            }
            $(#[$feature])?
            unsafe fn pool(p: &pool::Pool<'_>) {
                // SAFETY: as above.
                unsafe { pool::pool(Unit::assume(), p) }
            }
            $(#[$feature])?
            unsafe fn upsample(input: planes::Plane, output: planes::Plane, tile: [usize; 2], scale: usize) {
                // SAFETY: as above.
                unsafe { planes::upsample(Unit::assume(), input, output, tile, scale) }
            }
            $(#[$feature])?
            unsafe fn add(a: planes::Plane, b: planes::Plane, output: planes::Plane, tile: [usize; 2]) {
                // SAFETY: as above.
                unsafe { planes::add(Unit::assume(), a, b, output, tile) }
            }
            $(#[$feature])?
            unsafe fn spread(input: planes::Plane, output: planes::Plane, lattice: &planes::Lattice) {
                // SAFETY: as above.
                unsafe { planes::spread(Unit::assume(), input, output, lattice) }
            }
            $(#[$feature])?
            unsafe fn pool_squares(
                input: planes::Plane,
                output: planes::Plane,
                tile: [usize; 2],
                size: [usize; 2],
            ) {
                // SAFETY: as above.
                unsafe { planes::pool_squares(Unit::assume(), input, output, tile, size) }
            }
            $(#[$feature])?
            unsafe fn attend(a: &attention::Attend<'_>) {
                // SAFETY: as above.
                unsafe { attention::attend(Unit::assume(), a) }
            }
            $(#[$feature])?
            unsafe fn convolve_planes(d: &depthwise::Depthwise<'_>) {
                // SAFETY: as above.
                unsafe { depthwise::depthwise(Unit::assume(), d) }
            }
            $(#[$feature])?
            unsafe fn interleave(from: Span, starts: &[usize], columns: usize, to: Span) {
                // SAFETY: as above.
                unsafe { planes::interleave(Unit::assume(), from, starts, columns, to) }
            }
            $(#[$feature])?
            unsafe fn decode(d: &decode::Decode<'_>) {
                // SAFETY: as above.
                unsafe { decode::decode(Unit::assume(), d) }
            }
            #[cfg(test)]
            $(#[$feature])?
            unsafe fn activate(numbers: Span, vectors: usize, activate: super::super::math::Activate) {
                // SAFETY: the span holds that many vectors.
                unsafe {
                    let s = Unit::assume();
                    for i in 0..vectors {
                        let v = numbers.load(s, i * Unit::LANES);
                        numbers.store(s, i * Unit::LANES, super::super::math::activate(s, v, activate));
                    }
                }
            }

            pub(in super::super) static KERNELS: Kernels = Kernels {
                lanes: Unit::LANES,
                many_registers: Unit::MANY_REGISTERS,
                full_4: &[full::<4, 1>, full::<4, 2>, full::<4, 3>, full::<4, 4>, full::<4, 5>, full::<4, 6>],
                full_6: &[full::<6, 1>, full::<6, 2>, full::<6, 3>, full::<6, 4>],
                full_8: &[full::<8, 1>, full::<8, 2>, full::<8, 3>],
                pair: &[
                    pair::<1>, pair::<2>, pair::<3>, pair::<4>, pair::<5>, pair::<6>, pair::<7>, pair::<8>,
                    pair::<9>, pair::<10>,
                ],
                quad: &[quad::<1>, quad::<2>, quad::<3>, quad::<4>, quad::<5>, quad::<6>],
                zip: &[
                    zip::<1>, zip::<2>, zip::<3>, zip::<4>, zip::<5>, zip::<6>, zip::<7>, zip::<8>, zip::<9>,
                    zip::<10>,
                ],
                patch: [
                    [
                        &[patch::<1, 1, 1>, patch::<1, 2, 1>, patch::<1, 3, 1>, patch::<1, 4, 1>],
                        &[patch::<1, 1, 2>, patch::<1, 2, 2>, patch::<1, 3, 2>, patch::<1, 4, 2>],
                    ],
                    [
                        &[patch::<2, 1, 1>, patch::<2, 2, 1>, patch::<2, 3, 1>],
                        &[patch::<2, 1, 2>, patch::<2, 2, 2>, patch::<2, 3, 2>],
                    ],
                ],
                batch_4: &[
                    batch::<4, 1>, batch::<4, 2>, batch::<4, 3>, batch::<4, 4>, batch::<4, 5>, batch::<4, 6>,
                ],
                batch_6: &[batch::<6, 1>, batch::<6, 2>, batch::<6, 3>, batch::<6, 4>],
                batch_8: &[batch::<8, 1>, batch::<8, 2>, batch::<8, 3>],
                winograd_2: WinogradKernels {
                    transform: transform::<winograd::Two>,
                    finish: finish::<winograd::Two>,
                },
                winograd_4: WinogradKernels {
                    transform: transform::<winograd::Four>,
                    finish: finish::<winograd::Four>,
                },
                winograd_strided: WinogradKernels {
                    transform: transform::<winograd::Strided>,
                    finish: finish::<winograd::Strided>,
                },
                epilogue,
                fill_border,
                pool,
                upsample,
                add,
                spread,
                pool_squares,
                attend,
                depthwise: convolve_planes,
                interleave,
                decode,
                #[cfg(test)]
                activate,
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
entry_points!(
    with_avx512,
    yolo_simd::Avx512,
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
);
#[cfg(target_arch = "x86_64")]
entry_points!(with_avx2, yolo_simd::Avx2, #[target_feature(enable = "avx2,fma")]);
#[cfg(target_arch = "aarch64")]
entry_points!(with_neon, yolo_simd::Neon, #[target_feature(enable = "neon")]);
entry_points!(with_portable, yolo_simd::Portable,);

impl Kernels {
    /// The kernels for `isa`; `None` where the processor lacks it.
    pub(crate) fn of(isa: Isa) -> Option<&'static Self> {
        if !isa.is_available() {
            return None;
        }
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(&with_avx512::KERNELS),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&with_avx2::KERNELS),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Some(&with_neon::KERNELS),
            Isa::Portable => Some(&with_portable::KERNELS),
            _ => None,
        }
    }

    /// The kernels for `isa`.
    ///
    /// # Errors
    /// [`RuntimeError::IsaUnavailable`] where the processor lacks it.
    pub(crate) fn require(isa: Isa) -> Result<&'static Self> {
        Self::of(isa).ok_or(RuntimeError::IsaUnavailable(isa.name()))
    }
}
