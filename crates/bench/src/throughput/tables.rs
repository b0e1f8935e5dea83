//! A measurement for people: tables of 80 columns on a terminal, Markdown for a page.

use engine::Shape;
use report::{Grid, markdown_grid, text_grid};

use super::layers::LayerTime;
use super::measure::{Measured, ModelResult, OURS, Series};
use super::subject::Precision;

/// Columns of a terminal.
const WIDTH: usize = 80;

impl Measured {
    /// All tables as text: the networks, their layers, the machine.
    pub fn text(&self) -> String {
        let networks = self.models.iter().map(|model| self.network_text(model));
        let layers = self.models.iter().flat_map(|model| {
            let layers = model.layers.iter();
            layers.map(|(precision, layers)| self.layers_text(model, *precision, layers))
        });
        let blocks: Vec<String> = networks
            .chain(layers)
            .chain([self.machine_text()])
            .collect();
        blocks.join("\n")
    }

    /// One table of all networks, and what the numbers are.
    pub fn markdown(&self) -> String {
        let heads = [
            "model",
            "who",
            "precision",
            "threads",
            "images/s",
            "min",
            "max",
            "n",
            "GFLOP/s",
            "% of peak",
            "quantlab / it",
        ];
        let rows = self.models.iter().flat_map(|model| {
            model.series.iter().map(|series| {
                let gflops = series.rate.median * model.operations as f64 / 1e9;
                let mut row = vec![
                    model.model.name.clone(),
                    series.who.clone(),
                    series.precision.name().to_owned(),
                    series.threads.to_string(),
                ];
                row.extend(self.speed_cells(model, series));
                row.insert(7, series.rate.n.to_string());
                row.insert(8, short(gflops));
                row
            })
        });
        let grid = Grid {
            heads: heads.map(String::from).to_vec(),
            text_columns: 3,
            rows: rows.collect(),
        };
        format!("{}\n{}\n", markdown_grid(&grid), self.notes().join("\n\n"))
    }

    fn network_text(&self, model: &ModelResult) -> String {
        let Shape { height, width, .. } = model.model.input;
        let mut text = format!(
            "{}: {height}x{width} pixels, {} GFLOP an image\n",
            model.model,
            short(model.operations as f64 / 1e9)
        );
        text += &match model.has_peers() {
            true => format!(
                "images at once: {} in each thread of quantlab, {} in a peer\n\n",
                model.group, model.peer_batch
            ),
            false => format!("images at once: {} in each thread\n\n", model.group),
        };
        let heads = [
            "who",
            "precision",
            "images/s",
            "min",
            "max",
            "% peak",
            "ratio",
        ];
        let rows = model.series.iter().map(|series| {
            let who = match series.threads {
                1 if self.settings.threads > 1 => format!("{}, 1 thread", series.who),
                _ => series.who.clone(),
            };
            let mut row = vec![who, series.precision.name().to_owned()];
            row.extend(self.speed_cells(model, series));
            row
        });
        text += &text_grid(&Grid {
            heads: heads.map(String::from).to_vec(),
            text_columns: 2,
            rows: rows.collect(),
        });
        for series in &model.series {
            if let Some(scaling) = series.scaling {
                text += &format!(
                    "{} threads are {:.2} times as fast as one ({})\n",
                    series.threads,
                    scaling.median,
                    series.precision.name()
                );
            }
        }
        text
    }

    /// Median, least and most images per second, per cent of the peak, ratio.
    fn speed_cells(&self, model: &ModelResult, series: &Series) -> [String; 5] {
        let rate = &series.rate;
        let percent = self.percent_of_peak(model, series.precision, series.threads, rate.median);
        let ratio = series.ratio.map(|ratio| {
            let other = ratio.against != series.precision;
            format!("{:.2}{}", ratio.spread.median, if other { "*" } else { "" })
        });
        [
            short(rate.median),
            short(rate.min),
            short(rate.max),
            percent.map_or_else(String::new, |percent| format!("{percent:.0}")),
            ratio.unwrap_or_default(),
        ]
    }

    fn layers_text(
        &self,
        model: &ModelResult,
        precision: Precision,
        layers: &[LayerTime],
    ) -> String {
        let heads = [
            "layer", "output", "MFLOP", "us/image", "GFLOP/s", "% peak", "% time",
        ];
        let rows = layers.iter().map(|layer| {
            let gflops = layer.gflops();
            let percent = gflops
                .filter(|_| precision == Precision::Float32 && self.peak.all > 0.0)
                .map(|gflops| format!("{:.0}", 100.0 * gflops / self.peak.all));
            vec![
                layer.layer.clone(),
                layer.shape.to_string(),
                gflops.map_or_else(String::new, |_| short(layer.operations as f64 / 1e6)),
                short(layer.seconds * 1e6),
                gflops.map_or_else(String::new, short),
                percent.unwrap_or_default(),
                format!("{:.1}", 100.0 * layer.share),
            ]
        });
        let grid = Grid {
            heads: heads.map(String::from).to_vec(),
            text_columns: 2,
            rows: rows.collect(),
        };
        format!(
            "{} {} layer by layer, {}\n\n{}",
            model.model,
            precision.name(),
            threads(self.settings.threads),
            text_grid(&grid)
        )
    }

    fn machine_text(&self) -> String {
        let notes = self.notes().join(" ").replace('`', "");
        report::wrapped(&notes, WIDTH)
    }

    /// What the numbers are and where they come from.
    fn notes(&self) -> Vec<String> {
        let settings = &self.settings;
        let machine = &self.machine;
        let count = threads(settings.threads);
        let mut speed = format!(
            "images/s: the median of n rounds of about {} s, random weights and images, {count}. % of peak: of the \
             processor's own float32 multiply-add peak, {} GFLOP/s on {count}",
            settings.round.as_secs_f64(),
            short(self.peak.all)
        );
        if settings.threads > 1 {
            speed += &format!(", {} on one", short(self.peak.one));
        }
        speed += ".";
        let mut notes = vec![speed];
        if let Some(versions) = &self.peers {
            let batches: Vec<_> = self
                .models
                .iter()
                .filter(|model| model.has_peers())
                .map(|model| format!("{} for {}", model.peer_batch, model.model))
                .collect();
            notes.push(format!(
                "Peers ({versions}) run batches: {}. Ratio, quantlab / it: the median of images/s of ours over theirs \
                 in neighbouring rounds.{}",
                batches.join(", "),
                if self.compares_precisions() {
                    " *: int8 against our float32."
                } else {
                    ""
                }
            ));
        }
        let memory = machine.peak_memory.map_or_else(
            || "not known".to_owned(),
            |bytes| format!("{} MiB", bytes.div_ceil(1 << 20)),
        );
        notes.push(format!(
            "{}, {} cores, {} kernels; peak memory of {OURS} {memory}; {}, revision `{}`: `{}`",
            machine.processor,
            machine.cores,
            settings.isa,
            machine.date,
            match machine.revision.as_str() {
                "" => "unknown",
                revision => revision,
            },
            machine.command
        ));
        notes
    }

    fn compares_precisions(&self) -> bool {
        let mut series = self.models.iter().flat_map(|model| &model.series);
        series.any(|s| s.ratio.is_some_and(|ratio| ratio.against != s.precision))
    }
}

fn threads(n: usize) -> String {
    match n {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    }
}

/// Four digits that count, never an exponent.
fn short(value: f64) -> String {
    let digits = match value {
        v if v > 0.0 => (3.0 - v.log10().floor()).clamp(0.0, 6.0) as usize,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use engine::{Isa, Shape};

    use super::*;
    use crate::throughput::{Machine, Model, Peak, Ratio, Settings, Spread};

    /// Two networks with peers on two threads.
    pub fn measured() -> Measured {
        let named = |name: &str| Model::parse(name).unwrap();
        Measured {
            settings: Settings {
                models: vec![named("resnet152"), named("cifar-resnet20")],
                sweeps: Vec::new(),
                set: Vec::new(),
                threads: 2,
                rounds: 5,
                round: Duration::from_millis(1500),
                isa: Isa::Portable,
                peers: Some("python3".into()),
            },
            machine: Machine {
                processor: "Some Processor With A Long Name (R) 8481C CPU @ 2.70GHz".into(),
                cores: 2,
                revision: "0123456789ab-dirty".into(),
                date: "2026-01-31".into(),
                command: "cargo throughput --models resnet152,cifar-resnet20".into(),
                peak_memory: Some(1 << 20),
            },
            peak: Peak {
                all: 300.0,
                one: 152.0,
            },
            peers: Some("torch 2.15.0, onnxruntime 1.32.0".into()),
            models: vec![
                result(named("resnet152"), 1.0),
                result(named("cifar-resnet20"), 1234.5),
            ],
        }
    }

    fn result(model: Model, scale: f64) -> ModelResult {
        let spread = |median: f64| Spread {
            median,
            min: median * 0.97,
            max: median * 1.031,
            n: 5,
        };
        let series = |who: &str, precision, threads, rate: f64, ratio: Option<f64>| Series {
            who: who.into(),
            precision,
            threads,
            rate: spread(rate * scale),
            ratio: ratio.map(|ratio| Ratio {
                against: Precision::Float32,
                spread: spread(ratio),
            }),
            scaling: (who == OURS && threads > 1).then(|| spread(1.875)),
        };
        let float = Precision::Float32;
        let layer = |name: &str, shape, operations| LayerTime {
            layer: name.into(),
            shape,
            operations,
            seconds: 1.25e-3 / scale,
            share: 1.0 / 3.0,
        };
        ModelResult {
            peer_batch: super::super::subject::peer_batch(model.input),
            model,
            operations: 8_178_000_000,
            group: 4,
            series: vec![
                series(OURS, float, 2, 30.0, None),
                series(OURS, float, 1, 16.0, None),
                series("pytorch-channels-last", float, 2, 15.0, Some(2.0)),
                series("onnxruntime-int8", Precision::Int8, 2, 120.0, Some(0.25)),
            ],
            layers: vec![(
                float,
                vec![
                    layer("conv1", Shape::new(64, 112, 112), 236_027_904),
                    layer("maxpool", Shape::new(64, 56, 56), 0),
                    layer(
                        "layer4.0.downsample.0",
                        Shape::new(2048, 56, 56),
                        205_520_896,
                    ),
                ],
            )],
        }
    }

    #[test]
    fn no_line_on_a_terminal_is_wider_than_80_columns() {
        let text = measured().text();
        for line in text.lines() {
            assert!(
                line.chars().count() <= 80,
                "{}: {line}",
                line.chars().count()
            );
        }
        assert!(text.contains("quantlab, 1 thread"), "{text}");
        assert!(
            text.contains("2 threads are 1.88 times as fast as one (float32)"),
            "{text}"
        );
    }

    #[test]
    fn a_peer_that_computes_otherwise_is_marked_and_has_no_share_of_the_float_peak() {
        let markdown = measured().markdown();
        let row = markdown
            .lines()
            .find(|line| line.contains("onnxruntime-int8"));
        let cells: Vec<_> = row.unwrap().split('|').map(str::trim).collect();
        assert_eq!(cells[10..12], ["", "0.25*"], "{cells:?}");
        assert!(markdown.contains("*: int8 against our float32"));
        let mut alone = measured();
        alone.peers = None;
        alone
            .models
            .iter_mut()
            .for_each(|model| model.series.truncate(2));
        assert!(!alone.markdown().contains("Ratio") && !alone.text().contains("peer"));
    }

    #[test]
    fn markdown_has_a_cell_for_every_heading_and_says_what_made_it() {
        let markdown = measured().markdown();
        let table: Vec<_> = markdown
            .lines()
            .take_while(|line| !line.is_empty())
            .collect();
        assert_eq!(table.len(), 2 + 8);
        for line in &table {
            assert_eq!(line.matches('|').count(), 12, "{line}");
        }
        assert!(
            table[2].starts_with(
                "| resnet152 | quantlab | float32 | 2 | 30.00 | 29.10 | 30.93 | 5 | 245.3 | 82 |  |"
            ),
            "{}",
            table[2]
        );
        for fact in [
            "8481C",
            "2 cores",
            "portable kernels",
            "300.0 GFLOP/s",
            "1 MiB",
            "2026-01-31",
            "0123456789ab-dirty",
            "cargo throughput",
            "16 for resnet152, 256 for cifar-resnet20",
        ] {
            assert!(markdown.contains(fact), "{fact} in {markdown}");
        }
    }

    #[test]
    fn numbers_have_four_digits_and_no_exponent() {
        let texts = [0.0, 0.00123456, 3.0, 37.125, 1234.56, 98765.4].map(short);
        assert_eq!(texts, ["0", "0.001235", "3.000", "37.12", "1235", "98765"]);
    }
}
