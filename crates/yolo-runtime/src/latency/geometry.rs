//! The convolutions of a network as they run.

use yolo_model::architecture::ConvRef;
use yolo_model::program::Program;

use super::ConvGeometry;

/// The geometry of every convolution of `program` for an image of `[height, width]`, in order of execution, with
/// its name. Pointwise convolutions that read the same value run as one, whose name has a `+`, as in a plan. A convolution
/// with groups counts as one that reads the channels of a group; dilation is not told.
pub fn geometries(program: &Program, image: [usize; 2]) -> Vec<(String, ConvGeometry)> {
    let sizes = program.sizes(image);
    let mut found: Vec<(String, ConvGeometry)> = Vec::new();
    // What may still get a twin: the value that is read, the convolution, and its place above.
    let mut single: Vec<(usize, &ConvRef, usize)> = Vec::new();
    for (index, conv) in program.convs() {
        let spec = &conv.spec;
        let input = program.operations[index].inputs[0];
        let is_twin = |(value, other, _): &(usize, &ConvRef, usize)| {
            let same = |a: &ConvRef| (a.spec.kernel, a.spec.stride, a.spec.padding, a.spec.activation);
            let is_whole = other.spec.groups == 1 && spec.groups == 1;
            *value == input && spec.kernel == [1, 1] && is_whole && same(other) == same(conv)
        };
        if let Some(at) = single.iter().position(is_twin) {
            let (_, _, place) = single.remove(at);
            let (name, geometry) = &mut found[place];
            *name = format!("{name}+{}", conv.name);
            geometry.out_channels += spec.out_channels;
            continue;
        }
        single.push((input, conv, found.len()));
        let geometry = ConvGeometry {
            in_channels: spec.in_channels / spec.groups,
            out_channels: spec.out_channels,
            size: sizes[input],
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
        };
        found.push((conv.name.clone(), geometry));
    }
    found
}
