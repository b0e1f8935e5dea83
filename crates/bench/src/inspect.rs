//! What quantization does to each layer, seen four ways, the last of which says who is to blame ([`blame`]):
//!
//! - `weights`: the quantized weights against the float ones;
//! - `layer`: the layer's output on the float network's own input, so that only this layer's weights matter (what the
//!   original script's `test_layer` prints);
//! - `network`: the same layer's output inside the quantized network, where the errors of all layers before it arrive
//!   too (`test_net`);
//! - `layer_logits`: the logits of a network in which this layer alone is quantized.
//!
//! Activations stay in float in all of these; [`activations`] looks at theirs. [`table`] prints both.

pub mod activations;
pub mod blame;
pub mod graph;
pub mod table;

use anyhow::{Result, anyhow};
use dataset::Dataset;
use engine::Shape;
use network::Network;
use quant_core::{Comparison, Scheme, Values, compare, quantize};
use report::Histogram;

use crate::device::Target;
use crate::tapped::{Map, Tapped};
use quantize::first_largest;

/// A comparison gathered over many batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Error {
    /// Values compared.
    pub n: usize,
    /// Largest `|x - y|`.
    pub max_abs: f64,
    sum_abs: f64,
    noise: f64,
    signal: f64,
}

impl Error {
    /// Adds a batch.
    pub fn add(&mut self, batch: &Comparison) {
        let n = batch.n as f64;
        self.n += batch.n;
        self.max_abs = self.max_abs.max(batch.max_abs);
        self.sum_abs += batch.mean_abs * n;
        self.noise += batch.mse * n;
        self.signal += batch.signal * n;
    }

    /// Mean of `|x - y|`.
    pub fn mean_abs(&self) -> f64 {
        self.sum_abs / self.n.max(1) as f64
    }

    /// Mean of `(x - y)^2`.
    pub fn mse(&self) -> f64 {
        self.noise / self.n.max(1) as f64
    }

    /// `10 log10(sum x^2 / sum (x - y)^2)` in dB; none without noise or without signal.
    pub fn sqnr_db(&self) -> Option<f64> {
        (self.noise > 0.0 && self.signal > 0.0).then(|| 10.0 * (self.signal / self.noise).log10())
    }
}

/// One layer's errors.
#[derive(Clone, Debug, Default)]
pub struct LayerErrors {
    /// PyTorch name.
    pub layer: String,
    /// Weights.
    pub weights: Error,
    /// Output for the float network's input.
    pub alone: Error,
    /// Output inside the quantized network.
    pub network: Error,
    /// At the logits, this layer alone being quantized; none where that was not measured.
    pub logits: Option<Error>,
}

/// The errors of every layer, and how many of the images keep their predicted class.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// In execution order, the classifier last.
    pub layers: Vec<LayerErrors>,
    /// Images looked at.
    pub images: usize,
    /// Images whose top-1 class is that of the float network.
    pub unchanged: usize,
}

/// Pixels in memory at once: every layer's output is kept for a whole batch, some 200 values for each pixel.
const PIXELS: usize = 1 << 17;

/// Runs `data` through both networks, which are one but for their numbers; their weights are compared one by one.
pub fn inspect(
    float: &Network,
    quantized: &Network,
    data: &Dataset,
    target: &Target,
    progress: &dyn Fn(usize),
) -> Result<Inspection> {
    let topology = float.topology();
    let classes = topology.classes();
    let mut layers: Vec<LayerErrors> = topology
        .layers()
        .map(|layer| LayerErrors {
            layer: topology.node(layer).name.clone(),
            ..LayerErrors::default()
        })
        .collect();
    for errors in &mut layers {
        let name = format!("{}.weight", errors.layer);
        let (x, y) = (
            float.tensors().require(&name)?,
            quantized.tensors().require(&name)?,
        );
        errors.weights.add(&compare(&x.data, &y.data));
    }
    let size = [data.height(), data.width()];
    let batch = (PIXELS / (size[0] * size[1])).clamp(1, 64);
    let [float, quantized] =
        [float, quantized].map(|network| Tapped::new(target, network, size, batch));
    let (float, quantized) = (float?, quantized?);
    let mut unchanged = 0;
    for start in (0..data.len()).step_by(batch) {
        let range = start..data.len().min(start + batch);
        let mut images = Map {
            n: range.len(),
            shape: Shape::new(3, size[0], size[1]),
            values: vec![0.0; range.len() * data.image_len()],
        };
        data.write_batch(range.clone(), &mut images.values);

        let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); layers.len()];
        let expected = float.run(images.clone(), &mut |number, input, output| {
            let alone = quantized.layer(number, input)?;
            layers[number]
                .alone
                .add(&compare(&output.values, &alone.values));
            outputs[number].clone_from(&output.values);
            Ok(())
        })?;
        let found = quantized.run(images, &mut |number, _, output| {
            let errors = &mut layers[number].network;
            errors.add(&compare(&outputs[number], &output.values));
            Ok(())
        })?;
        unchanged += expected
            .chunks_exact(classes)
            .zip(found.chunks_exact(classes))
            .filter(|(a, b)| first_largest(a) == first_largest(b))
            .count();
        progress(range.len());
    }
    Ok(Inspection {
        layers,
        images: data.len(),
        unchanged,
    })
}

/// SVG of a layer's weights with the quantization grid on them. Where several groups have scales of their own, it shows
/// the first group (a channel, or a part of one).
pub fn picture(layer: &str, weights: &Values, scheme: &Scheme) -> Result<String> {
    let quantized = quantize(weights, scheme);
    let params = quantized
        .params
        .first()
        .filter(|params| !params.is_float())
        .ok_or_else(|| anyhow!("layer {layer} is not quantized, so there is no grid to show"))?;
    let group = quantized
        .layout
        .groups()
        .next()
        .unwrap_or(0..weights.data().len());
    let (original, found) = (
        &weights.data()[group.clone()],
        &quantized.values[group.clone()],
    );
    let levels: Vec<f32> = (params.quant_min..=params.quant_max)
        .map(|code| params.dequantize(code))
        .collect();
    let groups = quantized.params.len();
    let words = match groups {
        1 => scheme.to_string(),
        _ => format!("{scheme}; the first of {groups} groups"),
    };
    Ok(report::weight_histogram(&Histogram {
        layer,
        scheme: &words,
        weights: original,
        levels: &levels,
        clip: Some((params.lowest(), params.highest())),
        sqnr_db: compare(original, found).sqnr_db,
        log_count: false,
    })?)
}
