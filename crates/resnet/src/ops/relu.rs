//! max(x, 0) and max(a + b, 0), in place where nobody else has the operand, with the gradient
//!
//! ```text
//! dx = dy where y > 0, else 0
//! ```
//!
//! which needs y alone: the operation behind it keeps that anyway. A NaN stays one.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, activation};
use rayon::prelude::*;

use quant_core::tensor::flex::{Argument, apply, into_values, recycle, tensor, values};

/// Values that a thread takes at once.
const RUN: usize = 32 << 10;

/// max(x, 0).
pub fn relu(x: Tensor<4>) -> Tensor<4> {
    match Argument::of(&x) {
        Some(operand) => {
            drop(x);
            apply([operand], Relu, |[x], tracked| {
                let shape: [usize; 4] = x.shape().dims();
                let mut y = into_values(x);
                y.par_chunks_mut(RUN)
                    .for_each(|y| y.iter_mut().for_each(|y| *y = at_least_zero(*y)));
                let y = tensor(y, shape);
                (y.clone(), tracked.then_some(y), ())
            })
            .0
        }
        None => activation::relu(x),
    }
}

/// max(a + b, 0), of one shape.
pub fn add_relu(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    match (Argument::of(&a), Argument::of(&b), a.dims() == b.dims()) {
        (Some(left), Some(right), true) => {
            drop((a, b));
            apply([left, right], Relu, |[a, b], tracked| {
                let shape: [usize; 4] = a.shape().dims();
                let b = b.to_contiguous();
                let mut y = into_values(a);
                y.par_chunks_mut(RUN)
                    .zip(values(&b).par_chunks(RUN))
                    .for_each(|(y, b)| {
                        let pairs = y.iter_mut().zip(b);
                        pairs.for_each(|(y, b)| *y = at_least_zero(*y + b));
                    });
                recycle(b);
                let y = tensor(y, shape);
                (y.clone(), tracked.then_some(y), ())
            })
            .0
        }
        _ => activation::relu(a + b),
    }
}

#[inline(always)]
fn at_least_zero(y: f32) -> f32 {
    if y < 0.0 { 0.0 } else { y }
}

/// Operands: those whose sum is cut off.
#[derive(Debug)]
struct Relu;

impl<const N: usize> Backward<Flex, N> for Relu {
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = into_values(grads.consume::<Flex>(&ops.node));
        let shape: [usize; 4] = ops.state.shape().dims();
        gradient
            .par_chunks_mut(RUN)
            .zip(values(&ops.state).par_chunks(RUN))
            .for_each(|(dy, y)| {
                for (dy, y) in dy.iter_mut().zip(y) {
                    *dy = if *y <= 0.0 { 0.0 } else { *dy };
                }
            });
        recycle(ops.state);
        let gradient = tensor(gradient, shape);
        for node in ops.parents.iter().flatten() {
            grads.register::<Flex>(node.id, gradient.clone());
        }
    }
}
