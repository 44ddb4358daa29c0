//! Shapes of values, and whether the numbers of an operation fit together.

use super::{Conv, Op, ValueId};

/// Shape of what `op` makes, or what is wrong with it.
pub(super) fn shape_of(op: &Op, shapes: &[[usize; 3]]) -> std::result::Result<[usize; 3], String> {
    if let Some(input) = op.inputs().into_iter().find(|&input| input >= shapes.len()) {
        return Err(format!("reads value {input}, which is not there yet"));
    }
    match op {
        Op::Conv(conv) => conv_shape(conv, shapes),
        Op::Add { inputs: [a, b] } if shapes[*a] == shapes[*b] => Ok(shapes[*a]),
        Op::Add { inputs: [a, b] } => Err(format!("adds {:?} and {:?}", shapes[*a], shapes[*b])),
        Op::Concat { inputs } => {
            let Some(&first) = inputs.first() else { return Err("joins nothing".to_owned()) };
            let [_, height, width] = shapes[first];
            let differs = |&&input: &&ValueId| shapes[input][1..] != [height, width];
            if let Some(&odd) = inputs.iter().find(differs) {
                return Err(format!("joins {:?} and {:?}", shapes[first], shapes[odd]));
            }
            Ok([inputs.iter().map(|&input| shapes[input][0]).sum(), height, width])
        }
        Op::MaxPool { size, .. } if size % 2 == 0 => Err(format!("window of {size}, which is not odd")),
        Op::MaxPool { input, .. } => Ok(shapes[*input]),
        Op::Upsample { scale: 0, .. } => Err("enlarges by 0".to_owned()),
        Op::Upsample { input, scale } => {
            let [channels, height, width] = shapes[*input];
            Ok([channels, height * scale, width * scale])
        }
        Op::Pool { input, pool } => {
            let [channels, height, width] = shapes[*input];
            let [rows, columns] = pool.output_size([height, width]);
            Ok([channels, rows, columns])
        }
        Op::ZeroPad { input, sides: [left, right, above, below] } => {
            let [channels, height, width] = shapes[*input];
            Ok([channels, height + above + below, width + left + right])
        }
        Op::SpaceToDepth { input, size, .. } => {
            let [channels, height, width] = shapes[*input];
            if *size == 0 || height % size != 0 || width % size != 0 {
                return Err(format!("cuts a map of {height}×{width} into squares of {size}"));
            }
            Ok([channels * size * size, height / size, width / size])
        }
        Op::DepthToSpace { input, size, .. } => {
            let [channels, height, width] = shapes[*input];
            if *size == 0 || channels % (size * size) != 0 {
                return Err(format!("makes squares of {size} of {channels} channels"));
            }
            Ok([channels / (size * size), height * size, width * size])
        }
        Op::Pick { input, channels } => {
            let [found, height, width] = shapes[*input];
            if channels.is_empty() || channels.iter().any(|&channel| channel >= found) {
                return Err(format!("takes channels out of {found} that are not there"));
            }
            Ok([channels.len(), height, width])
        }
        Op::Attention { input, spec } => {
            let [channels, height, width] = shapes[*input];
            spec.check(channels)?;
            Ok([spec.out_channels(channels), height, width])
        }
    }
}

fn conv_shape(conv: &Conv, shapes: &[[usize; 3]]) -> std::result::Result<[usize; 3], String> {
    let [in_channels, height, width] = shapes[conv.input];
    if conv.out_channels == 0 || conv.dilation.contains(&0) {
        return Err("no output channels or a dilation of 0".to_owned());
    }
    let divides = |channels: usize| conv.groups > 0 && channels.is_multiple_of(conv.groups);
    if !divides(in_channels) || !divides(conv.out_channels) {
        return Err(format!("{} groups for {in_channels} → {} channels", conv.groups, conv.out_channels));
    }
    let expected = conv.out_channels * (in_channels / conv.groups) * conv.kernel[0] * conv.kernel[1];
    if conv.weight.len() != expected || conv.bias.len() != conv.out_channels {
        return Err(format!(
            "{} weights and {} biases, where {expected} and {} are needed",
            conv.weight.len(),
            conv.bias.len(),
            conv.out_channels
        ));
    }
    let Some([out_height, out_width]) = conv.output_size([height, width]) else {
        return Err(format!("its window does not fit a map of {height}×{width}"));
    };
    let shape = [conv.out_channels, out_height, out_width];
    match conv.residual {
        Some(value) if shapes[value] != shape => {
            Err(format!("adds a residual of {:?} to {shape:?}", shapes[value]))
        }
        _ => Ok(shape),
    }
}
