//! The kernels as operations of Burn's back ends: on flex, and on flex with automatic differentiation.

use burn::backend::flex::{Flex, FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Bytes, DType, Shape};
use yolo_simd::Unit;

use super::activation::{silu_backward, silu_forward};
use super::conv::{self, ConvShape, Planes};
use super::norm::{self, Affine, Statistics};

/// What a training step spends its time on. Tensors of images are `[N, C, H, W]`, all are `f32`.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait TrainingOps: Backend {
    /// [`conv::forward`] without bias: convolution, then SiLU if asked.
    fn conv_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
        silu: bool,
    ) -> FloatTensor<Self>;
    /// [`conv::forward`] with bias; an optional tensor cannot cross the macro's dispatch.
    fn conv_bias_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        silu: bool,
    ) -> FloatTensor<Self>;
    /// [`conv::input_gradient`], for an input like `x`.
    fn conv_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
    /// [`conv::weight_gradient`], for a weight like `weight`.
    fn conv_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self>;
    /// The sum over images and pixels, `[C]`.
    fn conv_bias_gradient(dy: FloatTensor<Self>) -> FloatTensor<Self>;
    /// [`silu_forward`].
    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// [`silu_backward`].
    fn fast_silu_gradient(x: FloatTensor<Self>, dy: FloatTensor<Self>) -> FloatTensor<Self>;
    /// [`norm::batch_norm_train`]: output, mean, biased variance.
    fn norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// [`norm::batch_norm_backward`]: gradients of `x`, `gamma`, `beta`.
    #[allow(clippy::too_many_arguments)]
    fn norm_train_gradient(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
        silu: bool,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
    /// [`norm::batch_norm_infer`].
    #[allow(clippy::too_many_arguments)]
    fn norm_infer(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self>;
}

impl TrainingOps for Flex {
    fn conv_forward(x: FlexTensor, weight: FlexTensor, options: ConvOptions<2>, silu: bool) -> FlexTensor {
        conv_forward(x, weight, None, &options, silu)
    }

    fn conv_bias_forward(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        options: ConvOptions<2>,
        silu: bool,
    ) -> FlexTensor {
        conv_forward(x, weight, Some(bias), &options, silu)
    }

    fn conv_input_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        let (weight, dy) = (Dense::new(weight), Images::new(dy));
        let dims = dims(&x);
        let shape = conv_shape(dims, &weight, &options);
        tensor(conv::input_gradient(Unit::best(), &shape, dy.planes(), weight.numbers()), dims)
    }

    fn conv_weight_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        options: ConvOptions<2>,
    ) -> FlexTensor {
        let (x, weight, dy) = (Images::new(x), Dense::new(weight), Images::new(dy));
        let shape = conv_shape(x.dims, &weight, &options);
        let gradient = conv::weight_gradient(Unit::best(), &shape, x.planes(), dy.planes());
        tensor(gradient, weight.0.layout().shape().clone())
    }

    fn conv_bias_gradient(dy: FlexTensor) -> FlexTensor {
        let dy = Images::new(dy);
        let [batch, channels, ..] = dy.dims;
        tensor(conv::bias_gradient(dy.planes(), [batch, channels]), [channels])
    }

    fn fast_silu(x: FlexTensor) -> FlexTensor {
        let x = Dense::new(x);
        tensor(silu_forward(Unit::best(), x.numbers()), x.0.layout().shape().clone())
    }

    fn fast_silu_gradient(x: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let (x, dy) = (Dense::new(x), Dense::new(dy));
        tensor(silu_backward(Unit::best(), x.numbers(), dy.numbers()), x.0.layout().shape().clone())
    }

    fn norm_train(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        epsilon: f64,
        silu: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let (x, gamma, beta) = (Images::new(x), Dense::new(gamma), Dense::new(beta));
        let [batch, channels, ..] = x.dims;
        let affine = Affine { gamma: gamma.numbers(), beta: beta.numbers(), epsilon, silu };
        let (y, statistics) = norm::batch_norm_train(Unit::best(), x.planes(), [batch, channels], affine);
        let Statistics { mean, var } = statistics;
        (tensor(y, x.dims), tensor(mean, [channels]), tensor(var, [channels]))
    }

    fn norm_train_gradient(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        var: FlexTensor,
        epsilon: f64,
        silu: bool,
        dy: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let x = Images::new(x);
        let [gamma, beta] = [gamma, beta].map(Dense::new);
        let statistics = statistics(mean, var);
        let [batch, channels, ..] = x.dims;
        let affine = Affine { gamma: gamma.numbers(), beta: beta.numbers(), epsilon, silu };
        let (planes, dims) = (x.planes(), [batch, channels]);
        let mut dy = dy;
        let dense = dy.layout().contiguous_offsets() == Some((0, x.dims.iter().product()));
        let owned = if dense { dy.try_storage_mut::<f32>() } else { None };
        if let Some(dy_numbers) = owned.filter(|numbers| numbers.len() == x.dims.iter().product::<usize>()) {
            let unit = Unit::best();
            let gradients =
                norm::batch_norm_backward_in_place(unit, planes, dy_numbers, dims, affine, &statistics);
            let [gamma, beta] = gradients.map(|g| tensor(g, [channels]));
            return (dy, gamma, beta);
        }
        let dy = Images::new(dy);
        let gradients =
            norm::batch_norm_backward(Unit::best(), planes, dy.planes(), dims, affine, &statistics);
        let [gamma, beta] = [gradients.gamma, gradients.beta].map(|g| tensor(g, [channels]));
        (tensor(gradients.x, x.dims), gamma, beta)
    }

    fn norm_infer(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        mean: FlexTensor,
        var: FlexTensor,
        epsilon: f64,
        silu: bool,
    ) -> FlexTensor {
        let (x, [gamma, beta]) = (Images::new(x), [gamma, beta].map(Dense::new));
        let statistics = statistics(mean, var);
        let [batch, channels, ..] = x.dims;
        let affine = Affine { gamma: gamma.numbers(), beta: beta.numbers(), epsilon, silu };
        let y = norm::batch_norm_infer(Unit::best(), x.planes(), [batch, channels], affine, &statistics);
        tensor(y, x.dims)
    }
}

fn conv_forward(
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    options: &ConvOptions<2>,
    silu: bool,
) -> FlexTensor {
    let (x, weight, bias) = (Images::new(x), Dense::new(weight), bias.map(Dense::new));
    let shape = conv_shape(x.dims, &weight, options);
    let bias = bias.as_ref().map(Dense::numbers);
    let y = conv::forward(Unit::best(), &shape, x.planes(), weight.numbers(), bias, silu);
    let [height, width] = shape.out_size();
    tensor(y, [shape.batch, shape.out_channels, height, width])
}

/// A tensor whose numbers lie in order.
struct Dense(FlexTensor);

impl Dense {
    fn new(tensor: FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    fn numbers(&self) -> &[f32] {
        let layout = self.0.layout();
        &self.0.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
    }
}

/// A tensor whose planes lie in order inside an image; images may lie further apart, as in a slice of channels.
struct Images {
    tensor: FlexTensor,
    dims: [usize; 4],
    image_stride: usize,
}

impl Images {
    fn new(tensor: FlexTensor) -> Self {
        let dims @ [batch, channels, height, width] = dims(&tensor);
        let image = channels * height * width;
        let strides = tensor.layout().strides();
        let dense_image = strides[1..] == [(height * width) as isize, width as isize, 1];
        if batch > 0 && dense_image && strides[0] >= image as isize {
            let image_stride = strides[0] as usize;
            return Self { tensor, dims, image_stride };
        }
        Self { tensor: Dense::new(tensor).0, dims, image_stride: image }
    }

    fn planes(&self) -> Planes<'_> {
        let start = self.tensor.layout().start_offset();
        Planes::new(&self.tensor.storage::<f32>()[start..], self.image_stride, self.dims)
    }
}

fn dims(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

fn statistics(mean: FlexTensor, var: FlexTensor) -> Statistics {
    let [mean, var] = [mean, var].map(|tensor| Dense::new(tensor).numbers().to_vec());
    Statistics { mean, var }
}

fn tensor(numbers: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(numbers), Layout::contiguous(shape.into()), DType::F32)
}

fn conv_shape(
    [batch, in_channels, height, width]: [usize; 4],
    weight: &Dense,
    options: &ConvOptions<2>,
) -> ConvShape {
    let [out_channels, group_in, kernel_height, kernel_width] = dims(&weight.0);
    assert_eq!(in_channels, group_in * options.groups, "channels of the input and of the weight");
    ConvShape {
        batch,
        in_channels,
        in_size: [height, width],
        out_channels,
        kernel: [kernel_height, kernel_width],
        stride: options.stride,
        padding: options.padding.map(|(begin, _)| begin),
        dilation: options.dilation,
        groups: options.groups,
    }
}
