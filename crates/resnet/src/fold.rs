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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random_state;

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
