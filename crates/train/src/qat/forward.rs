//! The network's forward pass with its quantizers, on any device.

use burn::tensor::Tensor;
use quant_core::qat::{Grid, Learns, Method, lsq, lsq_plus, minmax, pact};
use quant_core::{QParams, Values, parameters};

use super::{Qat, unit};
use crate::error::Error;
use crate::float::linear;
use crate::forward::{Hooks, Tapped, clipped, forward};
use crate::ops::fake_quant;
use crate::tensors::{Measured, Probe, Read, Tensors};
use network::{Op, StateDict, Topology};
use quantize::Unit;
use quantize::names;

/// Which of the things that change in the course of a training hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// BatchNorm normalises by the batch and moves its running statistics; otherwise by those.
    pub batch_statistics: bool,
    /// Activations are quantized.
    pub activations: bool,
    /// Moving ranges move.
    pub ranges: bool,
}

impl Phase {
    /// The network as it will run.
    pub const INFERENCE: Phase = Phase {
        batch_statistics: false,
        activations: true,
        ranges: false,
    };
}

/// One forward pass.
pub(super) struct Pass<'a> {
    pub qat: &'a Qat,
    pub tensors: &'a Tensors,
    pub phase: Phase,
    pub(super) state: &'a StateDict,
    pub(super) measured: Measured,
    probe: Probe<'a>,
}

impl Qat {
    /// Logits `[n, classes]` of normalised images `[n, 3, h, w]`, and what was measured on the way. `tensors` is `state` on the
    /// images' device.
    ///
    /// # Errors
    /// A tensor that is missing; weights or a site that cannot be quantized (NaN, infinity), by name.
    pub fn forward(
        &self,
        state: &StateDict,
        tensors: &Tensors,
        images: Tensor<4>,
        phase: Phase,
    ) -> Result<(Tensor<2>, Measured), Error> {
        self.forward_probed(state, tensors, images, phase, &mut |_, _| {})
    }

    /// [`Qat::forward`], showing every unit's output (behind its ReLU, where one follows at once) and every site's value before rounding.
    ///
    /// # Errors
    /// As [`Qat::forward`].
    pub fn forward_probed(
        &self,
        state: &StateDict,
        tensors: &Tensors,
        images: Tensor<4>,
        phase: Phase,
        probe: Probe<'_>,
    ) -> Result<(Tensor<2>, Measured), Error> {
        let mut pass = Pass {
            qat: self,
            tensors,
            phase,
            state,
            measured: Measured::default(),
            probe,
        };
        let logits = forward(&self.topology, images, &mut pass)?;
        Ok((logits, pass.measured))
    }
}

impl Hooks for Pass<'_> {
    fn layer(
        &mut self,
        topology: &Topology,
        unit: &Unit,
        x: Tensor<4>,
    ) -> Result<Tensor<4>, Error> {
        let node = topology.node(unit.head);
        let y = match node.op {
            Op::Linear { .. } => clipped(topology, unit, self.linear(&node.name, x)?),
            _ => unit::run(self, topology, unit, x)?,
        };
        (self.probe)(&node.name, &y);
        Ok(y)
    }

    /// A site's values on their grid.
    fn site(&mut self, site: &str, x: Tensor<4>) -> Result<Tapped, Error> {
        (self.probe)(site, &x);
        let Some(owner) = self.qat.owners.get(site) else {
            return Ok(x.into());
        };
        if self.phase.ranges && self.qat.spec.method == Method::MinMax {
            self.move_range(site, &x)?;
        }
        if !self.phase.activations {
            return Ok(x.into());
        }
        let grid = self.site_grid(owner, &x)?;
        if self.qat.is_forked(site) {
            return Ok(Tapped::forked(fake_quant(x.clone(), &grid), x));
        }
        Ok(fake_quant(x, &grid).into())
    }
}

impl Pass<'_> {
    fn linear(&mut self, name: &str, x: Tensor<4>) -> Result<Tensor<4>, Error> {
        let weight = self.tensors.matrix(&format!("{name}.weight"))?;
        let weight = self.weight(name, weight, 1.0)?;
        let bias = self.tensors.vector(&format!("{name}.bias"));
        Ok(linear(x, weight, bias.ok()))
    }

    /// A layer's weights on their grid, whose learned step is in units of `unit`.
    pub(super) fn weight<const D: usize>(
        &self,
        layer: &str,
        weight: Tensor<D>,
        unit: f32,
    ) -> Result<Tensor<D>, Error> {
        let scheme = self.qat.scheme(layer)?;
        let bounds = scheme.quant_bounds();
        if self.qat.spec.method.learns_weight_steps() {
            let step = self.tensors.vector(&names::weight(layer, "step"))?;
            let step = if unit == 1.0 { step } else { step * unit };
            let zero_point = self.tensors.vector(&names::weight(layer, "zero_point"));
            let shared = weight.dims().iter().product::<usize>() / step.dims()[0];
            let grid = lsq::grid(step, zero_point.ok(), bounds, shared);
            return Ok(fake_quant(weight, &grid));
        }
        let name = format!("{layer}.weight");
        let mut read = Read::default();
        read.tensor(&name, weight.clone().inner());
        let found = read.execute()?;
        let data = &found.require(&name)?.data;
        let params = parameters(&Values::new(&name, data, &weight.dims())?, &scheme);
        Ok(match minmax::constant_grid(&params, &weight) {
            Some(grid) => fake_quant(weight, &grid),
            None => weight,
        })
    }

    fn site_grid(&self, owner: &str, x: &Tensor<4>) -> Result<Grid, Error> {
        let [_, c, h, w] = x.dims();
        let vector = |part: &str| self.tensors.vector(&names::site(owner, part));
        let params = self.qat.site_params(self.state, owner)?;
        let bounds = (params.quant_min, params.quant_max);
        // A zero point that stays, if it is not 0.
        let fixed = || {
            let constant = minmax::constant_grid(&[params], x);
            constant.and_then(|grid| grid.zero_point)
        };
        Ok(match self.qat.spec.method {
            Method::MinMax => constant(&params, x),
            Method::Lsq => lsq::grid(vector("step")?, fixed(), bounds, c * h * w),
            Method::LsqPlus => {
                lsq_plus::grid(vector("step")?, vector("offset")?, bounds, c * h * w)
            }
            Method::Pact => pact::grid(vector("bound")?, fixed(), bounds),
        })
    }

    fn move_range(&mut self, site: &str, x: &Tensor<4>) -> Result<(), Error> {
        let name = names::site(site, "range");
        let old = self.tensors.vector(&name)?.inner();
        let x = x.clone().inner();
        let batch = Tensor::cat(vec![x.clone().min(), x.max()], 0);
        let momentum = self.qat.spec.range_momentum;
        let new = old * momentum + batch * (1.0 - momentum);
        self.measured.push(&name, new);
        Ok(())
    }
}

/// A grid that stays.
pub(crate) fn constant(params: &QParams, x: &Tensor<4>) -> Grid {
    minmax::constant_grid(&[*params], x).unwrap_or_else(|| Grid {
        scale: Tensor::ones([1], &x.device()),
        zero_point: None,
        quant_min: params.quant_min,
        quant_max: params.quant_max,
        learns: Learns::Nothing,
    })
}
