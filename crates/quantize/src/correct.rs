//! Bias correction from BatchNorm alone: what rounding the weights takes from a layer's outputs on average is added to its bias (Nagel et
//! al. 2019, section 4.2), no image being needed.

use std::collections::BTreeMap;

use network::{Network, Op};
use quant_core::words;

use crate::error::Error;
use crate::moments::analytic_correction;
use crate::quantize::QuantizedNet;

/// Whether biases make up for what rounding does to the mean of a layer's outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BiasCorrection {
    /// They stay.
    None,
    /// By the means that BatchNorms promise.
    Analytic,
    /// By those of calibration images, layer after layer ([`crate::quantize_by_layer`]).
    Empirical,
}

words!(BiasCorrection, "bias_correction": None = "none", Analytic = "analytic", Empirical = "empirical");

impl QuantizedNet {
    /// Adds to the bias of every layer what its rounded weights lost on average of `float`, the same network before, whose layers'
    /// inputs are expected to have the means `expected` in each channel ([`crate::expected_inputs`]). A layer of which nothing is
    /// expected stays as it is; the manifest says both. The network has no BatchNorms, and biases that are not rounded yet.
    ///
    /// # Errors
    /// [`Error::Network`] where `float` is another network.
    pub fn correct_biases(
        &mut self,
        float: &Network,
        expected: &BTreeMap<String, Option<Vec<f64>>>,
    ) -> Result<(), Error> {
        let topology = self.topology.clone();
        for layer in topology.layers() {
            let node = topology.node(layer);
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
            let Some(decision) = self.manifest.iter_mut().find(|d| d.tensor == weight) else {
                continue;
            };
            if !decision.quantized {
                continue;
            }
            let Some(Some(means)) = expected.get(&node.name) else {
                decision.reason += "; bias not corrected: no BatchNorm says what the layer reads";
                continue;
            };
            let groups = match node.op {
                Op::Conv { groups, .. } => groups,
                _ => 1,
            };
            let (before, rounded) = (
                float.tensors().require(&weight)?,
                self.state.require(&weight)?,
            );
            let correction = analytic_correction(before, rounded, groups, means);
            let largest = correction.iter().fold(0.0_f64, |most, c| most.max(c.abs()));
            decision.reason += &format!("; bias corrected by at most {largest:.3e}");
            let old = self.state.get(&bias).map(|bias| bias.data.clone());
            let old = old.unwrap_or_else(|| vec![0.0; correction.len()]);
            let pairs = old.iter().zip(&correction);
            let new: Vec<f32> = pairs.map(|(&b, c)| (f64::from(b) + c) as f32).collect();
            self.put_bias(&node.name, new)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BiasPolicy, BnMode, WeightQuantization, expected_inputs, fold, quantize};
    use quant_core::{Bits, Scheme};
    use resnet::{Arch, network, random_state};

    #[test]
    fn a_bias_gains_what_the_rounded_weights_lose_of_the_expected_input() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let network = network(&arch, random_state(&arch, 7)).unwrap();
        let how = WeightQuantization {
            scheme: Some(Scheme::linear(Bits::new(3).unwrap())),
            first_bits: None,
            last_bits: None,
            bits_of: BTreeMap::new(),
            bias: BiasPolicy::Float,
            bn: BnMode::Folded,
        };
        let expected = expected_inputs(&network).unwrap();
        let float = fold(&network).unwrap();
        let plain = quantize(&network, &how).unwrap();
        let mut net = plain.clone();
        net.correct_biases(&float, &expected).unwrap();

        // The images' means are unknown: the first layer stays as it is.
        let bias = |net: &QuantizedNet, layer: &str| {
            net.state
                .get(&format!("{layer}.bias"))
                .unwrap()
                .data
                .clone()
        };
        assert_eq!(bias(&net, "conv1"), bias(&plain, "conv1"));
        let layer = "layer2.0.conv2";
        let means = expected[layer].as_ref().unwrap();
        let weight = |state: &network::StateDict| {
            state.get(&format!("{layer}.weight")).unwrap().data.clone()
        };
        let (w, q) = (weight(float.tensors()), weight(&net.state));
        for (o, (new, old)) in bias(&net, layer)
            .iter()
            .zip(bias(&plain, layer))
            .enumerate()
        {
            let each = means.len() * 9;
            let lost: f64 = (0..each)
                .map(|i| f64::from(w[o * each + i] - q[o * each + i]) * means[i / 9])
                .sum();
            assert!(
                (f64::from(*new) - f64::from(old) - lost).abs() < 1e-4,
                "{o}"
            );
        }
        let line = |tensor: &str| {
            let line = net.manifest.iter().find(|d| d.tensor == tensor).unwrap();
            line.reason.clone()
        };
        assert!(line("conv1.weight").contains("bias not corrected"));
        assert!(line("layer2.0.conv2.weight").contains("bias corrected by at most"));
    }
}
