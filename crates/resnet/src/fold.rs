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

use crate::arch::{Arch, BN_EPSILON, ConvUnit};
use crate::error::Error;
use network::{HostTensor, StateDict};

/// `state` with every BatchNorm folded away: convolutions have `.weight` and `.bias`, no BatchNorm tensor is left. A
/// state that is folded already comes back as it is. Fails when a tensor of `arch` is missing.
pub fn fold(arch: &Arch, state: &StateDict) -> Result<StateDict, Error> {
    let mut folded = state.clone();
    for unit in arch.layout().units() {
        let Some(bn) = BatchNorm::take(&mut folded, unit)? else {
            continue;
        };
        let weight = folded.take(&format!("{}.weight", unit.conv))?;
        let bias = folded.remove(&format!("{}.bias", unit.conv));

        let k = bn.scale();
        let per_channel = weight.data.len() / unit.output;
        let folded_weight = weight
            .data
            .chunks_exact(per_channel)
            .zip(&k)
            .flat_map(|(channel, k)| channel.iter().map(move |w| w * k))
            .collect();
        let folded_bias = bn.shift(&k, bias.as_ref().map(|bias| bias.data.as_slice()));
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

/// A unit's BatchNorm, one value per output channel.
pub(crate) struct BatchNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
}

impl BatchNorm {
    /// Takes the tensors of `unit`'s BatchNorm out of `state`; none where it has been folded. Fails when only some of
    /// them are there, or they do not have one value per channel.
    pub fn take(state: &mut StateDict, unit: &ConvUnit) -> Result<Option<Self>, Error> {
        if !state.contains(&format!("{}.weight", unit.bn)) {
            return Ok(None);
        }
        let mut take =
            |part: &str| state.take_shaped(&format!("{}.{part}", unit.bn), &[unit.output]);
        Ok(Some(Self {
            gamma: take("weight")?,
            beta: take("bias")?,
            mean: take("running_mean")?,
            variance: take("running_var")?,
        }))
    }

    /// [`BatchNorm::take`], leaving `state` as it is.
    ///
    /// # Errors
    /// As there.
    pub fn copy(state: &StateDict, unit: &ConvUnit) -> Result<Option<Self>, Error> {
        let parts = ["weight", "bias", "running_mean", "running_var"];
        let names = parts.map(|part| format!("{}.{part}", unit.bn));
        let own = names.into_iter().filter_map(|name| {
            let tensor = state.get(&name)?.clone();
            Some((name, tensor))
        });
        Self::take(&mut own.collect(), unit)
    }

    /// `k` of the module's header.
    pub fn scale(&self) -> Vec<f32> {
        let variances = self.gamma.iter().zip(&self.variance);
        variances
            .map(|(g, v)| g / (v + BN_EPSILON as f32).sqrt())
            .collect()
    }

    /// The running variances.
    pub fn variance(&self) -> &[f32] {
        &self.variance
    }

    /// `b'` of equation (2), for `k` from [`BatchNorm::scale`] and the convolution's own bias.
    pub fn shift(&self, k: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        (0..k.len())
            .map(|c| match bias {
                None => self.beta[c] - self.mean[c] * k[c],
                Some(bias) => self.beta[c] + (bias[c] - self.mean[c]) * k[c],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random_state;

    #[test]
    fn a_channel_is_folded_by_the_formula_with_and_without_a_bias() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 1);
        let set = |state: &mut StateDict, name: &str, value: f32| {
            state.get_mut(name).unwrap().data[3] = value;
        };
        set(&mut state, "bn1.weight", 3.0);
        set(&mut state, "bn1.bias", -1.0);
        set(&mut state, "bn1.running_mean", 0.5);
        set(&mut state, "bn1.running_var", 4.0 - BN_EPSILON as f32);
        let first = state.get("conv1.weight").unwrap().data[3 * 27];

        let folded = fold(&arch, &state).unwrap();
        assert_eq!(
            folded.get("conv1.weight").unwrap().data[3 * 27],
            first * 1.5
        );
        assert_eq!(folded.get("conv1.bias").unwrap().data[3], -1.0 - 0.5 * 1.5);

        let bias = HostTensor::new(vec![16], vec![2.5; 16]).unwrap();
        state.insert("conv1.bias", bias);
        let folded = fold(&arch, &state).unwrap();
        assert_eq!(
            folded.get("conv1.bias").unwrap().data[3],
            -1.0 + (2.5 - 0.5) * 1.5
        );
    }

    #[test]
    fn a_folded_state_has_the_tensors_of_a_folded_network_and_folds_to_itself() {
        for name in ["cifar-resnet20", "cifar-resnet20-b", "resnet18"] {
            let arch = Arch::parse(name).unwrap().with_classes(3);
            let folded = fold(&arch, &random_state(&arch, 2)).unwrap();
            let expected: std::collections::BTreeMap<_, _> =
                arch.expected_folded().into_iter().collect();
            assert_eq!(folded.shapes(), expected, "{name}");
            assert_eq!(fold(&arch, &folded).unwrap(), folded);
        }
    }

    #[test]
    fn a_missing_statistic_is_named() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 3);
        state.remove("layer2.0.bn1.running_var");
        let error = fold(&arch, &state).unwrap_err().to_string();
        assert!(error.contains("layer2.0.bn1.running_var"), "{error}");
    }
}
