//! Attention: every pixel's mixture of the values of all pixels.
//!
//! Lanes are queries, so that a softmax over keys is a row of plain vector operations, and keys and values are single
//! numbers that are multiplied with whole vectors. The planes are read where they lie.

use super::math::exp;
use super::span::Span;
use yolo_simd::Simd;

/// Keys whose scores are summed at once.
const KEYS: usize = 4;
/// Channels of the values that are mixed at once.
const VALUES: usize = 4;
/// Keys whose shares stay in the first cache while the values are mixed.
const KEYS_IN_CACHE: usize = 96;

/// A few pixels of one head of one image.
pub(crate) struct Attend<'a> {
    /// First plane of the head's queries.
    pub(crate) queries: Span,
    /// First plane of the head's keys.
    pub(crate) keys: Span,
    /// First plane of the head's values.
    pub(crate) values: Span,
    /// Numbers from one plane of these to the next.
    pub(crate) plane: usize,
    /// Channels of a query and of a key.
    pub(crate) depth: usize,
    /// Channels of a value.
    pub(crate) width: usize,
    /// Where the vectors of pixels that ask lie in a plane: at most as many as [`pixels_at_once`] says.
    pub(crate) pixels: &'a [u32],
    /// Where all pixels of the map lie in a plane.
    pub(crate) places: &'a [u32],
    /// First plane of the head's results.
    pub(crate) output: Span,
    /// Numbers from one plane of it to the next.
    pub(crate) output_plane: usize,
    /// Where the vectors of these pixels lie in a plane of it.
    pub(crate) output_pixels: &'a [u32],
    /// Room for `pixels` · ([`padded`] `places` + `width`) vectors.
    pub(crate) scratch: Span,
}

/// Vectors of pixels that ask at once: their sums stay in registers.
pub(crate) fn pixels_at_once(many_registers: bool) -> usize {
    if many_registers { 5 } else { 2 }
}

/// Keys rounded up to those that are summed at once.
pub(crate) fn padded(keys: usize) -> usize {
    keys.next_multiple_of(KEYS)
}

/// `softmax(qᵀ · k / √depth) · v`.
///
/// # Safety
/// The processor has the instructions; everything lies inside its span, and nobody else uses the results of these pixels
/// and the scratch.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd>(s: S, a: &Attend<'_>) {
    // SAFETY: by the contract of this function.
    unsafe {
        match a.pixels.len() {
            5 => block::<S, 5>(s, a),
            4 => block::<S, 4>(s, a),
            3 => block::<S, 3>(s, a),
            2 => block::<S, 2>(s, a),
            _ => block::<S, 1>(s, a),
        }
    }
}

/// # Safety
/// That of [`attend`]; there are `P` vectors of pixels.
#[inline(always)]
unsafe fn block<S: Simd, const P: usize>(s: S, a: &Attend<'_>) {
    let keys = a.places.len();
    // SAFETY: by contract.
    unsafe {
        let shares = a.scratch;
        let mixed = a.scratch.from(padded(keys) * P * S::LANES);
        let mut key = 0;
        while key < keys {
            scores::<S, P>(s, a, key, shares.from(key * P * S::LANES));
            key += KEYS;
        }
        let totals = softmax::<S, P>(s, shares, keys);
        let mut first = 0;
        while first < keys {
            let some = KEYS_IN_CACHE.min(keys - first);
            mix::<S, P>(s, a, first, some, shares, mixed);
            first += some;
        }
        for channel in 0..a.width {
            for p in 0..P {
                let sum = mixed.load(s, (channel * P + p) * S::LANES);
                let to = channel * a.output_plane + a.output_pixels[p] as usize;
                a.output.store(s, to, s.mul(sum, totals[p]));
            }
        }
    }
}

/// Scores of the keys from `key` on, `[KEYS, P]` vectors. Behind the last key it repeats that one.
///
/// # Safety
/// That of [`block`].
#[inline(always)]
unsafe fn scores<S: Simd, const P: usize>(s: S, a: &Attend<'_>, key: usize, to: Span) {
    let factor = s.splat((a.depth as f32).sqrt().recip());
    let last = a.places.len() - 1;
    // SAFETY: by contract.
    unsafe {
        let mut keys = [a.keys; KEYS];
        for k in 0..KEYS {
            keys[k] = a.keys.from(a.places[(key + k).min(last)] as usize);
        }
        let mut queries = [a.queries; P];
        for p in 0..P {
            queries[p] = a.queries.from(a.pixels[p] as usize);
        }
        let mut sums = [[s.splat(0.0); P]; KEYS];
        for i in 0..a.depth {
            let at = i * a.plane;
            let mut query = [s.splat(0.0); P];
            for p in 0..P {
                query[p] = queries[p].load(s, at);
            }
            for k in 0..KEYS {
                let key = s.splat(keys[k].get(at));
                for p in 0..P {
                    sums[k][p] = s.mul_add(query[p], key, sums[k][p]);
                }
            }
        }
        for k in 0..KEYS {
            for p in 0..P {
                to.store(s, (k * P + p) * S::LANES, s.mul(sums[k][p], factor));
            }
        }
    }
}

/// Scores become shares that are not divided by their total yet; returns the reciprocals of the totals.
///
/// # Safety
/// That of [`block`].
#[inline(always)]
unsafe fn softmax<S: Simd, const P: usize>(s: S, shares: Span, keys: usize) -> [S::V; P] {
    let mut largest = [s.splat(f32::NEG_INFINITY); P];
    let mut totals = [s.splat(0.0); P];
    // SAFETY: by contract.
    unsafe {
        for key in 0..keys {
            for p in 0..P {
                largest[p] = s.max(largest[p], shares.load(s, (key * P + p) * S::LANES));
            }
        }
        for key in 0..keys {
            for p in 0..P {
                let at = (key * P + p) * S::LANES;
                let share = exp(s, s.sub(shares.load(s, at), largest[p]));
                totals[p] = s.add(totals[p], share);
                shares.store(s, at, share);
            }
        }
    }
    for p in 0..P {
        totals[p] = s.reciprocal(totals[p]);
    }
    totals
}

/// Adds the values of `keys` keys from `first` on, by their shares, to `mixed`: `[width, P]` vectors, which the first keys
/// start.
///
/// # Safety
/// That of [`block`].
#[inline(always)]
unsafe fn mix<S: Simd, const P: usize>(
    s: S,
    a: &Attend<'_>,
    first: usize,
    keys: usize,
    shares: Span,
    mixed: Span,
) {
    let whole = a.width / VALUES * VALUES;
    let mut channel = 0;
    // SAFETY: by contract.
    unsafe {
        while channel < whole {
            mix_channels::<S, P, VALUES>(s, a, [first, keys, channel], shares, mixed);
            channel += VALUES;
        }
        while channel < a.width {
            mix_channels::<S, P, 1>(s, a, [first, keys, channel], shares, mixed);
            channel += 1;
        }
    }
}

/// # Safety
/// That of [`block`]; there are `C` channels from `channel` on.
#[inline(always)]
unsafe fn mix_channels<S: Simd, const P: usize, const C: usize>(
    s: S,
    a: &Attend<'_>,
    [first, keys, channel]: [usize; 3],
    shares: Span,
    mixed: Span,
) {
    // SAFETY: by contract.
    unsafe {
        let mixed = mixed.from(channel * P * S::LANES);
        let mut values = [a.values; C];
        let mut sums = [[s.splat(0.0); P]; C];
        for c in 0..C {
            values[c] = a.values.from((channel + c) * a.plane);
            if first > 0 {
                for p in 0..P {
                    sums[c][p] = mixed.load(s, (c * P + p) * S::LANES);
                }
            }
        }
        for key in first..first + keys {
            let place = a.places[key] as usize;
            let mut share = [s.splat(0.0); P];
            for p in 0..P {
                share[p] = shares.load(s, (key * P + p) * S::LANES);
            }
            for c in 0..C {
                let value = s.splat(values[c].get(place));
                for p in 0..P {
                    sums[c][p] = s.mul_add(share[p], value, sums[c][p]);
                }
            }
        }
        for c in 0..C {
            for p in 0..P {
                mixed.store(s, (c * P + p) * S::LANES, sums[c][p]);
            }
        }
    }
}
