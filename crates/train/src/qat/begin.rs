//! The state that a training begins with: a float network, and quantizers from what calibration saw.
//!
//! [`Start::Ptq`] takes every scale and zero point as post-training quantization would, so that training begins with that
//! network's accuracy. [`Start::Float`] takes the method's own initial steps: `lsq` from mean magnitudes, `lsq_plus` from
//! mean and deviation of weights and the whole range of activations. `minmax` and `pact` know no other start than the former.

use quant_core::qat::{Method, SMALLEST_STEP, lsq, lsq_plus, pact};
use quant_core::{Histogram, QParams, Scheme, Statistics, Values, fit_activation, parameters};

use super::{Qat, QatBn};
use network::{HostTensor, Network, StateDict};
use quantize::Error;
use quantize::SiteStatistics;
use quantize::fold;
use quantize::names;

/// Where quantizers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// The method's own initial values.
    Float,
    /// Post-training quantization.
    Ptq,
}

quant_core::words!(Start, "qat.start": Ptq = "ptq", Float = "float");

impl Qat {
    /// The state of a training that has not made a step: the tensors of the float network `network` (folded already, or not),
    /// and quantizers from `statistics`.
    ///
    /// # Errors
    /// A network without BatchNorm where [`QatBn`] needs one; a tensor or site that cannot be quantized, by name.
    pub fn begin(
        &self,
        network: &Network,
        statistics: &SiteStatistics,
        start: Start,
    ) -> Result<StateDict, Error> {
        let folded = fold(network)?;
        let mut state = match self.spec.bn {
            QatBn::Static => folded.tensors().clone(),
            QatBn::Kept | QatBn::Folded => network.tensors().clone(),
        };
        if self.spec.method.learns_weight_steps() {
            let quantized = match self.rounds_own_weights() {
                true => network,
                false => &folded,
            };
            for layer in self.layers() {
                let weight = quantized.tensors().require(&format!("{layer}.weight"))?;
                self.begin_weight(&mut state, layer, weight, start)?;
            }
        }
        for (site, owner) in &self.owners {
            if self.spec.method == Method::MinMax || site == owner {
                self.begin_site(&mut state, site, statistics, start)?;
            }
        }
        Ok(state)
    }

    fn begin_weight(
        &self,
        state: &mut StateDict,
        layer: &str,
        weight: &HostTensor,
        start: Start,
    ) -> Result<(), Error> {
        let scheme = self.scheme(layer)?;
        let name = format!("{layer}.weight");
        let params = parameters(&Values::new(&name, &weight.data, &weight.shape)?, &scheme);
        let groups = weight.data.chunks_exact(weight.len() / params.len());
        let steps: Vec<Option<f32>> = params
            .iter()
            .zip(groups)
            .map(|(q, group)| match start {
                _ if q.is_float() => None,
                Start::Ptq => Some(q.scale),
                Start::Float => Some(self.first_step(q, group, &scheme)),
            })
            .collect();
        // A channel of zeros is exact on any grid; it gets the finest, which leaves its bias a fine unit.
        let finest = steps.iter().flatten().copied().fold(f32::MAX, f32::min);
        let finest = if finest == f32::MAX { 1.0 } else { finest };
        let unit = self.step_unit(state, layer)?;
        let steps = steps.iter().map(|s| s.unwrap_or(finest) / unit).collect();
        state.insert(names::weight(layer, "step"), vector(steps));
        if params.iter().any(|q| q.zero_point != 0) {
            let zero_points = params.iter().map(|q| q.zero_point as f32).collect();
            state.insert(names::weight(layer, "zero_point"), vector(zero_points));
        }
        Ok(())
    }

    /// The method's own first step for a group of weights.
    fn first_step(&self, q: &QParams, group: &[f32], scheme: &Scheme) -> f32 {
        let n = group.len() as f64;
        let mean = |f: &dyn Fn(f64) -> f64| group.iter().map(|&w| f(f64::from(w))).sum::<f64>() / n;
        match self.spec.method {
            Method::LsqPlus => {
                let centre = mean(&|w| w);
                let deviation = mean(&|w| (w - centre).powi(2)).sqrt();
                lsq_plus::initial_weight_step(centre, deviation, 1 << (scheme.bits().get() - 1))
            }
            _ => lsq::initial_step(mean(&f64::abs), q.quant_max - q.zero_point),
        }
    }

    fn begin_site(
        &self,
        state: &mut StateDict,
        site: &str,
        statistics: &SiteStatistics,
        start: Start,
    ) -> Result<(), Error> {
        let Some(how) = &self.spec.activations else {
            return Ok(());
        };
        let scheme = self.sites.scheme(site, how)?;
        let mut seen = Statistics::new();
        let same = |name: &&String| self.owners.get(*name) == self.owners.get(site);
        let members: Vec<&String> = self.owners.keys().filter(same).collect();
        let alone = self.spec.method == Method::MinMax;
        for member in members.into_iter().filter(|m| !alone || *m == site) {
            let own = statistics.get(member);
            seen.merge(own.ok_or_else(|| network::Error::missing(member))?);
        }
        let fitted = fit_activation(&seen, &scheme).map_err(|reason| Error::Site {
            site: site.to_owned(),
            reason,
        })?;
        let mut put = |part: &str, values: Vec<f32>| {
            state.insert(names::site(site, part), vector(values));
        };
        let dead = seen.is_dead();
        if self.spec.method == Method::MinMax {
            if dead {
                // Not the ends of a grid that stands for no values: the average would take long to forget them.
                put("range", vec![0.0, 0.0]);
                return Ok(());
            }
            // The calibrated grid's ends: with a range method that clips, the average begins with what it found.
            put("range", vec![fitted.lowest(), fitted.highest()]);
            return Ok(());
        }
        let codes = [fitted.quant_min, fitted.quant_max, fitted.zero_point];
        put("codes", codes.map(|code| code as f32).to_vec());
        let step = match (self.spec.method, start) {
            // No magnitude to begin with.
            _ if dead => fitted.scale,
            (Method::Lsq, Start::Float) => {
                let above = fitted.quant_max - fitted.zero_point;
                lsq::initial_step(mean_magnitude(seen.histogram()), above)
            }
            (Method::LsqPlus, Start::Float) => {
                let (lo, hi) = seen.range().unwrap_or((0.0, 0.0));
                let codes = (fitted.quant_max - fitted.quant_min) as f32;
                ((hi.max(0.0) - lo.min(0.0)) / codes).max(SMALLEST_STEP)
            }
            _ => fitted.scale,
        };
        match self.spec.method {
            Method::Pact => put("bound", vec![pact::initial_bound(step, fitted.quant_max)]),
            _ => put("step", vec![step]),
        }
        if self.spec.method == Method::LsqPlus {
            let lo = seen.range().map_or(0.0, |(lo, _)| lo.min(0.0));
            let begins = match start {
                // The offset of the first code, wherever its code lies.
                Start::Float => lo - fitted.quant_min as f32 * step,
                Start::Ptq => -(fitted.zero_point as f32) * step,
            };
            put("offset", vec![begins]);
        }
        Ok(())
    }

    /// Holds steps and bounds above 0, and offsets where 0 has a code, after a step of the optimizer.
    pub fn constrain(&self, state: &mut StateDict) {
        for (site, owner) in &self.owners {
            if site != owner {
                continue;
            }
            let read = |state: &StateDict, part: &str| {
                let tensor = state.get(&names::site(site, part));
                tensor.and_then(|t| t.data.first().copied())
            };
            let bounds = |state: &StateDict| {
                let tensor = state.get(&names::site(site, "codes"));
                tensor.map_or((0.0, 0.0), |t| (t.data[0], t.data[1]))
            };
            let (low, high) = bounds(state);
            if let Some(bound) = state.get_mut(&names::site(site, "bound")) {
                bound.data[0] = bound.data[0].max(SMALLEST_STEP * high.max(1.0));
            }
            if let Some(step) = state.get_mut(&names::site(site, "step")) {
                step.data[0] = step.data[0].max(SMALLEST_STEP);
            }
            if let (Some(step), Some(offset)) = (read(state, "step"), read(state, "offset"))
                && let Some(tensor) = state.get_mut(&names::site(site, "offset"))
            {
                tensor.data[0] = offset.max(-step * high).min(-step * low);
            }
        }
        for layer in self.layers() {
            if let Some(steps) = state.get_mut(&names::weight(layer, "step")) {
                let floor = |s: &mut f32| *s = s.max(SMALLEST_STEP);
                steps.data.iter_mut().for_each(floor);
            }
        }
    }
}

/// A tensor of one dimension.
pub(crate) fn vector(values: Vec<f32>) -> HostTensor {
    HostTensor {
        shape: vec![values.len()],
        data: values,
    }
}

/// mean |x|, each bin's values at its middle.
fn mean_magnitude(histogram: &Histogram) -> f64 {
    let middle = |low: f64, high: f64| (0.5 * (low + high)).abs();
    let sum: f64 = histogram
        .bins()
        .map(|bin| bin.count as f64 * middle(bin.low, bin.high))
        .sum();
    sum / (histogram.count().max(1)) as f64
}
