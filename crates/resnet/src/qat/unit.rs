//! A convolution with quantized weights and its BatchNorm, in the three ways of [`QatBn`].
//!
//! With `r = sqrt(running_var + eps)`, a constant, `k = gamma / r`, and Q the weights' fake quantization:
//!
//! ```text
//! static                      y = conv(x, Q(w)) + b
//! folded, batch statistics    y = BN(conv(x, Q(w k) / k))                                     (1)
//! folded, running ones        y = conv(x, Q(w k)) + beta - running_mean k                     (2)
//! kept, batch statistics      y = BN(conv(x, Q(w)))                                           (3)
//! kept, running ones          y = conv(x, Q(w) k) + beta - running_mean k                     (4)
//! ```
//!
//! (1) is Krishnamoorthi's section 4: the grid is that of the weights folded by the *running* deviation, so that it does not
//! jump from batch to batch, while the output is normalised by the batch: dividing by k undoes what folding did, and BN, whose
//! factor is gamma over the batch's deviation, comes to the correction factor of her figure 8. As PyTorch does it, the
//! statistics are those of the quantized convolution, which saves a second one in float. (2) is inference, and what the steps
//! after the freeze train. A channel with gamma 0 has k = 0 and Q(w k) = 0; its quotient is taken as 0.
//!
//! Where every channel has a learned step of its own, Q(w k) is k Q(w) by the unit of its step ([`super::step_unit`]): (1) is (3)
//! and (2) is (4), and the latter are computed.
//!
//! Running statistics move a tenth of the way at each step, the variance unbiased, as in PyTorch.

use burn::tensor::Tensor;

use super::QatBn;
use super::forward::Pass;
use crate::arch::{BN_EPSILON, ConvUnit};
use crate::error::Error;
use crate::ops::{batch_norm_relu_train, batch_norm_train, conv2d, relu};

/// How far running statistics move.
const MOMENTUM: f64 = 0.1;

/// `[c]` as `[c, 1, 1, 1]`.
fn by_output(t: Tensor<1>) -> Tensor<4> {
    let channels = t.dims()[0];
    t.reshape([channels, 1, 1, 1])
}

/// The unit's output, with the ReLU that follows if `activate`.
pub(super) fn run(
    pass: &mut Pass<'_>,
    unit: &ConvUnit,
    x: Tensor<4>,
    activate: bool,
) -> Result<Tensor<4>, Error> {
    let weight = pass.tensors.kernel(&unit.conv)?;
    let (stride, padding) = (unit.stride, unit.padding());
    let rectified = |y: Tensor<4>| if activate { relu(y) } else { y };
    let bn = pass.qat.spec.bn;
    if bn == QatBn::Static {
        let bias = pass.tensors.vector(&format!("{}.bias", unit.conv))?;
        let weight = pass.weight(&unit.conv, weight, 1.0)?;
        return Ok(rectified(conv2d(x, weight, Some(bias), stride, padding)));
    }
    let part = |part: &str| pass.tensors.vector(&format!("{}.{part}", unit.bn));
    let (gamma, beta) = (part("weight")?, part("bias")?);
    let (mean, variance) = (part("running_mean")?.inner(), part("running_var")?.inner());
    let r = (variance.clone() + BN_EPSILON as f32).sqrt();
    let k = gamma.clone() / r;
    let shift = beta.clone() - mean.clone() * k.clone();
    let own = pass.qat.rounds_own_weights();
    let step_unit = pass.qat.step_unit(pass.state, &unit.conv)?;
    if !pass.phase.batch_statistics {
        let weight = if own {
            pass.weight(&unit.conv, weight, step_unit)? * by_output(k)
        } else {
            pass.weight(&unit.conv, weight * by_output(k), step_unit)?
        };
        let y = conv2d(x, weight, Some(shift), stride, padding);
        return Ok(rectified(y));
    }
    let weight = if own {
        pass.weight(&unit.conv, weight, step_unit)?
    } else {
        let zero = k.clone().equal_scalar(0.0);
        let quantized = pass.weight(&unit.conv, weight * by_output(k.clone()), step_unit)?;
        quantized / by_output(k.mask_fill(zero, 1.0))
    };
    let z = conv2d(x, weight, None, stride, padding);
    let [n, _, h, w] = z.dims();
    let found = match activate {
        true => batch_norm_relu_train(z, gamma, beta, BN_EPSILON),
        false => batch_norm_train(z, gamma, beta, BN_EPSILON),
    };
    let m = (n * h * w) as f64;
    let unbiased = found.variance * (m / (m - 1.0).max(1.0));
    let moved = |old: Tensor<1>, new: Tensor<1>| old * (1.0 - MOMENTUM) + new * MOMENTUM;
    pass.measure(
        &format!("{}.running_mean", unit.bn),
        moved(mean, found.mean),
    );
    pass.measure(
        &format!("{}.running_var", unit.bn),
        moved(variance, unbiased),
    );
    Ok(found.output)
}
