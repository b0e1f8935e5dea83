//! Convolution; what it computes with one group and no dilation, and how, is told in [`engine::training`].

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;
use engine::training::Conv2d;
use engine::{Algorithm, Shape, Window};

use super::flex::pool;
use super::flex::{Argument, LENGTHS, apply, recycle, tensor, values};

/// `[n, c, h, w]` convolved with `weight`, `[out, c / groups, k, k']`, plus `bias`, `[out]`: `[n, out, h', w']`. As many zeros as
/// `window` says around the map. `algorithm` is what the CPU computes it by, gradients included; other devices have their own.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    (window, groups): (Window, usize),
    algorithm: Algorithm,
) -> Tensor<4> {
    let [_, c, h, w] = x.dims();
    let [outputs, inputs, ..] = weight.dims();
    let operands = (Argument::of(&x), Argument::of(&weight));
    let conv = Conv2d::new(Shape::new(c, h, w), outputs, window).map(|conv| conv.by(algorithm));
    let plain = groups == 1 && c == inputs;
    if let ((Some(a), Some(b)), Ok(conv), true) = (operands, conv, plain) {
        // What still holds the operands here would keep them from being used again.
        match &bias {
            None => {
                drop((x, weight));
                return apply([a, b], Convolution, |[x, weight], tracked| {
                    forward(conv, x, weight, None, tracked)
                })
                .0;
            }
            Some(bias) if bias.dims() == [outputs] => {
                if let Some(bias) = Argument::of(bias) {
                    drop((x, weight));
                    return apply([a, b, bias], Convolution, |[x, weight, bias], tracked| {
                        forward(conv, x, weight, Some(bias), tracked)
                    })
                    .0;
                }
            }
            Some(_) => {}
        }
    }
    let options = ConvOptions::new_with_padding(
        window.stride,
        window.padding.pairs(),
        window.dilation,
        groups,
    );
    module::conv2d(x, weight, bias, options)
}

/// The arguments that the gradients are made of.
#[derive(Clone, Debug)]
struct State {
    conv: Conv2d,
    x: FlexTensor,
    weight: FlexTensor,
}

fn forward(
    conv: Conv2d,
    x: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    tracked: bool,
) -> (FlexTensor, Option<State>, ()) {
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let bias = bias.map(|bias| bias.to_contiguous());
    let images = x.shape()[0];
    let to = conv.output();
    let mut y = pool::take(images * to.len());
    conv.forward(
        values(&x),
        values(&weight),
        bias.as_ref().map(values),
        &mut y,
    )
    .expect(LENGTHS);
    let y = tensor(y, [images, to.channels, to.height, to.width]);
    (y, tracked.then_some(State { conv, x, weight }), ())
}

/// Operands: x, weight, and a bias or none.
#[derive(Debug)]
struct Convolution;

impl<const N: usize> Backward<Flex, N> for Convolution {
    type State = State;

    fn backward(self, ops: Ops<State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let State { conv, x, weight } = ops.state;
        let dy = values(&gradient);
        let wanted = |operand: usize| ops.parents.get(operand).and_then(Option::as_ref);
        if let Some(node) = wanted(2) {
            let mut db = vec![0.0; conv.output().channels];
            conv.bias_gradient(dy, &mut db).expect(LENGTHS);
            grads.register::<Flex>(node.id, tensor(db, [conv.output().channels]));
        }
        let mut dw = wanted(1).map(|_| vec![0.0; conv.weights()]);
        let mut dx = wanted(0).map(|_| pool::take(values(&x).len()));
        let (inputs, weights) = (values(&x), values(&weight));
        match (&mut dx, &mut dw) {
            (Some(dx), Some(dw)) => conv.gradients((inputs, weights, dy), dx, dw),
            (None, Some(dw)) => conv.weight_gradient(inputs, dy, dw),
            (Some(dx), None) => conv.input_gradient(weights, dy, dx),
            (None, None) => Ok(()),
        }
        .expect(LENGTHS);
        if let (Some(node), Some(dw)) = (wanted(1), dw) {
            let shape: [usize; 4] = weight.shape().dims();
            grads.register::<Flex>(node.id, tensor(dw, shape));
        }
        let dx = wanted(0).zip(dx);
        let dx = dx.map(|(node, dx)| (node.id, tensor::<4>(dx, x.shape().dims())));
        recycle(gradient);
        recycle(x);
        if let Some((id, dx)) = dx {
            grads.register::<Flex>(id, dx);
        }
    }
}
