//! Claims about plots, on experiments as large as real ones. `REPORT_PICTURES=DIR` keeps the files, to look at them.

mod made_up;

use std::path::PathBuf;

use made_up::{first_right, float, integer, layers, linear, quantized, run, with, write};
use report::{Error, Histogram, outputs, weight_histogram, write_all};
use results::{EpochRow, PeerRow, Run, Store, metric};

/// Hits of ResNet-20 on CIFAR-10 from 8 to 2 bits, and 1 bit at chance.
const HITS: [(u32, usize); 8] = [
    (8, 9180),
    (7, 9173),
    (6, 9156),
    (5, 9100),
    (4, 8603),
    (3, 6273),
    (2, 1000),
    (1, 1000),
];

fn with_layers(mut run: Run, bits: u32, gain: f64) -> Run {
    for (i, layer) in layers().iter().enumerate() {
        let value = 5.1 * f64::from(bits) - 9.0 + gain + 3.0 * (i as f64 * 1.7).sin();
        run = with(run, layer, metric::WEIGHT_SQNR, value);
    }
    run
}

fn one_scheme() -> Vec<Run> {
    let mut runs = vec![run("weight-bits", float(10000), &first_right(10000, 9173))];
    runs.extend(HITS.map(|(bits, hits)| {
        with_layers(
            run(
                "weight-bits",
                linear(10000, bits),
                &first_right(10000, hits),
            ),
            bits,
            0.0,
        )
    }));
    runs
}

fn eight_schemes() -> Vec<Run> {
    let mut runs = Vec::new();
    for bn in ["kept", "folded"] {
        let mut config = float(2000);
        config.set("bn", bn);
        runs.push(run("granularity", config, &first_right(2000, 1846)));
        for (m, mapping) in ["affine", "symmetric"].into_iter().enumerate() {
            for (g, granularity) in ["tensor", "channel"].into_iter().enumerate() {
                for bits in [8, 6, 4, 3, 2] {
                    let mut config = linear(2000, bits);
                    config.set("method", "ptq");
                    config.set("bn", bn);
                    config.set("weights_mapping", mapping);
                    config.set("weights_granularity", granularity);
                    let loss = 1650.0
                        / (1.0
                            + (2.2
                                * (f64::from(bits) - 3.2 + 0.9 * g as f64
                                    - 0.35 * m as f64
                                    - 0.2 * (bn == "folded") as u8 as f64))
                                .exp());
                    let right = (1846.0 - loss) as usize;
                    runs.push(with_layers(
                        run("granularity", config, &first_right(2000, right)),
                        bits,
                        4.0 * g as f64 - 2.0 * m as f64,
                    ));
                }
            }
        }
    }
    runs
}

/// Two methods at two pairs of bits, ten epochs each, beside a calibrated run without any.
fn trainings() -> Vec<Run> {
    let mut runs = vec![
        run("qat", float(2000), &first_right(2000, 1830)),
        run("qat", quantized(2000, 4, 4), &first_right(2000, 1700)),
    ];
    for (bits, top) in [(4, 0.91), (2, 0.84)] {
        for (m, method) in ["minmax", "lsq"].into_iter().enumerate() {
            let mut config = quantized(2000, bits, bits);
            config.set("method", "qat");
            config.set("qat_method", method);
            // As many as its bits want: not what tells two lines of a frame apart.
            config.set("qat_epochs", 14 - u64::from(bits));
            let top = top - 0.3 * f64::from(4 - bits) * (1.0 - m as f64) / 4.0;
            let mut run = run("qat", config, &first_right(2000, (2000.0 * top) as usize));
            let run_id = &run.row.run_id;
            run.epochs = (1..=10)
                .map(|epoch| {
                    let left = (-0.5 * epoch as f64).exp();
                    EpochRow {
                        run_id: run_id.clone(),
                        epoch,
                        lr: 0.01 * (1.0 - 0.1 * epoch as f64),
                        train_loss: 1.5 * left + 0.3 - 0.2 * top,
                        train_top1: top,
                        test_top1: Some(top * (1.0 - 0.3 * left)),
                        images_per_second: 500.0,
                        seconds: 40.0,
                    }
                })
                .collect();
            runs.push(run);
        }
    }
    runs
}

fn two_networks() -> Vec<Run> {
    let mut runs = Vec::new();
    for (name, arch, hits) in [("resnet18", "resnet18", 94), ("resnet50", "resnet50", 101)] {
        let rename = |mut config: results::Config| {
            config.set("model_name", name);
            config.set("model_arch", arch);
            config.set("dataset", "imagenet");
            config
        };
        runs.push(run("imagenet", rename(float(134)), &first_right(134, hits)));
        for (bits, lost) in [(8, 1), (7, 2), (6, 3)] {
            runs.push(run(
                "imagenet",
                rename(linear(134, bits)),
                &first_right(134, hits - lost),
            ));
        }
    }
    runs
}

fn folder() -> (Option<tempfile::TempDir>, PathBuf) {
    match std::env::var_os("REPORT_PICTURES") {
        Some(folder) => (None, folder.into()),
        None => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().to_path_buf();
            (Some(folder), path)
        }
    }
}

fn svg(experiment: &str, runs: Vec<Run>, file: &str) -> String {
    let (_guard, root) = folder();
    let root = root.join(experiment);
    let _ = std::fs::remove_dir_all(&root);
    write(&root, &runs);
    write_all(&root, experiment).unwrap();
    let (_, outputs) = outputs(&root, experiment).unwrap();
    outputs
        .into_iter()
        .find(|output| output.path.ends_with(file))
        .and_then(|output| output.text)
        .unwrap()
}

fn texts(svg: &str) -> Vec<&str> {
    let mut texts: Vec<&str> = svg
        .split("<text ")
        .skip(1)
        .map(|t| {
            t.split_once(">\n")
                .unwrap()
                .1
                .split("\n</text>")
                .next()
                .unwrap()
        })
        .collect();
    texts.sort_unstable();
    texts
}

/// Every font size in pixels of the picture as shown.
fn smallest_font(svg: &str) -> f64 {
    let number = |key: &str| {
        svg.split(key)
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_string()
    };
    let shown: f64 = number("width=\"").parse().unwrap();
    let drawn: f64 = number("viewBox=\"0 0 ")
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let sizes = svg
        .split("font-size=\"")
        .skip(1)
        .map(|t| t.split('"').next().unwrap().parse::<f64>().unwrap());
    sizes.fold(f64::INFINITY, f64::min) * shown / drawn
}

#[test]
fn the_accuracy_plot_has_whole_bits_a_float_line_and_chance() {
    let svg = svg("weight-bits", one_scheme(), "accuracy.svg");
    let texts = texts(&svg);
    for text in [
        "1",
        "8",
        "0",
        "100",
        "linear",
        "float",
        "chance",
        "95 % interval",
        "weight bits",
        "top-1 accuracy (%)",
    ] {
        assert!(texts.contains(&text), "{text} in {texts:?}");
    }
    assert!(!texts.contains(&"1.5") && !svg.contains("NaN"));
    assert!(smallest_font(&svg) >= 12.0, "{}", smallest_font(&svg));
}

#[test]
fn trainings_have_a_line_each_and_a_pair_of_frames_for_each_pair_of_bits() {
    let svg_text = svg("qat", trainings(), "epochs.svg");
    let texts = texts(&svg_text);
    let count = |text: &str| texts.iter().filter(|t| **t == text).count();
    for (text, times) in [
        ("minmax", 1),
        ("lsq", 1),
        ("float", 1),
        ("training loss (nats)", 2),
        ("test top-1 (%)", 2),
        ("epoch", 4),
        ("resnet20-synthetic, synthetic, W4A4", 1),
        ("resnet20-synthetic, synthetic, W2A2", 1),
    ] {
        assert_eq!(count(text), times, "{text} in {texts:?}");
    }
    assert!(!svg_text.contains("NaN"));
    // The float line is in both accuracy frames, the legend has one more; no training, no picture.
    let (_guard, root) = folder();
    write(&root.join("none"), &one_scheme());
    let (_, outputs) = outputs(&root.join("none"), "weight-bits").unwrap();
    let epochs = outputs.iter().find(|o| o.path.ends_with("epochs.svg"));
    assert_eq!(epochs.unwrap().text, None);
}

#[test]
fn schemes_have_lines_of_their_own_and_networks_panels() {
    let svg_text = svg("granularity", eight_schemes(), "accuracy.svg");
    let labels: Vec<&str> = texts(&svg_text)
        .into_iter()
        .filter(|t| t.contains("BN"))
        .collect();
    assert_eq!(labels.len(), 8);
    assert!(labels.contains(&"affine, channel, BN folded"), "{labels:?}");
    let two = svg("imagenet", two_networks(), "accuracy.svg");
    let texts = texts(&two);
    assert!(
        texts.contains(&"resnet18, imagenet") && texts.contains(&"resnet50, imagenet"),
        "{texts:?}"
    );
    assert_eq!(texts.iter().filter(|t| **t == "linear").count(), 1);
}

/// Two granularities at two widths, in 5 s each, and one run in integers.
fn timed() -> Vec<Run> {
    let mut runs = vec![run("cost", float(1000), &first_right(1000, 900))];
    for (granularity, hits) in [("tensor", 700), ("channel", 850)] {
        for bits in [4, 3] {
            for seed in [0, 1] {
                let config = linear(1000, bits).with("method", "ptq");
                let config = config.with("weights_granularity", granularity);
                let config = config.with("seed", seed);
                let hits = hits + 10 * bits as usize + seed;
                runs.push(run("cost", config, &first_right(1000, hits)));
            }
        }
    }
    let config = linear(1000, 4).with("method", "ptq").with("seed", 0);
    let config = integer(config, "fixed", "half_even", "int32");
    runs.push(run("cost", config, &first_right(1000, 100)));
    for run in &mut runs {
        (run.row.seconds, run.row.images_per_second) = (7.0, Some(500.0));
    }
    runs
}

/// `cost.svg` of [`timed`] beside one tool at 3 bits per channel, with as many seconds; the file's row changed by `change`.
fn cost(change: impl Fn(&mut PeerRow)) -> Result<Option<String>, Error> {
    let (_guard, root) = folder();
    let root = root.join("cost");
    let _ = std::fs::remove_dir_all(&root);
    write(&root, &timed());
    let columns = [("weights_bits", "3"), ("weights_granularity", "channel")];
    let mut peer = PeerRow {
        peer: "Tool 1.0".into(),
        beside: PeerRow::beside(columns),
        hits: 860,
        images: 1000,
        seconds: 50.0,
        source: "one run".into(),
    };
    change(&mut peer);
    let store = Store::existing(&root).unwrap();
    store.set_peers("cost", &[peer]).unwrap();
    write_all(&root, "cost")?;
    let (_, outputs) = outputs(&root, "cost")?;
    let mut outputs = outputs.into_iter();
    Ok(outputs
        .find(|output| output.path.ends_with("cost.svg"))
        .unwrap()
        .text)
}

#[test]
fn cost_has_a_frame_for_what_tools_stand_beside_and_no_run_whose_seconds_are_of_other_work() {
    let svg = cost(|_| {}).unwrap().unwrap();
    let texts = texts(&svg);
    for (text, frames) in [
        ("tensor, 4 bits", 1),
        ("channel, 3 bits", 1),
        ("seconds to quantize", 4),
        ("Tool 1.0", 1),
        ("simulate", 1),
        ("integer", 0),
        ("10", 4),
    ] {
        let found = texts.iter().filter(|found| **found == text).count();
        assert_eq!(found, frames, "{text} in {texts:?}");
    }
    // Eight runs, one tool and both in the legend: a rim and a mark each, a hollow one has three circles or polygons.
    let circles = svg.matches("<circle").count();
    let polygons = svg.matches("<polygon").count();
    assert_eq!((circles, polygons), (2 * (8 + 1), 3 * (1 + 1)));
    assert!(smallest_font(&svg) >= 12.0 && !svg.contains("NaN"));
}

#[test]
fn cost_is_drawn_where_a_tool_stands_beside_a_run_and_a_count_that_cannot_be_is_refused() {
    let elsewhere = |peer: &mut PeerRow| peer.beside = "weights_bits=7".into();
    assert_eq!(cost(elsewhere).unwrap(), None);
    let changes: [fn(&mut PeerRow); 3] = [
        |peer| peer.hits = 1001,
        |peer| peer.beside = "weights_width=3".into(),
        |peer| peer.seconds = -1.0,
    ];
    for change in changes {
        let error = cost(change).unwrap_err().to_string();
        assert!(
            error.contains("peers.csv") && error.contains("`Tool 1.0`"),
            "{error}"
        );
    }
}

#[test]
fn the_sqnr_plot_names_every_layer_in_order() {
    let one = svg(
        "weight-bits-sqnr",
        one_scheme()
            .into_iter()
            .map(|r| rename(r, "weight-bits-sqnr"))
            .collect(),
        "sqnr.svg",
    );
    let found: Vec<usize> = layers()
        .iter()
        .map(|layer| one.find(&format!(">\n{layer}\n<")).unwrap())
        .collect();
    assert!(found.is_sorted());
    assert!(smallest_font(&one) >= 12.0);
    let many = svg(
        "granularity-sqnr",
        eight_schemes()
            .into_iter()
            .map(|r| rename(r, "granularity-sqnr"))
            .collect(),
        "sqnr.svg",
    );
    assert_eq!(many.matches(">\nconv1\n<").count(), 8);
}

fn rename(mut run: Run, experiment: &str) -> Run {
    run.row.experiment = experiment.into();
    run
}

#[test]
fn a_histogram_of_weights_shows_few_levels_as_lines_and_many_as_ticks() {
    // Sums of uniform numbers: nearly Gaussian, and the same everywhere.
    let mut state = 1u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let weights: Vec<f32> = (0..9216)
        .map(|_| (0..8).map(|_| uniform()).sum::<f32>() * 0.06)
        .collect();
    let grid = |n: i32, high: f32| {
        (0..n)
            .map(|i| (i as f32 / (n - 1) as f32 * 2.0 - 1.0) * high)
            .collect::<Vec<_>>()
    };
    let (_guard, root) = folder();
    std::fs::create_dir_all(&root).unwrap();
    for (name, levels, clip, log_count) in [
        ("histogram-4", grid(16, 0.11), 0.11, false),
        ("histogram-8", grid(256, 0.2), 0.2, true),
    ] {
        let svg = weight_histogram(&Histogram {
            layer: "layer2.1.conv2.weight",
            scheme: "affine, tensor, minmax, 4 bit",
            weights: &weights,
            levels: &levels,
            clip: Some((-clip, clip)),
            sqnr_db: Some(18.53),
            log_count,
        })
        .unwrap();
        assert!(texts(&svg).contains(&format!("{} levels", levels.len()).as_str()));
        assert!(smallest_font(&svg) >= 12.0);
        std::fs::write(root.join(format!("{name}.svg")), svg).unwrap();
    }
}
