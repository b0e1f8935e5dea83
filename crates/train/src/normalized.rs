//! BatchNorm by the batch's own statistics, as training has it.
//!
//! Running statistics move a tenth of the way at each step, the variance unbiased, as in PyTorch.

use burn::tensor::Tensor;
use network::{NodeId, Op, Topology};

use crate::error::Error;
use crate::forward::clipped;
use crate::ops::batch_norm_train;
use crate::tensors::{Measured, Tensors};
use quantize::Unit;

/// How far running statistics move.
const MOMENTUM: f64 = 0.1;

/// `z`, `[n, c, h, w]`, normalised by the batch normalization `norm`, the step's clipping behind it. What the running statistics
/// become goes to `measured`.
pub(crate) fn by_batch(
    (topology, unit, norm): (&Topology, &Unit, NodeId),
    z: Tensor<4>,
    tensors: &Tensors,
    measured: &mut Measured,
) -> Result<Tensor<4>, Error> {
    let norm = topology.node(norm);
    let Op::BatchNorm { epsilon } = norm.op else {
        return Err(network::Error::missing(&norm.name).into());
    };
    let name = |part: &str| format!("{}.{part}", norm.name);
    let (gamma, beta) = (
        tensors.vector(&name("weight"))?,
        tensors.vector(&name("bias"))?,
    );
    let [n, _, h, w] = z.dims();
    let found = batch_norm_train(z, gamma, beta, epsilon, unit.ends(topology));
    let m = (n * h * w) as f64;
    let unbiased = found.variance * (m / (m - 1.0).max(1.0));
    for (part, now) in [("running_mean", found.mean), ("running_var", unbiased)] {
        let old = tensors.vector(&name(part))?.inner();
        measured.push(&name(part), old * (1.0 - MOMENTUM) + now * MOMENTUM);
    }
    Ok(match unit.each(topology) {
        Some(_) => clipped(topology, unit, found.output),
        None => found.output,
    })
}
