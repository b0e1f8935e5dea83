//! Batch normalisation by the batch's own statistics; the equations are those of [`engine::training::BatchNorm`].

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData, module};
use engine::training::{BatchNorm, Statistics};

use super::clip::{Ends, burns};

use super::flex::pool;
use super::flex::{Argument, LENGTHS, apply, into_values, recycle, tensor, values};

/// A batch and what it was normalised by.
#[derive(Clone, Debug)]
pub struct Normalized {
    /// `[n, c, h, w]`.
    pub output: Tensor<4>,
    /// The batch's mean, `[c]`, a constant on a plain device.
    pub mean: Tensor<1>,
    /// Its biased variance, likewise.
    pub variance: Tensor<1>,
}

/// `x`, `[n, c, h, w]`, normalised by its own statistics, times `gamma` plus `beta`, `[c]` each; cut off at `ends` if there are some, in
/// the same pass over the map.
pub fn batch_norm_train(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
    ends: Option<Ends>,
) -> Normalized {
    let [images, channels, h, w] = x.dims();
    let fits = [&gamma, &beta].iter().all(|t| t.dims() == [channels]);
    let operands = (Argument::of(&x), Argument::of(&gamma), Argument::of(&beta));
    if let ((Some(a), Some(b), Some(c)), true) = (operands, fits && h * w > 0) {
        drop(x);
        let norm = BatchNorm {
            images,
            channels,
            pixels: h * w,
            epsilon: epsilon as f32,
            ends,
        };
        let device = gamma.device().inner();
        let (output, statistics) = apply([a, b, c], Normalization, |operands, tracked| {
            forward(norm, operands, tracked)
        });
        let constant =
            |values: Vec<f32>| Tensor::from_data(TensorData::new(values, [channels]), &device);
        return Normalized {
            output,
            mean: constant(statistics.mean),
            variance: constant(statistics.variance),
        };
    }
    let found = module::batch_norm_train(x, gamma, beta, epsilon);
    Normalized {
        output: match ends {
            Some(ends) => burns(found.output, ends),
            None => found.output,
        },
        mean: found.mean.inner(),
        variance: found.variance.inner(),
    }
}

#[derive(Clone, Debug)]
struct State {
    norm: BatchNorm,
    statistics: Statistics,
    operands: [FlexTensor; 3],
}

fn forward(
    norm: BatchNorm,
    operands: [FlexTensor; 3],
    tracked: bool,
) -> (FlexTensor, Option<State>, Statistics) {
    let operands = operands.map(|t| t.to_contiguous());
    let [x, gamma, beta] = &operands;
    let shape: [usize; 4] = x.shape().dims();
    let mut y = pool::take(values(x).len());
    let statistics = norm
        .forward(values(x), values(gamma), values(beta), &mut y)
        .expect(LENGTHS);
    let state = tracked.then(|| State {
        norm,
        statistics: statistics.clone(),
        operands,
    });
    (tensor(y, shape), state, statistics)
}

/// Operands: x, gamma, beta.
#[derive(Debug)]
struct Normalization;

impl Backward<Flex, 3> for Normalization {
    type State = State;

    fn backward(self, ops: Ops<State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let mut gradient = into_values(grads.consume::<Flex>(&ops.node));
        let State {
            norm,
            statistics,
            operands: [x, gamma, beta],
        } = ops.state;
        let found = norm
            .backward(
                values(&x),
                values(&gamma),
                values(&beta),
                &statistics,
                &mut gradient,
            )
            .expect(LENGTHS);
        let shape: [usize; 4] = x.shape().dims();
        recycle(x);
        let [x, gamma, beta] = ops.parents;
        match x {
            Some(x) => grads.register::<Flex>(x.id, tensor(gradient, shape)),
            None => pool::give(gradient),
        }
        for (node, values) in [(gamma, found.gamma), (beta, found.beta)] {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, [norm.channels]));
            }
        }
    }
}
