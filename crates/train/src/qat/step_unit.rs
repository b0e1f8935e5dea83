//! What the learned step of a layer's weights is measured in.
//!
//! LSQ's factor makes a step move, relative to its size, about as fast as the weights that it rounds (Esser et al. 2020, section
//! 2.2: both are to have `|gradient| / |value|` of one size). It holds where step and weights are measured alike. Folding does not
//! leave it so: the rounded weights are w k, with k of [`quantize::fold`], while w is what is trained, and
//!
//! ```text
//! v = w k      dL/dw = k dL/dv      |dL/dw| / |w| = k^2 |dL/dv| / |v|
//! ```
//!
//! so a step on the scale of v would be 1 / k^2 times as fast as its weights: it wanders where k is small, and where k is large it
//! stands still while weights grow past it. So a step is stored in units of w:
//!
//! - per channel, Q(w k; s |k|) = k Q(w; s): the convolution's own weights are rounded, as with [`QatBn::Kept`], and both are one
//!   training. Its running variance cannot run away from a step that does not follow it, either.
//! - per tensor, where k differs within what shares a step, S = s u with u the root of the mean of k^2 over the channels, a
//!   constant at each step.
//!
//! Nothing is stored in other units where k is no part of the training ([`QatBn::Static`], the classifier).

use quant_core::Granularity;

use super::{Qat, QatBn};
use network::StateDict;
use quantize::BatchNorm;
use quantize::Error;

impl Qat {
    /// Whether the convolutions' own weights are rounded, and folding comes behind that.
    pub(super) fn rounds_own_weights(&self) -> bool {
        let by_channel = self.spec.scheme.granularity() == Granularity::Channel;
        match self.spec.bn {
            QatBn::Kept => true,
            QatBn::Folded => self.spec.method.learns_weight_steps() && by_channel,
            QatBn::Static => false,
        }
    }

    /// `u` of the header for a layer of a training's state; 1 where steps are stored as they are used.
    ///
    /// # Errors
    /// A tensor of the layer's BatchNorm that is missing, by name.
    pub(super) fn step_unit(&self, state: &StateDict, layer: &str) -> Result<f32, Error> {
        // Asked for every layer at every step: what needs no search is answered first.
        let by_k = self.spec.bn == QatBn::Folded && self.spec.method.learns_weight_steps();
        if !by_k || self.rounds_own_weights() {
            return Ok(1.0);
        }
        let Some(id) = self.topology.find(layer) else {
            return Ok(1.0);
        };
        let Some(bn) = BatchNorm::copy(&self.topology, state, id)? else {
            return Ok(1.0);
        };
        let k = bn.scale();
        let squares: f64 = k.iter().map(|&k| f64::from(k).powi(2)).sum();
        let u = (squares / k.len().max(1) as f64).sqrt() as f32;
        // A layer that nothing comes out of has no scale to be measured in.
        Ok(if u.is_normal() { u } else { 1.0 })
    }
}
