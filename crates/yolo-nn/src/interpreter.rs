//! Executes a program, one operation after the other.
//!
//! The same code runs training, calibration, gradients and the reference forward: they differ in what they make of a
//! convolution, which the caller decides.

use burn::tensor::Tensor;
use burn::tensor::module::{interpolate, max_pool2d};
use burn::tensor::ops::{InterpolateMode, InterpolateOptions, MaxPoolOptions};
use yolo_model::program::{Operation, OperationKind, Program, ValueId};

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
/// On a convolution, and without inputs.
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
        OperationKind::Conv(conv) => panic!("{} has weights", conv.name),
    }
}
