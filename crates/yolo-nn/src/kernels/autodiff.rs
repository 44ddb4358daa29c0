//! The kernels' place in Burn's automatic differentiation.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::ModuleOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn::tensor::ops::ConvOptions;

use super::flex::TrainingOps;

/// Why the gradients have no gradient.
const FIRST_ORDER: &str = "Burn's automatic differentiation is of first order";

type Saved<B> = FloatTensor<B>;

#[derive(Debug)]
struct Conv;

#[derive(Debug)]
struct ConvWithBias;

/// Input, weight, sizes.
type ConvState = (NodeId, NodeId, ConvOptions<2>);

impl<B: TrainingOps> Backward<B, 2> for Conv {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [x, weight] = ops.parents.map(|node| node.map(|node| node.id));
        conv_backward::<B>(x, weight, ops.state, dy, grads, checkpointer);
    }
}

impl<B: TrainingOps> Backward<B, 3> for ConvWithBias {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let [x, weight, bias] = ops.parents.map(|node| node.map(|node| node.id));
        if let Some(bias) = bias {
            grads.register::<B>(bias, B::conv_bias_gradient(dy.clone()));
        }
        conv_backward::<B>(x, weight, ops.state, dy, grads, checkpointer);
    }
}

/// Registers the gradients of a convolution's input and weight where they are wanted.
fn conv_backward<B: TrainingOps>(
    x: Option<NodeId>,
    weight: Option<NodeId>,
    (x_saved, weight_saved, options): ConvState,
    dy: FloatTensor<B>,
    grads: &mut Gradients,
    checkpointer: &mut Checkpointer,
) {
    let x_value: Saved<B> = checkpointer.retrieve_node_output(x_saved);
    let weight_value: Saved<B> = checkpointer.retrieve_node_output(weight_saved);
    if let Some(weight) = weight {
        let (x, dy, options) = (x_value.clone(), dy.clone(), options.clone());
        grads.register::<B>(weight, B::conv_weight_gradient(x, weight_value.clone(), dy, options));
    }
    if let Some(x) = x {
        grads.register::<B>(x, B::conv_input_gradient(x_value, weight_value, dy, options));
    }
}

#[derive(Debug)]
struct Silu;

impl<B: TrainingOps> Backward<B, 1> for Silu {
    type State = NodeId;

    fn backward(self, ops: Ops<NodeId, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let x: Saved<B> = checkpointer.retrieve_node_output(ops.state);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::fast_silu_gradient(x, dy));
        }
    }
}

#[derive(Debug)]
struct Norm;

/// Input, `γ`, `β`, the batch's mean and variance, `ε`, whether SiLU follows.
type NormState<B> = (NodeId, NodeId, NodeId, Saved<B>, Saved<B>, f64, bool);

impl<B: TrainingOps> Backward<B, 3> for Norm {
    type State = NormState<B>;

    fn backward(self, ops: Ops<NormState<B>, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let (x, gamma, beta, mean, var, epsilon, silu) = ops.state;
        let [x, gamma, beta] = [x, gamma, beta].map(|id| checkpointer.retrieve_node_output::<Saved<B>>(id));
        let (dx, d_gamma, d_beta) = B::norm_train_gradient(x, gamma, beta, mean, var, epsilon, silu, dy);
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_gamma, d_beta]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: Backend + TrainingOps, C: CheckpointStrategy> TrainingOps for Autodiff<B, C> {
    fn conv_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
        silu: bool,
    ) -> FloatTensor<Self> {
        // The gradient of SiLU needs its argument, so here it is a separate operation.
        if silu {
            return Self::fast_silu(Self::conv_forward(x, weight, options, false));
        }
        let prep = Conv.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful();
        let forward = |x: FloatTensor<Self>, weight: FloatTensor<Self>, options| {
            B::conv_forward(x.into_primitive(), weight.into_primitive(), options, false)
        };
        match prep {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), options.clone());
                prep.finish(state, forward(x, weight, options))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward(x, weight, options)),
        }
    }

    fn conv_bias_forward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
        silu: bool,
    ) -> FloatTensor<Self> {
        if silu {
            return Self::fast_silu(Self::conv_bias_forward(x, weight, bias, options, false));
        }
        let nodes = [x.node(), weight.node(), bias.node()];
        let forward = |[x, weight, bias]: [FloatTensor<Self>; 3], options| {
            let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
            B::conv_bias_forward(x, weight, bias, options, false)
        };
        match ConvWithBias.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&weight), options.clone());
                prep.finish(state, forward([x, weight, bias], options))
            }
            OpsKind::UnTracked(prep) => prep.finish(forward([x, weight, bias], options)),
        }
    }

    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Silu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::fast_silu(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fast_silu(x.into_primitive())),
        }
    }

    fn norm_train(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
        silu: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (y, mean, var) = match Norm.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let [x_id, gamma_id, beta_id] = [&x, &gamma, &beta].map(|tensor| prep.checkpoint(tensor));
                let (y, mean, var) = B::norm_train(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    epsilon,
                    silu,
                );
                let state = (x_id, gamma_id, beta_id, mean.clone(), var.clone(), epsilon, silu);
                (prep.finish(state, y), mean, var)
            }
            OpsKind::UnTracked(prep) => {
                let (y, mean, var) = B::norm_train(
                    x.into_primitive(),
                    gamma.into_primitive(),
                    beta.into_primitive(),
                    epsilon,
                    silu,
                );
                (prep.finish(y), mean, var)
            }
        };
        (y, FloatTensor::<Self>::new(mean), FloatTensor::<Self>::new(var))
    }

    fn norm_infer(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        var: FloatTensor<Self>,
        epsilon: f64,
        silu: bool,
    ) -> FloatTensor<Self> {
        let z = <Self as ModuleOps<Self>>::batch_norm(x, gamma, beta, mean, var, epsilon);
        if silu { Self::fast_silu(z) } else { z }
    }

    fn conv_input_gradient(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _dy: FloatTensor<Self>,
        _options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn conv_weight_gradient(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _dy: FloatTensor<Self>,
        _options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn conv_bias_gradient(_dy: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn fast_silu_gradient(_x: FloatTensor<Self>, _dy: FloatTensor<Self>) -> FloatTensor<Self> {
        unreachable!("{FIRST_ORDER}")
    }

    fn norm_train_gradient(
        _x: FloatTensor<Self>,
        _gamma: FloatTensor<Self>,
        _beta: FloatTensor<Self>,
        _mean: FloatTensor<Self>,
        _var: FloatTensor<Self>,
        _epsilon: f64,
        _silu: bool,
        _dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("{FIRST_ORDER}")
    }
}
