//! Every operation of every unit that this processor has, against plain numbers.
#![allow(unsafe_code, reason = "loads and stores of whole arrays")]

use super::{Isa, Kernel, Simd, Unit};

/// The vectors of a test have room for the widest unit.
const MOST: usize = 16;

/// Runs a function of three vectors on one vector of each.
struct Apply<'a, F> {
    inputs: [&'a [f32; MOST]; 3],
    function: F,
}

/// A function of vectors: a closure cannot be generic.
trait Function {
    fn call<S: Simd>(&self, s: S, v: [S::V; 3]) -> S::V;
}

impl<F: Function> Kernel for Apply<'_, F> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut output = [0.0; MOST];
        // SAFETY: the arrays hold the widest vector.
        unsafe {
            let [a, b, c] = self.inputs;
            let v = [s.load(a.as_ptr()), s.load(b.as_ptr()), s.load(c.as_ptr())];
            s.store(output.as_mut_ptr(), self.function.call(s, v));
        }
        output[..S::LANES].to_vec()
    }
}

macro_rules! function {
    ($name:ident, |$s:ident, $a:ident, $b:ident, $c:ident| $body:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Function for $name {
            #[inline(always)]
            fn call<S: Simd>(&self, $s: S, [$a, $b, $c]: [S::V; 3]) -> S::V {
                let _ = ($a, $b, $c);
                $body
            }
        }
    };
}

function!(Add, |s, a, b, c| s.add(a, b));
function!(Sub, |s, a, b, c| s.sub(a, b));
function!(Mul, |s, a, b, c| s.mul(a, b));
function!(Div, |s, a, b, c| s.div(a, b));
function!(Min, |s, a, b, c| s.min(a, b));
function!(Max, |s, a, b, c| s.max(a, b));
function!(MulAdd, |s, a, b, c| s.mul_add(a, b, c));
function!(Round, |s, a, b, c| s.round(a));
function!(Pow2, |s, a, b, c| s.pow2(a));
function!(Scale, |s, a, b, c| s.scale(a, b));
function!(Reciprocal, |s, a, b, c| s.reciprocal(a));
function!(Splat, |s, a, b, c| s.splat(2.5));
function!(Sum, |s, a, b, c| s.splat(s.sum(a)));
function!(EverySecond, |s, a, b, c| s.every_second(a, b));

fn on_every_unit<F: Function + Copy>(function: F, inputs: [&[f32; MOST]; 3], check: impl Fn(Isa, &[f32])) {
    for unit in Unit::all() {
        check(unit.isa(), &unit.run(Apply { inputs, function }));
    }
}

fn numbers(scale: f32, shift: f32) -> [f32; MOST] {
    std::array::from_fn(|i| ((i * 37 % 16) as f32 - 7.3) * scale + shift)
}

/// Asserts that lane `i` is `expected(i)`, bit for bit.
fn equals<F: Function + Copy>(function: F, inputs: [&[f32; MOST]; 3], expected: impl Fn(usize) -> f32) {
    on_every_unit(function, inputs, |isa, found| {
        for (i, found) in found.iter().enumerate() {
            assert_eq!(
                found.to_bits(),
                expected(i).to_bits(),
                "{isa}: lane {i}: {found}, not {}",
                expected(i)
            );
        }
    });
}

#[test]
fn arithmetic_is_that_of_single_numbers() {
    let (a, b, c) = (numbers(1.7, 0.1), numbers(-0.3, 2.9), numbers(0.01, 5.0));
    let inputs = [&a, &b, &c];
    equals(Add, inputs, |i| a[i] + b[i]);
    equals(Sub, inputs, |i| a[i] - b[i]);
    equals(Mul, inputs, |i| a[i] * b[i]);
    equals(Div, inputs, |i| a[i] / b[i]);
    equals(Min, inputs, |i| a[i].min(b[i]));
    equals(Max, inputs, |i| a[i].max(b[i]));
    equals(Splat, inputs, |_| 2.5);
    on_every_unit(MulAdd, inputs, |isa, found| {
        for (i, found) in found.iter().enumerate() {
            let expected = if isa == Isa::Portable { a[i] * b[i] + c[i] } else { a[i].mul_add(b[i], c[i]) };
            assert_eq!(*found, expected, "{isa}: lane {i}");
        }
    });
}

#[test]
fn rounding_takes_the_even_neighbour_and_powers_are_exact() {
    let halves: [f32; MOST] = std::array::from_fn(|i| i as f32 * 0.5 - 3.5);
    on_every_unit(Round, [&halves; 3], |isa, found| {
        for (half, found) in halves.iter().zip(found) {
            assert_eq!(*found, half.round_ties_even(), "{isa}");
        }
    });
    let exponents: [f32; MOST] =
        std::array::from_fn(|i| [-126.0, -60.0, 0.0, 127.0, 1.0, -1.0, 7.0, 64.0][i % 8]);
    equals(Pow2, [&exponents; 3], |i| exponents[i].exp2());
    equals(Pow2, [&[128.0; MOST]; 3], |_| f32::INFINITY);
    let a = numbers(0.1, 1.5);
    equals(Scale, [&a, &exponents, &a], |i| a[i] * exponents[i].exp2());
}

#[test]
fn reciprocals_are_close() {
    for exponent in -60..60 {
        let a = numbers(0.05, 1.5).map(|x| x * (exponent as f32).exp2());
        on_every_unit(Reciprocal, [&a; 3], |isa, found| {
            for (a, found) in a.iter().zip(found) {
                let error = (f64::from(*found) * f64::from(*a) - 1.0).abs();
                assert!(error < 3e-7, "{isa}: 1 / {a} = {found}");
            }
        });
    }
}

#[test]
fn sums_add_halves() {
    let a = numbers(1e-3, 1.0);
    on_every_unit(Sum, [&a; 3], |isa, found| {
        let mut lanes = a[..isa.lanes()].to_vec();
        while lanes.len() > 1 {
            let (low, high) = lanes.split_at(lanes.len() / 2);
            lanes = low.iter().zip(high).map(|(low, high)| low + high).collect();
        }
        assert_eq!(found[0], lanes[0], "{isa}");
    });
}

#[test]
fn every_second_lane_of_both() {
    let (a, b) = (numbers(1.0, 0.0), numbers(1.0, 100.0));
    on_every_unit(EverySecond, [&a, &b, &a], |isa, found| {
        let n = isa.lanes();
        let both: Vec<f32> = a[..n].iter().chain(&b[..n]).copied().collect();
        assert_eq!(found, both.into_iter().step_by(2).collect::<Vec<f32>>(), "{isa}");
    });
}

/// Copies the first `n` numbers to `to`, through a vector.
struct CopyFirst<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    n: usize,
}

impl Kernel for CopyFirst<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let mut lanes = [9.0; MOST];
        // SAFETY: both slices hold `n` numbers, the array the widest vector.
        unsafe {
            let v = s.load_first(self.from.as_ptr(), self.n);
            s.store(lanes.as_mut_ptr(), v);
            s.store_first(self.to.as_mut_ptr(), v, self.n);
        }
        lanes[..S::LANES].to_vec()
    }
}

#[test]
fn parts_of_vectors_leave_the_rest_alone() {
    let from = numbers(1.0, 0.5);
    for unit in Unit::all() {
        for n in 0..=unit.isa().lanes() {
            let mut to = [7.0; MOST];
            let lanes = unit.run(CopyFirst { from: &from[..n], to: &mut to, n });
            assert_eq!((&to[..n], &to[n..]), (&from[..n], &[7.0; MOST][n..]), "{unit:?} {n}");
            assert_eq!(lanes[..n], from[..n], "{unit:?} {n}");
            assert!(lanes[n..].iter().all(|lane| *lane == 0.0), "{unit:?} {n}");
        }
    }
}

struct Permute<'a>(&'a [f32; MOST], &'a [i32; MOST]);

impl Kernel for Permute<'_> {
    type Output = [f32; MOST];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [f32; MOST] {
        let mut output = [0.0; MOST];
        // SAFETY: the arrays hold the widest vector, and the test's indices lie below the lanes.
        unsafe {
            let v = s.permute(s.load(self.0.as_ptr()), self.1.as_ptr(), s.splat(-5.0));
            s.store(output.as_mut_ptr(), v);
        }
        output
    }
}

#[test]
fn permutations_take_lanes_or_the_filling() {
    let a = numbers(1.0, 0.0);
    for unit in Unit::all() {
        let n = unit.isa().lanes();
        for shift in 0..n {
            let index: [i32; MOST] =
                std::array::from_fn(|i| if i % 3 == 1 { -1 } else { ((i * 5 + shift) % n) as i32 });
            let found = unit.run(Permute(&a, &index));
            for (found, &index) in found.iter().zip(&index).take(n) {
                let expected = usize::try_from(index).map_or(-5.0, |index| a[index]);
                assert_eq!(*found, expected, "{unit:?}");
            }
        }
    }
}

struct TransposeBlock<'a> {
    from: &'a [f32],
    from_stride: usize,
    to: &'a mut [f32],
    to_stride: usize,
}

impl Kernel for TransposeBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(self.from.len() >= S::LANES * self.from_stride && self.to.len() >= S::LANES * self.to_stride);
        // SAFETY: the block lies inside both.
        unsafe {
            s.transpose_block(self.from.as_ptr(), self.from_stride, self.to.as_mut_ptr(), self.to_stride);
        }
    }
}

#[test]
fn blocks_are_transposed_and_nothing_else_is_written() {
    let (from_stride, to_stride) = (19, 23);
    let from: Vec<f32> = (0..from_stride * MOST).map(|i| i as f32).collect();
    for unit in Unit::all() {
        let mut to = vec![-1.0; to_stride * MOST];
        unit.run(TransposeBlock { from: &from, from_stride, to: &mut to, to_stride });
        let n = unit.isa().lanes();
        for (at, found) in to.iter().enumerate() {
            let (j, i) = (at / to_stride, at % to_stride);
            let expected = if i < n && j < n { from[i * from_stride + j] } else { -1.0 };
            assert_eq!(*found, expected, "{unit:?}: row {j}, column {i}");
        }
    }
}

#[test]
fn names_are_read_back_and_the_best_unit_is_there() {
    for isa in Isa::ALL {
        assert_eq!(isa.name().parse(), Ok(isa));
        assert_eq!(Unit::of(isa).is_some(), isa.is_available());
    }
    assert_eq!(
        "sse9".parse::<Isa>().map_err(|error| error.to_string()),
        Err("`sse9` is not an instruction set: portable, neon, avx2 or avx512".to_owned())
    );
    assert_eq!(Unit::best().isa(), Isa::detect());
    assert_eq!(Unit::all().last(), Some(Unit::best()));
}
