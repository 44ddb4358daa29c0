//! Every kernel at every vector width against plain loops in `f64`.

use proptest::prelude::*;
use yolo_simd::Unit;

use super::{ConvShape, Planes, bias_gradient, forward, input_gradient, weight_gradient};

/// Largest error over the largest value: sums of up to a few thousand products in `f32`.
const TOLERANCE: f64 = 3e-6;

/// A convolution with its operands.
#[derive(Debug)]
struct Problem {
    shape: ConvShape,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

/// What [`Problem::reference`] computes.
struct Answer {
    y: Vec<f64>,
    dx: Vec<f64>,
    dw: Vec<f64>,
    db: Vec<f64>,
}

impl Problem {
    fn new(shape: ConvShape, seed: u64) -> Self {
        let dy = shape.batch * shape.out_channels * shape.out_pixels();
        Self {
            x: numbers(shape.batch * shape.in_channels * shape.in_pixels(), seed),
            weight: numbers(shape.out_channels * shape.depth(), seed + 1),
            bias: numbers(shape.out_channels, seed + 2),
            dy: numbers(dy, seed + 3),
            shape,
        }
    }

    fn reference(&self) -> Answer {
        let shape = &self.shape;
        let ([height, width], [out_height, out_width]) = (shape.in_size, shape.out_size());
        let mut answer = Answer {
            y: vec![0.0; self.dy.len()],
            dx: vec![0.0; self.x.len()],
            dw: vec![0.0; self.weight.len()],
            db: vec![0.0; self.bias.len()],
        };
        for (at, dy) in self.dy.iter().enumerate() {
            let (column, row) = (at % out_width, at / out_width % out_height);
            let out = at / shape.out_pixels() % shape.out_channels;
            let image = at / shape.out_pixels() / shape.out_channels;
            answer.y[at] += f64::from(self.bias[out]);
            answer.db[out] += f64::from(*dy);
            for k in 0..shape.depth() {
                let (kx, ky) = (k % shape.kernel[1], k / shape.kernel[1] % shape.kernel[0]);
                let channel =
                    out / shape.group_out() * shape.group_in() + k / shape.kernel[1] / shape.kernel[0];
                let y = (row * shape.stride[0] + ky * shape.dilation[0]).checked_sub(shape.padding[0]);
                let x = (column * shape.stride[1] + kx * shape.dilation[1]).checked_sub(shape.padding[1]);
                let (Some(y), Some(x)) = (y, x) else { continue };
                if y >= height || x >= width {
                    continue;
                }
                let from = ((image * shape.in_channels + channel) * height + y) * width + x;
                let weight = out * shape.depth() + k;
                answer.y[at] += f64::from(self.x[from]) * f64::from(self.weight[weight]);
                answer.dx[from] += f64::from(*dy) * f64::from(self.weight[weight]);
                answer.dw[weight] += f64::from(*dy) * f64::from(self.x[from]);
            }
        }
        answer
    }

    fn x(&self) -> Planes<'_> {
        let [height, width] = self.shape.in_size;
        let channels = self.shape.in_channels;
        Planes::new(&self.x, channels * height * width, [self.shape.batch, channels, height, width])
    }

    fn dy(&self) -> Planes<'_> {
        let [height, width] = self.shape.out_size();
        let channels = self.shape.out_channels;
        Planes::new(&self.dy, channels * height * width, [self.shape.batch, channels, height, width])
    }

    /// Output, gradient of the input, gradient of the weight.
    fn results(&self, unit: Unit) -> [Vec<f32>; 3] {
        [
            forward(unit, &self.shape, self.x(), &self.weight, Some(&self.bias), false),
            input_gradient(unit, &self.shape, self.dy(), &self.weight),
            weight_gradient(unit, &self.shape, self.x(), self.dy()),
        ]
    }

    fn check(&self) {
        let Answer { y, dx, dw, db } = self.reference();
        for unit in Unit::all() {
            for (ours, golden) in self.results(unit).iter().zip([&y, &dx, &dw]) {
                assert_close(ours, golden, &format!("{unit:?} {:?}", self.shape));
            }
        }
        let dims = [self.shape.batch, self.shape.out_channels];
        assert_close(&bias_gradient(self.dy(), dims), &db, "bias");
    }
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn assert_close(ours: &[f32], golden: &[f64], what: &str) {
    assert_eq!(ours.len(), golden.len(), "{what}");
    let scale = golden.iter().fold(1e-3, |scale: f64, value| scale.max(value.abs()));
    for (at, (value, golden)) in ours.iter().zip(golden).enumerate() {
        assert!((f64::from(*value) - golden).abs() <= TOLERANCE * scale, "{what}: [{at}] {value} {golden}");
    }
}

fn shape(
    [batch, in_channels, out_channels, groups]: [usize; 4],
    in_size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> ConvShape {
    ConvShape { batch, in_channels, in_size, out_channels, kernel, stride, padding, dilation, groups }
}

/// The shapes that a detector has, small, and each property of a convolution alone and different per axis.
#[test]
fn chosen_shapes_equal_plain_loops() {
    let problems = [
        shape([2, 3, 16, 1], [20, 28], [6, 6], [2, 2], [2, 2], [1, 1]),
        shape([1, 16, 32, 1], [11, 70], [3, 3], [2, 2], [1, 1], [1, 1]),
        shape([3, 16, 16, 1], [10, 10], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape([2, 33, 17, 1], [7, 9], [1, 1], [1, 1], [0, 0], [1, 1]),
        shape([1, 5, 3, 1], [9, 12], [1, 1], [2, 2], [0, 0], [1, 1]),
        shape([2, 6, 4, 2], [8, 13], [3, 2], [2, 1], [0, 3], [1, 2]),
        shape([1, 8, 8, 8], [40, 7], [5, 3], [1, 2], [2, 0], [1, 1]),
        shape([1, 4, 33, 1], [15, 16], [3, 3], [3, 3], [2, 2], [2, 2]),
        shape([1, 2, 1, 1], [1, 1], [1, 1], [1, 1], [0, 0], [1, 1]),
        // A kernel that cannot reach the last rows and columns, whose gradient is zero.
        shape([1, 2, 3, 1], [10, 11], [2, 2], [4, 4], [0, 0], [1, 1]),
        // More padding than kernel, and more channels than a task of the weight gradient takes.
        shape([1, 2, 130, 1], [3, 4], [2, 3], [1, 1], [3, 4], [1, 1]),
    ];
    for (seed, shape) in problems.into_iter().enumerate() {
        Problem::new(shape, 10 * seed as u64).check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_equal_plain_loops(
        (batch, groups) in (1usize..4, 1usize..4),
        (group_in, group_out) in (1usize..7, 1usize..20),
        in_size in [1usize..24, 1usize..40],
        (kernel, stride) in ([1usize..5, 1usize..5], [1usize..4, 1usize..4]),
        (padding, dilation) in ([0usize..4, 0usize..4], [1usize..4, 1usize..4]),
        seed in 0u64..1000,
    ) {
        let fits = |i: usize| dilation[i] * (kernel[i] - 1) < in_size[i] + 2 * padding[i];
        prop_assume!(fits(0) && fits(1));
        let channels = [batch, group_in * groups, group_out * groups, groups];
        Problem::new(shape(channels, in_size, kernel, stride, padding, dilation), seed).check();
    }
}

/// Bitwise the same over runs and numbers of threads, on shapes that are cut into several bands and parts.
#[test]
fn results_depend_on_neither_threads_nor_scheduling() {
    let problems = [
        shape([5, 16, 24, 1], [40, 40], [3, 3], [1, 1], [1, 1], [1, 1]),
        shape([3, 40, 70, 1], [40, 40], [1, 1], [1, 1], [0, 0], [1, 1]),
        shape([4, 3, 16, 1], [96, 96], [6, 6], [2, 2], [2, 2], [1, 1]),
    ];
    for problem in problems.map(|shape| Problem::new(shape, 1)) {
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| problem.results(Unit::best()))
                .map(|v| v.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let once = bits(1);
        for threads in [1, 2, 2, 2, 3, 7] {
            assert!(bits(threads) == once, "{threads} threads, {:?}", problem.shape);
        }
    }
}

/// Images further apart than their size give what dense ones give.
#[test]
fn a_slice_of_channels_is_read_in_place() {
    let problem = Problem::new(shape([3, 4, 5, 1], [6, 9], [3, 3], [2, 1], [1, 1], [1, 1]), 5);
    let image = 4 * 6 * 9;
    let mut wide = vec![f32::NAN; 3 * (image + 50)];
    for (to, from) in wide.chunks_exact_mut(image + 50).zip(problem.x.chunks_exact(image)) {
        to[7..7 + image].copy_from_slice(from);
    }
    let view = Planes::new(&wide[7..], image + 50, [3, 4, 6, 9]);
    let unit = Unit::best();
    assert_eq!(
        forward(unit, &problem.shape, view, &problem.weight, None, false),
        forward(unit, &problem.shape, problem.x(), &problem.weight, None, false)
    );
    assert_eq!(
        weight_gradient(unit, &problem.shape, view, problem.dy()),
        weight_gradient(unit, &problem.shape, problem.x(), problem.dy())
    );
}

/// SiLU in the same pass is SiLU of the sums.
#[test]
fn the_activation_follows_bias_and_sums() {
    let problem = Problem::new(shape([2, 5, 19, 1], [7, 9], [3, 3], [1, 1], [1, 1], [1, 1]), 8);
    let golden: Vec<f64> = problem.reference().y.iter().map(|y| y / (1.0 + (-y).exp())).collect();
    for unit in Unit::all() {
        let ours = forward(unit, &problem.shape, problem.x(), &problem.weight, Some(&problem.bias), true);
        assert_close(&ours, &golden, &format!("{unit:?}"));
    }
}
