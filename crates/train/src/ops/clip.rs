//! min(max(x, low), high), of a value and of a sum, in place where nobody else has the operand; the gradient is that of
//! [`engine::training::clip_gradient`], which needs the result alone: the operation behind it keeps that anyway.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData, activation};
use engine::training;

use super::flex::{Argument, apply, into_values, recycle, tensor, values};

/// What values are cut off at, below and above.
pub type Ends = [f32; 2];

/// Those of a ReLU.
pub const RELU: Ends = [0.0, f32::INFINITY];

/// min(max(x, low), high).
pub fn clip(x: Tensor<4>, ends: Ends) -> Tensor<4> {
    match Argument::of(&x) {
        Some(operand) => {
            drop(x);
            apply([operand], Clip, |[x], tracked| {
                let shape: [usize; 4] = x.shape().dims();
                let mut y = into_values(x);
                training::clip(&mut y, ends);
                let y = tensor(y, shape);
                (y.clone(), tracked.then_some((y, ends)), ())
            })
            .0
        }
        None => burns(x, ends),
    }
}

/// min(max(a + b, low), high), of one shape.
pub fn add_clip(a: Tensor<4>, b: Tensor<4>, ends: Ends) -> Tensor<4> {
    match (Argument::of(&a), Argument::of(&b), a.dims() == b.dims()) {
        (Some(left), Some(right), true) => {
            drop((a, b));
            apply([left, right], Clip, |[a, b], tracked| {
                let shape: [usize; 4] = a.shape().dims();
                let b = b.to_contiguous();
                let mut y = into_values(a);
                training::add_clip(&mut y, values(&b), ends);
                recycle(b);
                let y = tensor(y, shape);
                (y.clone(), tracked.then_some((y, ends)), ())
            })
            .0
        }
        _ => burns(a + b, ends),
    }
}

/// min(max(x, low), high) with ends of each channel's own.
pub fn clip_each(x: Tensor<4>, ends: &[Ends]) -> Tensor<4> {
    let end = |which: usize| {
        let values: Vec<f32> = ends.iter().map(|ends| ends[which]).collect();
        let data = TensorData::new(values, [1, ends.len(), 1, 1]);
        Tensor::<4>::from_data(data, &x.device()).expand(x.dims())
    };
    let (low, high) = (end(0), end(1));
    x.max_pair(low).min_pair(high)
}

/// The same by burn.
pub(super) fn burns(x: Tensor<4>, [low, high]: Ends) -> Tensor<4> {
    match [low, high] == RELU {
        true => activation::relu(x),
        false => x.clamp(low, high),
    }
}

/// Operands: those whose sum is cut off.
#[derive(Debug)]
struct Clip;

impl<const N: usize> Backward<Flex, N> for Clip {
    type State = (FlexTensor, Ends);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = into_values(grads.consume::<Flex>(&ops.node));
        let (y, ends) = ops.state;
        let shape: [usize; 4] = y.shape().dims();
        training::clip_gradient(values(&y), &mut gradient, ends);
        recycle(y);
        let gradient = tensor(gradient, shape);
        for node in ops.parents.iter().flatten() {
            grads.register::<Flex>(node.id, gradient.clone());
        }
    }
}
