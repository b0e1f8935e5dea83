//! A measurement as rows of `throughput.csv` and `layers.csv`.

use results::{LayerRow, ThroughputRow};

use super::measure::{Measured, ModelResult, OURS, Series};
use super::spread::Spread;

impl Measured {
    /// The rows of `throughput.csv`: of every network everything that was counted, then the machine's own figures,
    /// which belong to no network.
    pub fn throughput_rows(&self) -> Vec<ThroughputRow> {
        let threads = self.settings.threads;
        let of_network = self.models.iter().flat_map(|model| {
            let series = model.series.iter();
            series.flat_map(|series| self.series_rows(model, series))
        });
        let peak = [(threads, self.peak.all), (1, self.peak.one)];
        let peak =
            peak.into_iter()
                .take(if threads == 1 { 1 } else { 2 })
                .map(|(threads, peak)| {
                    let n = self.models.len() * self.settings.rounds;
                    row(
                        ["", "float32", "processor"],
                        threads,
                        "peak",
                        peak,
                        "GFLOP/s",
                        n,
                    )
                });
        let memory = self.machine.peak_memory.map(|bytes| {
            row(
                ["", "", OURS],
                threads,
                "peak_memory",
                bytes as f64,
                "bytes",
                1,
            )
        });
        of_network.chain(peak).chain(memory).collect()
    }

    /// The rows of `layers.csv`, each network's layers in the order in which they run.
    pub fn layer_rows(&self) -> Vec<LayerRow> {
        let mut rows = Vec::new();
        for model in &self.models {
            for (precision, layers) in &model.layers {
                rows.extend(layers.iter().map(|layer| LayerRow {
                    model: model.model.name.clone(),
                    precision: precision.name().to_owned(),
                    threads: self.settings.threads as u32,
                    layer: layer.layer.clone(),
                    shape: layer.shape.to_string(),
                    operations: layer.operations,
                    seconds_per_image: layer.seconds,
                    gflops: layer.gflops(),
                    share: layer.share,
                }));
            }
        }
        rows
    }

    fn series_rows(&self, model: &ModelResult, series: &Series) -> Vec<ThroughputRow> {
        let Series {
            who,
            precision,
            threads,
            rate,
            ratio,
            scaling,
        } = series;
        let name = model.model.name.clone();
        let subject = [name.as_str(), precision.name(), who.as_str()];
        let mut rows = Vec::new();
        let mut push = |metric: &str, value: f64, unit: &str, n: usize| {
            rows.push(row(subject, *threads, metric, value, unit, n));
        };
        let mut spread = |metric: &str, spread: &Spread, unit: &str| {
            push(metric, spread.median, unit, spread.n);
            push(&format!("{metric}_min"), spread.min, unit, spread.n);
            push(&format!("{metric}_max"), spread.max, unit, spread.n);
        };
        spread("images_per_second", rate, "images/s");
        if let Some(ratio) = ratio {
            let against = ratio.against.name();
            spread(&format!("quantlab_{against}_ratio"), &ratio.spread, "times");
        }
        let gflops = rate.median * model.operations as f64 / 1e9;
        push("speed", gflops, "GFLOP/s", rate.n);
        if let Some(percent) = self.percent_of_peak(model, *precision, *threads, rate.median) {
            push("share_of_peak", percent, "%", rate.n);
        }
        let at_once = if who == OURS {
            model.group
        } else {
            model.peer_batch
        };
        push("images_at_once", at_once as f64, "images", 1);
        if let Some(scaling) = scaling {
            push("scaling", scaling.median, "times", scaling.n);
        }
        rows
    }
}

fn row(
    [model, precision, who]: [&str; 3],
    threads: usize,
    metric: &str,
    value: f64,
    unit: &str,
    n: usize,
) -> ThroughputRow {
    ThroughputRow {
        model: model.to_owned(),
        precision: precision.to_owned(),
        who: who.to_owned(),
        threads: threads as u32,
        metric: metric.to_owned(),
        value,
        unit: unit.to_owned(),
        n: n as u64,
    }
}

#[cfg(test)]
mod tests {
    use crate::throughput::tables::tests::measured;

    #[test]
    fn every_series_has_its_rows_and_no_key_is_there_twice() {
        let rows = measured().throughput_rows();
        let value = |who: &str, threads: u32, metric: &str| {
            let found = |r: &&results::ThroughputRow| {
                r.model != "cifar-resnet20"
                    && r.who == who
                    && r.threads == threads
                    && r.metric == metric
            };
            rows.iter().find(found).map(|row| (row.value, row.n))
        };
        assert_eq!(value("quantlab", 2, "images_per_second"), Some((30.0, 5)));
        assert_eq!(value("quantlab", 1, "images_per_second"), Some((16.0, 5)));
        assert_eq!(value("quantlab", 2, "scaling"), Some((1.875, 5)));
        assert_eq!(value("quantlab", 1, "scaling"), None);
        assert_eq!(
            value("pytorch-channels-last", 2, "quantlab_float32_ratio"),
            Some((2.0, 5))
        );
        assert_eq!(value("onnxruntime-int8", 2, "share_of_peak"), None);
        assert_eq!(value("processor", 2, "peak"), Some((300.0, 10)));
        assert_eq!(value("quantlab", 2, "peak_memory"), Some((1048576.0, 1)));
        let mut keys: Vec<_> = rows
            .iter()
            .map(|r| (&r.model, &r.precision, &r.who, r.threads, &r.metric))
            .collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
        assert!(rows.iter().all(|row| row.value.is_finite()));
    }

    #[test]
    fn layers_keep_their_order_and_those_without_operations_have_no_speed() {
        let rows = measured().layer_rows();
        let names: Vec<_> = rows.iter().take(3).map(|row| row.layer.as_str()).collect();
        assert_eq!(names, ["conv1", "maxpool", "layer4.0.downsample.0"]);
        assert_eq!(rows[0].shape, "64x112x112");
        assert!(rows[0].gflops.is_some() && rows[1].gflops.is_none());
    }
}
