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

use burn::tensor::Tensor;

use super::QatBn;
use super::forward::Pass;
use crate::error::Error;
use crate::forward::clipped;
use crate::normalized::by_batch;
use crate::ops::conv2d;
use network::{Op, Topology};
use quantize::Unit;

/// `[c]` as `[c, 1, 1, 1]`.
fn by_output(t: Tensor<1>) -> Tensor<4> {
    let channels = t.dims()[0];
    t.reshape([channels, 1, 1, 1])
}

/// The step's value, the clipping that follows included.
pub(super) fn run(
    pass: &mut Pass<'_>,
    topology: &Topology,
    unit: &Unit,
    x: Tensor<4>,
) -> Result<Tensor<4>, Error> {
    let node = topology.node(unit.head);
    let conv = &node.name;
    let Op::Conv { groups, window, .. } = node.op else {
        return Err(network::Error::missing(conv).into());
    };
    let weight = pass.tensors.kernel(conv)?;
    let clipped = |y: Tensor<4>| clipped(topology, unit, y);
    let algorithm = pass.qat.spec.convolution;
    let convolve = |x, weight, bias| conv2d(x, weight, bias, (window, groups), algorithm);
    let bn = pass.qat.spec.bn;
    let (Some(norm), false) = (unit.norm, bn == QatBn::Static) else {
        let bias = pass.tensors.vector(&format!("{conv}.bias"));
        let weight = pass.weight(conv, weight, 1.0)?;
        return Ok(clipped(convolve(x, weight, bias.ok())));
    };
    let name = &topology.node(norm).name;
    let Op::BatchNorm { epsilon } = topology.node(norm).op else {
        return Err(network::Error::missing(name).into());
    };
    let part = |part: &str| pass.tensors.vector(&format!("{name}.{part}"));
    let (gamma, beta) = (part("weight")?, part("bias")?);
    let (mean, variance) = (part("running_mean")?.inner(), part("running_var")?.inner());
    let r = (variance.clone() + epsilon as f32).sqrt();
    let k = gamma.clone() / r;
    let shift = beta.clone() - mean.clone() * k.clone();
    let own = pass.qat.rounds_own_weights();
    let step_unit = pass.qat.step_unit(pass.state, conv)?;
    if !pass.phase.batch_statistics {
        let weight = if own {
            pass.weight(conv, weight, step_unit)? * by_output(k)
        } else {
            pass.weight(conv, weight * by_output(k), step_unit)?
        };
        return Ok(clipped(convolve(x, weight, Some(shift))));
    }
    let weight = if own {
        pass.weight(conv, weight, step_unit)?
    } else {
        let zero = k.clone().equal_scalar(0.0);
        let quantized = pass.weight(conv, weight * by_output(k.clone()), step_unit)?;
        quantized / by_output(k.mask_fill(zero, 1.0))
    };
    let z = convolve(x, weight, None);
    by_batch((topology, unit, norm), z, pass.tensors, &mut pass.measured)
}
