//! Transposed convolutions: an ordinary one makes the pixels of a square per cell, side by side as channels.

use yolo_model::ModelError;
use yolo_model::architecture::TransposedRef;

use super::Compiler;
use crate::network::{Activation, Conv, Op, ValueId};

impl Compiler<'_> {
    pub(super) fn transposed(
        &mut self,
        transposed: &TransposedRef,
        input: ValueId,
    ) -> Result<ValueId, ModelError> {
        let spec = &transposed.spec;
        let [size, columns] = spec.stride;
        let is_whole = |axis: usize| {
            spec.dilation[axis] == 1
                && spec.kernel[axis] + spec.output_padding[axis] == spec.stride[axis] + 2 * spec.padding[axis]
        };
        if size != columns || !is_whole(0) || !is_whole(1) {
            let reason = "is a transposed convolution whose output is not a multiple of its input; run it on a device \
                          of Burn";
            return Err(ModelError::Tensor { name: transposed.weight(), reason: reason.to_owned() });
        }
        let weight = self.weights.f32s(&transposed.weight())?;
        let bias = self.weights.f32s(&transposed.bias())?;
        let [reach, radius] = [0, 1].map(|axis| Reach::new(spec.kernel[axis], size, spec.padding[axis]));
        let kernel = [reach.window(), radius.window()];
        let (inputs, outputs) = (spec.in_channels / spec.groups, spec.out_channels / spec.groups);
        let mut phases = Vec::with_capacity(spec.out_channels * size * size * inputs * kernel[0] * kernel[1]);
        for out in 0..spec.out_channels {
            let (group, of_group) = (out / outputs, out % outputs);
            for (a, b) in (0..size).flat_map(|a| (0..size).map(move |b| (a, b))) {
                for input in 0..inputs {
                    let plane = ((group * inputs + input) * outputs + of_group) * spec.kernel[0];
                    for (y, x) in (0..kernel[0]).flat_map(|y| (0..kernel[1]).map(move |x| (y, x))) {
                        phases.push(match (reach.tap(a, y), radius.tap(b, x)) {
                            (Some(row), Some(column)) => weight[(plane + row) * spec.kernel[1] + column],
                            _ => 0.0,
                        });
                    }
                }
            }
        }
        let conv = Conv {
            name: transposed.name.clone(),
            input,
            weight: phases,
            bias: bias.iter().flat_map(|&bias| std::iter::repeat_n(bias, size * size)).collect(),
            out_channels: spec.out_channels * size * size,
            groups: spec.groups,
            kernel,
            stride: [1, 1],
            padding: [reach.cells, radius.cells],
            dilation: [1, 1],
            activation: Activation::None,
            residual: None,
        };
        let squares = self.push(Op::Conv(conv));
        if size == 1 {
            return Ok(squares);
        }
        Ok(self.push(Op::DepthToSpace { input: squares, size, interleaved: true }))
    }
}

/// Which cells have a part in the pixels of a cell, along one axis. Pixel `a` of cell `i` gets from cell `i + j` its value
/// times tap `a + padding − stride · j`.
struct Reach {
    taps: usize,
    stride: usize,
    padding: usize,
    /// The farthest cell.
    cells: usize,
}

impl Reach {
    fn new(taps: usize, stride: usize, padding: usize) -> Self {
        let behind = padding.div_ceil(stride);
        let before = (taps - 1).saturating_sub(padding) / stride;
        Self { taps, stride, padding, cells: behind.max(before) }
    }

    /// Cells of the window.
    fn window(&self) -> usize {
        2 * self.cells + 1
    }

    /// The tap of the window's cell `at` for pixel `pixel`.
    fn tap(&self, pixel: usize, at: usize) -> Option<usize> {
        let from = (pixel + self.padding + self.stride * self.cells).checked_sub(self.stride * at)?;
        (from < self.taps).then_some(from)
    }
}
