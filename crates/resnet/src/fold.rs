//! Folding BatchNorm into the convolution before it.
//!
//! At inference BatchNorm is one multiplication and one addition per channel, so for output channel `c`
//!
//! ```text
//! k[c]  = gamma[c] / sqrt(running_var[c] + eps)
//! w'[c] = w[c] * k[c]                                  (1)
//! b'[c] = beta[c] + (b[c] - running_mean[c]) * k[c]    (2)   b = 0 where the convolution has no bias
//! ```
//!
//! in float32 (Jacob et al. 2018, section 3.2, equation 14). The two networks compute the same function; their logits
//! differ by float32 rounding alone.

use crate::arch::{Arch, BN_EPSILON};
use crate::error::Error;
use crate::state_dict::{HostTensor, StateDict};

/// `state` with every BatchNorm folded away: convolutions have `.weight` and `.bias`, no BatchNorm tensor is left. A
/// state that is folded already comes back as it is. Fails when a tensor of `arch` is missing.
pub fn fold(arch: &Arch, state: &StateDict) -> Result<StateDict, Error> {
    let mut folded = state.clone();
    for unit in arch.layout().units() {
        let Some(gamma) = folded.remove(&format!("{}.weight", unit.bn)) else {
            continue;
        };
        let mut take = |name: String| folded.take(&name);
        let beta = take(format!("{}.bias", unit.bn))?;
        let mean = take(format!("{}.running_mean", unit.bn))?;
        let variance = take(format!("{}.running_var", unit.bn))?;
        let weight = take(format!("{}.weight", unit.conv))?;
        let bias = folded.remove(&format!("{}.bias", unit.conv));

        let k: Vec<f32> = gamma
            .data
            .iter()
            .zip(&variance.data)
            .map(|(g, v)| g / (v + BN_EPSILON as f32).sqrt())
            .collect();
        let per_channel = weight.data.len() / unit.output;
        let folded_weight = weight
            .data
            .chunks_exact(per_channel)
            .zip(&k)
            .flat_map(|(channel, k)| channel.iter().map(move |w| w * k))
            .collect();
        let folded_bias = (0..unit.output)
            .map(|c| match &bias {
                None => beta.data[c] - mean.data[c] * k[c],
                Some(bias) => beta.data[c] + (bias.data[c] - mean.data[c]) * k[c],
            })
            .collect();
        folded.insert(
            format!("{}.weight", unit.conv),
            HostTensor::new(weight.shape, folded_weight)?,
        );
        folded.insert(
            format!("{}.bias", unit.conv),
            HostTensor::new(vec![unit.output], folded_bias)?,
        );
    }
    Ok(folded)
}
