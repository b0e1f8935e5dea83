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

use network::{HostTensor, Network, NodeId, Op, StateDict, Topology};

use crate::error::Error;

/// `network` with every BatchNorm folded away: layers have `.weight` and `.bias`, no BatchNorm is left. A network that is
/// folded already comes back as it is.
///
/// # Errors
/// None for a checked network.
pub fn fold(network: &Network) -> Result<Network, Error> {
    let (topology, mut folded) = network.clone().into_parts();
    for layer in topology.layers() {
        let Some(bn) = BatchNorm::take(&topology, &mut folded, layer)? else {
            continue;
        };
        let name = &topology.node(layer).name;
        let weight = folded.take(&format!("{name}.weight"))?;
        let bias = folded.remove(&format!("{name}.bias"));

        let k = bn.scale();
        let per_channel = weight.data.len() / k.len();
        let folded_weight = weight
            .data
            .chunks_exact(per_channel)
            .zip(&k)
            .flat_map(|(channel, k)| channel.iter().map(move |w| w * k))
            .collect();
        let folded_bias = bn.shift(&k, bias.as_ref().map(|bias| bias.data.as_slice()));
        folded.insert(
            format!("{name}.weight"),
            HostTensor::new(weight.shape, folded_weight)?,
        );
        folded.insert(
            format!("{name}.bias"),
            HostTensor::new(vec![k.len()], folded_bias)?,
        );
    }
    Ok(Network::new(topology.without_norms(), folded)?)
}

/// A layer's BatchNorm, one value per output channel.
pub struct BatchNorm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    mean: Vec<f32>,
    variance: Vec<f32>,
    epsilon: f32,
}

impl BatchNorm {
    /// Takes the tensors of a layer's BatchNorm out of `tensors`; none where it has none. Fails when one of them is not there, or
    /// they do not have one value per channel.
    pub fn take(
        topology: &Topology,
        tensors: &mut StateDict,
        layer: NodeId,
    ) -> Result<Option<Self>, Error> {
        let Some(norm) = topology.norm(layer) else {
            return Ok(None);
        };
        let node = topology.node(norm);
        let Op::BatchNorm { epsilon } = node.op else {
            return Ok(None);
        };
        let channels = topology.shape(node.inputs[0]).channels;
        let mut take =
            |part: &str| tensors.take_shaped(&format!("{}.{part}", node.name), &[channels]);
        Ok(Some(Self {
            gamma: take("weight")?,
            beta: take("bias")?,
            mean: take("running_mean")?,
            variance: take("running_var")?,
            epsilon: epsilon as f32,
        }))
    }

    /// [`BatchNorm::take`], leaving `tensors` as they are.
    ///
    /// # Errors
    /// As there.
    pub fn copy(
        topology: &Topology,
        tensors: &StateDict,
        layer: NodeId,
    ) -> Result<Option<Self>, Error> {
        let norm = topology.norm(layer);
        let mut own = norm.map_or_else(StateDict::new, |norm| of_node(topology, tensors, norm));
        Self::take(topology, &mut own, layer)
    }

    /// `k` of the module's header.
    pub fn scale(&self) -> Vec<f32> {
        let variances = self.gamma.iter().zip(&self.variance);
        variances
            .map(|(g, v)| g / (v + self.epsilon).sqrt())
            .collect()
    }

    /// What its output is multiplied by: the deviation of each channel behind it, up to the sign.
    pub fn gamma(&self) -> &[f32] {
        &self.gamma
    }

    /// What is added: the mean of each channel behind it.
    pub fn beta(&self) -> &[f32] {
        &self.beta
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

/// Copies of a node's tensors, as far as they are there.
pub(crate) fn of_node(topology: &Topology, tensors: &StateDict, id: NodeId) -> StateDict {
    let wanted = topology.wanted(id).filter_map(|(name, ..)| {
        let tensor = tensors.get(&name)?.clone();
        Some((name, tensor))
    });
    wanted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use resnet::{Arch, BN_EPSILON};
    use resnet::{network, random_state};

    fn folded(arch: &Arch, state: &StateDict) -> StateDict {
        let network = network(arch, state.clone()).unwrap();
        fold(&network).unwrap().into_parts().1
    }

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

        let folds = folded(&arch, &state);
        assert_eq!(folds.get("conv1.weight").unwrap().data[3 * 27], first * 1.5);
        assert_eq!(folds.get("conv1.bias").unwrap().data[3], -1.0 - 0.5 * 1.5);

        let bias = HostTensor::new(vec![16], vec![2.5; 16]).unwrap();
        state.insert("conv1.bias", bias);
        let folds = folded(&arch, &state);
        assert_eq!(
            folds.get("conv1.bias").unwrap().data[3],
            -1.0 + (2.5 - 0.5) * 1.5
        );
    }

    #[test]
    fn a_folded_state_has_the_tensors_of_a_folded_network_and_folds_to_itself() {
        for name in ["cifar-resnet20", "cifar-resnet20-b", "resnet18"] {
            let arch = Arch::parse(name).unwrap().with_classes(3);
            let once = folded(&arch, &random_state(&arch, 2));
            let expected: std::collections::BTreeMap<_, _> =
                arch.expected_folded().into_iter().collect();
            assert_eq!(once.shapes(), expected, "{name}");
            assert_eq!(folded(&arch, &once).sha256(), once.sha256());
        }
    }

    #[test]
    fn a_missing_statistic_is_named() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = random_state(&arch, 3);
        state.remove("layer2.0.bn1.running_var");
        let error = network(&arch, state).unwrap_err().to_string();
        assert!(error.contains("layer2.0.bn1.running_var"), "{error}");
    }
}
