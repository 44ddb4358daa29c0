//! Convolutions over squares of pixels that became channels: the same as over larger windows of the pixels themselves.

use yolo_model::program::{OperationKind, PixelOrder};

use super::Compiler;
use crate::network::{Conv, ValueId};

impl Compiler<'_> {
    /// The convolution, which reads the program's value `input`, over the pixels that this value's channels were made of,
    /// if they were.
    pub(super) fn over_squares(&self, conv: Conv, input: ValueId) -> Conv {
        let Some(operation) = input.checked_sub(1).map(|index| &self.program.operations[index]) else {
            return conv;
        };
        match operation.kind {
            OperationKind::SpaceToDepth { size, order } if conv.groups == 1 && conv.dilation == [1, 1] => {
                Conv { input: self.value_of[operation.inputs[0]], ..widened(conv, size, order) }
            }
            _ => conv,
        }
    }
}

/// Weight `(o, g · C + c, y, x)` becomes `(o, c, size · y + row of g, size · x + column of g)`.
fn widened(conv: Conv, size: usize, order: PixelOrder) -> Conv {
    let [height, width] = conv.kernel;
    let channels = conv.in_channels() / (size * size);
    let mut weight = vec![0.0; conv.weight.len()];
    let mut old = conv.weight.iter();
    for out in 0..conv.out_channels {
        for group in 0..size * size {
            let [row, column] = order.pixel(group, size);
            for channel in 0..channels {
                for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                    let line = (out * channels + channel) * height * size + y * size + row;
                    if let (Some(to), Some(from)) =
                        (weight.get_mut(line * width * size + x * size + column), old.next())
                    {
                        *to = *from;
                    }
                }
            }
        }
    }
    let scaled = |pair: [usize; 2]| pair.map(|side| side * size);
    Conv {
        weight,
        kernel: scaled(conv.kernel),
        stride: scaled(conv.stride),
        padding: scaled(conv.padding),
        ..conv
    }
}
