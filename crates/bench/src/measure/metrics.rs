//! The rows of `metrics.csv`.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow};
use network::StateDict;
use quant_core::sqnr_db;
use quantize::{Kind, LayerReport, LogitError, Margins, Method, Predictor, QuantizedNet, kappa};
use results::metric as names;
use results::{MetricRow, PredictionRow};
use train::qat::LostChannels;

use crate::agreement::Agreement;
use crate::allocated;
use crate::evaluate::Outcome;
use crate::throughput::Spread;

/// Collects the rows of `metrics.csv`.
pub(super) struct Metrics {
    run_id: String,
    pub rows: Vec<MetricRow>,
}

impl Metrics {
    pub fn new(run_id: &str) -> Self {
        Self {
            run_id: run_id.to_owned(),
            rows: Vec::new(),
        }
    }

    /// A value that is not finite was not measured and has no row.
    fn push(&mut self, layer: &str, metric: &str, value: f64, n: usize, unit: &str) {
        if value.is_finite() {
            self.rows.push(MetricRow {
                run_id: self.run_id.clone(),
                layer: layer.to_owned(),
                metric: metric.to_owned(),
                value,
                n: n as u64,
                unit: unit.to_owned(),
            });
        }
    }

    pub fn outcomes(&mut self, outcomes: &[Outcome], predictions: &[PredictionRow]) {
        let n = outcomes.len();
        let hits = predictions.iter().filter(|p| p.top1 == p.label).count();
        let top5 = outcomes.iter().filter(|o| o.in_top5).count();
        // In the set's order, so that the sum has one value.
        let loss: f64 = outcomes.iter().map(|o| o.loss).sum();
        self.push("", names::TOP1_CORRECT, hits as f64, n, names::IMAGES);
        self.push("", names::TOP5_CORRECT, top5 as f64, n, names::IMAGES);
        self.push("", names::LOSS_SUM, loss, n, names::NATS);
    }

    /// How logits differ from the float network's.
    pub fn logits(&mut self, error: &LogitError) {
        if let Some(sqnr) = error.sqnr_db() {
            self.push("", names::LOGIT_SQNR, sqnr, error.images, names::DECIBEL);
        }
        self.push("", names::KL_SUM, error.kl, error.images, names::NATS);
    }

    /// What allocated bits cost, and what each predictor expects of them.
    pub fn allocation(&mut self, allocation: &allocated::Outcome, margins: &Margins) {
        let (bits, measured) = (&allocation.bits, allocation.measured());
        let [weights, activations, operations] = allocation.knobs.totals(bits);
        for (name, value) in [
            (names::AVERAGE_WEIGHT_BITS, weights),
            (names::AVERAGE_ACTIVATION_BITS, activations),
            (names::BIT_OPERATIONS, operations),
        ] {
            self.push("", name, value.unwrap_or(f64::NAN), 1, names::BITS);
        }
        if let Some(time) = allocation.knobs.latency(bits) {
            let name = names::LAYERS_TIME;
            self.push("", name, time as f64, 1, names::NANOSECONDS);
        }
        if allocation.method == Method::Lin {
            for (name, kind) in [
                (names::KAPPA_WEIGHTS, Kind::Weights),
                (names::KAPPA_ACTIVATIONS, Kind::Activations),
            ] {
                let kappa = kappa(measured, kind).unwrap_or(f64::NAN);
                self.push("", name, kappa, 1, names::DECIBEL_PER_BIT);
            }
        }
        for by in Predictor::ALL {
            let Some(noise) = measured.noise(by, bits, margins.classes()) else {
                continue;
            };
            let (expected, n) = (margins.expected(noise), margins.images());
            let sqnr = sqnr_db(measured.signal, noise).unwrap_or(f64::NAN);
            for (name, value, unit) in [
                (names::EXPECTED_SQNR, sqnr, names::DECIBEL),
                (names::EXPECTED_TOP1, expected.hits, names::IMAGES),
                (
                    names::EXPECTED_TOP1_DEVIATION,
                    expected.deviation,
                    names::IMAGES,
                ),
                (names::EXPECTED_FLIPS, expected.flips, names::IMAGES),
            ] {
                self.push("", &format!("{name}{by}"), value, n, unit);
            }
        }
    }

    pub fn flips(
        &mut self,
        predictions: &[PredictionRow],
        baseline: Option<&HashMap<String, u16>>,
    ) -> Result<()> {
        let mut flips = 0;
        if let Some(baseline) = baseline {
            for row in predictions {
                let float = baseline
                    .get(&row.image)
                    .ok_or_else(|| anyhow!("image {}", row.image))
                    .context("the float run has no prediction for an image of this run")?;
                flips += usize::from(*float != row.top1);
            }
        }
        self.push(
            "",
            names::FLIPS,
            flips as f64,
            predictions.len(),
            names::IMAGES,
        );
        Ok(())
    }

    pub fn float(&mut self, state: &StateDict) {
        let mut total = 0;
        for (name, tensor) in state {
            if tensor.shape.len() >= 2 {
                let layer = name.strip_suffix(".weight").unwrap_or(name);
                let bits = 32.0 * tensor.len() as f64;
                self.push(layer, names::BITS_STORED, bits, tensor.len(), names::BITS);
                total += tensor.len();
            }
        }
        let bits = 32.0 * total as f64;
        self.push("", names::BITS_STORED, bits, total, names::BITS);
    }

    /// Scales of activation sites, and biases that 32 bits did not hold.
    pub fn activations(&mut self, net: &QuantizedNet) {
        let Some((codes, _)) = &net.activations else {
            return;
        };
        for (site, code) in codes {
            let scale = f64::from(code.scale);
            self.push(site, names::ACTIVATION_SCALE, scale, 1, "");
        }
        for (layer, codes) in &net.bias_codes {
            let over = net.bias_overflows.get(layer).map_or(0, Vec::len) as f64;
            self.push(
                layer,
                names::BIAS_OVERFLOWS,
                over,
                codes.len(),
                names::VALUES,
            );
        }
    }

    pub fn agreement(&mut self, agreement: &[Agreement]) {
        let (mut n, mut differ, mut largest) = (0, 0, 0);
        for node in agreement {
            let count = node.n as usize;
            let (d, l) = (node.differ as f64, f64::from(node.largest));
            self.push(&node.node, names::CODES_DIFFER, d, count, names::VALUES);
            self.push(&node.node, names::CODES_MAX_DIFFERENCE, l, count, "");
            n += count;
            differ += node.differ;
            largest = largest.max(node.largest);
        }
        self.push("", names::CODES_DIFFER, differ as f64, n, names::VALUES);
        self.push("", names::CODES_MAX_DIFFERENCE, f64::from(largest), n, "");
    }

    /// Layers that were quantized as they were, and all of their weights together.
    pub fn layers(&mut self, layers: &[LayerReport]) {
        let (mut signal, mut noise, mut total) = (0.0, 0.0, 0);
        for report in layers {
            let (layer, c) = (report.layer.as_str(), &report.comparison);
            let n = c.n;
            if let Some(sqnr) = c.sqnr_db {
                self.push(layer, names::WEIGHT_SQNR, sqnr, n, names::DECIBEL);
            }
            self.push(layer, names::WEIGHT_MSE, c.mse, n, "");
            self.push(layer, names::WEIGHT_MAX_ABS, c.max_abs, n, "");
            self.push(layer, names::WEIGHT_MEAN_ABS, c.mean_abs, n, "");
            if let Some(lost) = report.outputs {
                let predicted = (names::OUTPUT_LOSS_PREDICTED, lost.predicted, lost.points);
                let measured = (names::OUTPUT_LOSS, lost.measured, lost.positions);
                for (name, share, n) in [predicted, measured] {
                    self.push(layer, name, share, n, names::SHARE);
                }
            }
            signal += c.signal * n as f64;
            noise += c.mse * n as f64;
            total += n;
        }
        if let Some(sqnr) = sqnr_db(signal, noise) {
            self.push("", names::WEIGHT_SQNR, sqnr, total, names::DECIBEL);
        }
        self.grids(layers);
    }

    /// Layers whose weights were trained: what is rounded is not the float network's, and its units are each layer's own, so the
    /// network has the median of its layers and no sum.
    pub fn trained(&mut self, layers: &[LayerReport], lost: &[LostChannels]) {
        let mut all = Vec::new();
        for report in layers {
            if let Some(sqnr) = report.comparison.sqnr_db {
                let (layer, n) = (report.layer.as_str(), report.comparison.n);
                self.push(layer, names::LATENT_SQNR, sqnr, n, names::DECIBEL);
                all.push(sqnr);
            }
        }
        if let Some(spread) = Spread::of(&all) {
            let Spread { median, n, .. } = spread;
            self.push("", names::LATENT_SQNR, median, n, names::DECIBEL);
        }
        let count = |count: fn(&LostChannels) -> usize| lost.iter().map(count).sum::<usize>();
        self.push(
            "",
            names::LOST_CHANNELS,
            count(LostChannels::count) as f64,
            count(|layer| layer.channels),
            names::CHANNELS,
        );
        self.grids(layers);
    }

    /// Scales, clipped weights, and what is stored.
    fn grids(&mut self, layers: &[LayerReport]) {
        if layers.is_empty() {
            return;
        }
        let (mut bits, mut total) = (0.0, 0);
        for report in layers {
            let (layer, n) = (report.layer.as_str(), report.comparison.n);
            if report.scales.0 == report.scales.1 {
                self.push(layer, names::SCALE, f64::from(report.scales.0), n, "");
            }
            self.push(
                layer,
                names::SATURATED,
                report.saturated as f64,
                n,
                names::VALUES,
            );
            self.push(
                layer,
                names::BITS_STORED,
                report.bits_stored,
                n,
                names::BITS,
            );
            bits += report.bits_stored;
            total += n;
        }
        self.push("", names::BITS_STORED, bits, total, names::BITS);
    }
}
