//! The two operations that training spends its time in, each behind one function, so that a device can have faster ones.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::ConvOptions;

use crate::arch::BN_EPSILON;

/// `[n, c, h, w]` convolved with `[out, c, k, k]`: `[n, out, h', w']`, zeros around the map.
pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
    module::conv2d(x, weight, bias, options)
}

/// `x` normalised by its own statistics, and those: mean and biased variance, `[c]`, constants.
pub(super) fn batch_norm(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
) -> (Tensor<4>, Tensor<1>, Tensor<1>) {
    let found = module::batch_norm_train(x, gamma, beta, BN_EPSILON);
    (found.output, found.mean.inner(), found.variance.inner())
}
