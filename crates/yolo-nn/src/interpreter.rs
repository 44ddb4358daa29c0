//! Executes a program, one operation after the other.
//!
//! The same code runs training, calibration, gradients and the reference forward: they differ in what they make of a
//! convolution, which the caller decides.

use burn::tensor::activation::softmax;
use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};
use burn::tensor::{Int, Tensor};
use yolo_model::architecture::{ConvRef, NormRef, TransposedRef};
use yolo_model::program::{
    AttentionOrder, AttentionSpec, Operation, OperationKind, PixelOrder, Program, ValueId,
};
use yolo_model::weights::StateDict;

use crate::error::Result as NnResult;
use crate::norm::{Norm, Transposed};

/// Executes `program` on `input` and returns the values `outputs`. `execute` makes the value of an operation from its
/// number and the values that it reads.
///
/// The last reader of a value owns it, so that it can be updated in place; until then, values are cloned, which shares
/// tensors.
///
/// # Errors
/// Those of `execute`.
pub fn interpret<V: Clone, E>(
    program: &Program,
    outputs: &[ValueId],
    input: V,
    mut execute: impl FnMut(usize, &Operation, Vec<V>) -> Result<V, E>,
) -> Result<Vec<V>, E> {
    let mut reads = vec![0; program.channels.len()];
    let inputs = program.operations.iter().flat_map(|operation| &operation.inputs);
    inputs.chain(outputs).for_each(|&value| reads[value] += 1);
    let mut values: Vec<Option<V>> = vec![Some(input)];
    for (index, operation) in program.operations.iter().enumerate() {
        let inputs =
            operation.inputs.iter().filter_map(|&value| read(&mut values, &mut reads, value)).collect();
        let output = execute(index, operation, inputs)?;
        values.push((reads[index + 1] > 0).then_some(output));
    }
    Ok(outputs.iter().filter_map(|&value| read(&mut values, &mut reads, value)).collect())
}

fn read<V: Clone>(values: &mut [Option<V>], reads: &mut [usize], value: ValueId) -> Option<V> {
    reads[value] -= 1;
    if reads[value] == 0 { values[value].take() } else { values[value].clone() }
}

/// The output of an operation that has no weights. Maps are `[N, C, H, W]`.
///
/// # Panics
/// On an operation that has weights, and without inputs.
pub fn apply(kind: &OperationKind, mut inputs: Vec<Tensor<4>>) -> Tensor<4> {
    match kind {
        OperationKind::Concat => Tensor::cat(inputs, 1),
        OperationKind::Add => {
            let second = inputs.remove(1);
            inputs.remove(0) + second
        }
        OperationKind::MaxPool { size } => {
            let half = size / 2;
            let options = MaxPoolOptions::new([*size; 2]).with_stride([1, 1]).with_padding([half, half]);
            max_pool2d(inputs.remove(0), options)
        }
        OperationKind::Upsample { scale } => {
            let options = InterpolateOptions::new(InterpolateMode::Nearest);
            interpolate(inputs.remove(0), options.with_scale_factor([*scale as f32; 2]))
        }
        OperationKind::Pool(pool) => {
            let mut options =
                MaxPoolOptions::new(pool.kernel).with_stride(pool.stride).with_padding(pool.padding);
            options.ceil_mode = pool.ceil;
            max_pool2d(inputs.remove(0), options)
        }
        OperationKind::ZeroPad { sides: [left, right, above, below] } => {
            inputs.remove(0).pad((*left, *right, *above, *below), 0.0)
        }
        OperationKind::SpaceToDepth { size, order } => space_to_depth(inputs.remove(0), *size, *order),
        OperationKind::Detach => inputs.remove(0).detach(),
        OperationKind::Pick { channels } => {
            let x = inputs.remove(0);
            if let Some(range) = kind.slice() {
                return x.narrow(1, range.start, range.len());
            }
            let channels: Vec<i64> = channels.iter().map(|&channel| channel as i64).collect();
            let channels = Tensor::<1, Int>::from_data(channels.as_slice(), &x.device());
            x.select(1, channels)
        }
        OperationKind::DepthToSpace { size } => depth_to_space(inputs.remove(0), *size),
        OperationKind::Attention(spec) => attention(inputs.remove(0), *spec),
        OperationKind::Conv(ConvRef { name, .. })
        | OperationKind::Norm(NormRef { name, .. })
        | OperationKind::Transposed(TransposedRef { name, .. }) => panic!("{name} has weights"),
    }
}

/// The output of an operation that is not a convolution, with its weights from those of a fused network, if it has some.
///
/// # Errors
/// A tensor that is missing or has another shape.
///
/// # Panics
/// On a convolution, and without inputs.
pub fn apply_with(
    kind: &OperationKind,
    mut inputs: Vec<Tensor<4>>,
    weights: &StateDict,
) -> NnResult<Tensor<4>> {
    match kind {
        OperationKind::Norm(norm) => {
            let x = inputs.remove(0);
            Ok(Norm::load(norm, weights, &x.device())?.forward(x))
        }
        OperationKind::Transposed(transposed) => {
            let x = inputs.remove(0);
            Ok(Transposed::load(transposed, weights, &x.device())?.forward(x))
        }
        kind => Ok(apply(kind, inputs)),
    }
}

/// `[N, C, H, W]` → `[N, size² · C, H / size, W / size]`.
fn space_to_depth(x: Tensor<4>, size: usize, order: PixelOrder) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let [rows, columns] = [height / size, width / size];
    let x = x.narrow(2, 0, rows * size).narrow(3, 0, columns * size);
    let squares = x.reshape([batch, channels, rows, size, columns, size]);
    // Axes 3 and 5 are row and column in the square.
    let by_pixel = match order {
        PixelOrder::Rows => squares.permute([0, 3, 5, 1, 2, 4]),
        PixelOrder::Columns => squares.permute([0, 5, 3, 1, 2, 4]),
    };
    by_pixel.reshape([batch, size * size * channels, rows, columns])
}

/// `[N, C, H, W]` → `[N, C / size², size · H, size · W]`, the inverse of [`space_to_depth`] by rows.
fn depth_to_space(x: Tensor<4>, size: usize) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let channels = channels / (size * size);
    let by_pixel: Tensor<6> = x.reshape([batch, size, size, channels, height, width]);
    let squares = by_pixel.permute([0, 3, 4, 1, 5, 2]);
    squares.reshape([batch, channels, height * size, width * size])
}

/// Queries, keys and values `[N, C, H, W]` → `[N, heads · channels of a value, H, W]`.
fn attention(x: Tensor<4>, spec: AttentionSpec) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let AttentionSpec { heads, key, .. } = spec;
    let (value, pixels) = (spec.value(channels), height * width);
    let part = |start: usize, width: usize| -> Tensor<4> {
        match spec.order {
            AttentionOrder::ByPart => {
                let map = x.clone().narrow(1, heads * start, heads * width);
                map.reshape([batch, heads, width, pixels])
            }
            AttentionOrder::ByHead => {
                let by_head = x.clone().reshape([batch, heads, 2 * key + value, pixels]);
                by_head.narrow(2, start, width)
            }
        }
    };
    let (queries, keys, values) = (part(0, key), part(key, key), part(2 * key, value));
    let scores = queries.swap_dims(2, 3).matmul(keys).mul_scalar((key as f64).sqrt().recip());
    let shares = softmax(scores, 3);
    values.matmul(shares.swap_dims(2, 3)).reshape([batch, heads * value, height, width])
}
