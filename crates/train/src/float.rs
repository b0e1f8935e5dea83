//! A network's forward pass in float, as it is trained: every BatchNorm behind its convolution, by the batch's own statistics.

use burn::tensor::Tensor;
use engine::Algorithm;
use network::{Node, Op, Topology};

use crate::error::Error;
use crate::forward::{Hooks, Tapped, clipped, forward};
use crate::normalized::by_batch;
use crate::ops::conv2d;
use crate::tensors::{Measured, Probe, Tensors};
use quantize::Unit;

/// Logits `[n, classes]` of normalised images `[n, c, h, w]`, and the new running statistics. `tensors` has those of the network on
/// the images' device, convolved by `algorithm`; `probe` sees every layer's step.
///
/// # Errors
/// A tensor that is missing, by name.
pub fn forward_float(
    (topology, algorithm): (&Topology, Algorithm),
    tensors: &Tensors,
    images: Tensor<4>,
    probe: Probe<'_>,
) -> Result<(Tensor<2>, Measured), Error> {
    let measured = Measured::default();
    let mut pass = Pass {
        algorithm,
        tensors,
        measured,
        probe,
    };
    let logits = forward(topology, images, &mut pass)?;
    Ok((logits, pass.measured))
}

struct Pass<'a> {
    algorithm: Algorithm,
    tensors: &'a Tensors,
    measured: Measured,
    probe: Probe<'a>,
}

impl Hooks for Pass<'_> {
    fn layer(
        &mut self,
        topology: &Topology,
        unit: &Unit,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, Error> {
        let node = topology.node(unit.head);
        let y = layer(node, self.tensors, x, self.algorithm)?;
        let y = match unit.norm {
            Some(norm) => by_batch((topology, unit, norm), y, self.tensors, &mut self.measured)?,
            None => clipped(topology, unit, y),
        };
        (self.probe)(&node.name, &y);
        Ok(y)
    }

    fn site(&mut self, _: &str, x: Tensor<4>) -> Result<Tapped, Error> {
        Ok(x.into())
    }
}

/// What the layer `node` makes of `x` by itself, with its tensors as they are.
pub(crate) fn layer(
    node: &Node,
    tensors: &Tensors,
    x: Tensor<4>,
    algorithm: Algorithm,
) -> Result<Tensor<4>, Error> {
    let bias = tensors.vector(&format!("{}.bias", node.name)).ok();
    Ok(match node.op {
        Op::Conv { groups, window, .. } => conv2d(
            x,
            tensors.kernel(&node.name)?,
            bias,
            (window, groups),
            algorithm,
        ),
        _ => {
            let weight = tensors.matrix(&format!("{}.weight", node.name))?;
            linear(x, weight, bias)
        }
    })
}

/// A fully connected layer on whole maps: `[n, c, h, w]` by `[outputs, c h w]` plus `[outputs]`: `[n, outputs, 1, 1]`.
pub(crate) fn linear(x: Tensor<4>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let [n, c, h, w] = x.dims();
    let [outputs, _] = weight.dims();
    let y = x.reshape([n, c * h * w]).matmul(weight.transpose());
    let y = match bias {
        Some(bias) => y + bias.unsqueeze::<2>(),
        None => y,
    };
    y.reshape([n, outputs, 1, 1])
}
