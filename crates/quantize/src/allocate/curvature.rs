//! How much the loss, and the divergence from the float network's answers, bend when a layer's weights are moved: traces of the Hessian
//! and of the Fisher information, without a derivative.
//!
//! Hutchinson's estimate: for `v` of independent signs, `v' H v` is the trace of `H` on average. With the network at `w + e v` and at
//! `w - e v`, `e` being [`STEP`] of the layer's root mean square weight, and `L` the mean loss of images with labels, `z` the logits,
//! `p = softmax(z)`:
//!
//! ```text
//! v' H v = (L(w + e v) - 2 L(w) + L(w - e v)) / e^2                                               (1)
//! v' F v = mean of  sum_j p_j d_j^2 - (sum_j p_j d_j)^2,   d = (z(w + e v) - z(w - e v)) / 2e     (2)
//! ```
//!
//! (2) is the Hessian of the divergence at the float weights. Differences see the bend over a step of this size, ReLUs that switch
//! included, which is nearer to what rounding does than a derivative at the point.

use std::collections::BTreeMap;

use network::Network;
use quant_core::uniform;

use crate::error::Error;
use crate::sensitivity::{LogitError, Probe, log_norm};
use crate::sites::SiteCodes;

/// `e` above, in the root mean square of a layer's weights.
const STEP: f64 = 0.02;
/// Draws of `v`.
const DRAWS: u64 = 4;
/// Images whose logits are held at once.
const BLOCK: usize = 64;

/// The mean of the diagonal of a layer's block of each matrix, in nats through the weights' unit squared, by layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curvature {
    /// Of the loss.
    pub hessian: BTreeMap<String, f64>,
    /// Of the divergence.
    pub fisher: BTreeMap<String, f64>,
}

/// Those of `network` on `images`, `[n, c, height, width]`, with these labels.
///
/// # Errors
/// As [`Probe::run`].
pub fn curvature(
    network: &Network,
    (images, labels, size): (&[f32], &[u16], [usize; 2]),
) -> Result<Curvature, Error> {
    let float = crate::fold(network)?;
    let mut found = Curvature::default();
    let each = images.len() / labels.len().max(1);
    for draw in 0..DRAWS {
        let mut probe = Probe::new(float.clone(), size, &SiteCodes::new())?;
        for sign in [1.0, -1.0] {
            probe.weights(&moved(&float, draw, sign)?, &|_| true)?;
        }
        let layers = probe.changes() / 2;
        let classes = probe.classes();
        // Of each layer: the sums of losses at both sides, of the middle's, and of (2) times (2e)^2.
        let mut sums = vec![[0.0; 3]; layers];
        let mut middle = 0.0;
        for (block, labels) in labels.chunks(BLOCK).enumerate() {
            let images = &images[block * BLOCK * each..][..labels.len() * each];
            let fresh = || vec![Vec::new(); 2 * layers + 1];
            let keep = |kept: &mut Vec<Vec<f32>>, change: Option<usize>, _, logits: &[f32]| {
                kept[change.map_or(2 * layers, |change| change)] = logits.to_vec();
            };
            let mut labels = labels;
            for kept in probe.run(images, &fresh, &keep)? {
                let own = &kept[2 * layers];
                let (now, rest) = labels.split_at(own.len() / classes);
                labels = rest;
                for (image, (own, &label)) in own.chunks_exact(classes).zip(now).enumerate() {
                    let loss = |logits: &[f32]| {
                        let mut error = LogitError::default();
                        error.add(own, logits, label);
                        error.loss
                    };
                    middle += loss(own);
                    for (layer, sums) in sums.iter_mut().enumerate() {
                        let [up, down] = [layer, layer + layers]
                            .map(|change| &kept[change][image * classes..][..classes]);
                        sums[0] += loss(up);
                        sums[1] += loss(down);
                        sums[2] += spread(own, up, down);
                    }
                }
            }
        }
        let count = labels.len().max(1) as f64;
        for (layer, sums) in sums.iter().enumerate() {
            let name = probe.name(layer).to_owned();
            let weight = float.tensors().require(&format!("{name}.weight"))?;
            let step = step(&weight.data);
            let n = weight.data.len() as f64 * DRAWS as f64 * count * step * step;
            let bend = (sums[0] - 2.0 * middle + sums[1]) / n;
            *found.hessian.entry(name.clone()).or_default() += bend;
            *found.fisher.entry(name).or_default() += sums[2] / (4.0 * n);
        }
    }
    Ok(found)
}

/// The network with every weight moved by a step of a drawn sign.
fn moved(float: &Network, draw: u64, sign: f32) -> Result<Network, Error> {
    let (topology, mut tensors) = float.clone().into_parts();
    for layer in topology.layers() {
        let name = format!("{}.weight", topology.node(layer).name);
        let seed = name.bytes().fold(draw, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        if let Some(weight) = tensors.get_mut(&name) {
            let step = step(&weight.data) as f32 * sign;
            for (i, w) in weight.data.iter_mut().enumerate() {
                *w += if uniform(seed, i as u64) < 0.5 {
                    step
                } else {
                    -step
                };
            }
        }
    }
    Ok(Network::new(topology, tensors)?)
}

/// `e` of a layer with these weights.
fn step(weights: &[f32]) -> f64 {
    let squares: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
    let rms = (squares / weights.len().max(1) as f64).sqrt();
    // A layer of zeros is moved as well.
    if rms > 0.0 { STEP * rms } else { STEP }
}

/// (2) of one image, times `(2e)^2`.
fn spread(own: &[f32], up: &[f32], down: &[f32]) -> f64 {
    let norm = log_norm(own);
    let (mut mean, mut square) = (0.0, 0.0);
    for ((&z, &up), &down) in own.iter().zip(up).zip(down) {
        let p = (f64::from(z) - norm).exp();
        let d = f64::from(up) - f64::from(down);
        mean += p * d;
        square += p * d * d;
    }
    (square - mean * mean).max(0.0)
}
