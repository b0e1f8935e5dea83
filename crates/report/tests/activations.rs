//! Claims about tables and plots of quantized activations and of integers. `REPORT_PICTURES=DIR` keeps the files.

mod made_up;

use std::path::PathBuf;

use made_up::{failed, first_right, float, integer, layers, linear, quantized, run, with, write};
use report::{AccuracyTable, accuracy_table, outputs};
use results::{Config, Run, metric};

const E: &str = "activations";
/// The order of the plan in `experiments/activations.toml`.
const PAIRS: [(u32, u32); 6] = [(8, 8), (8, 6), (8, 4), (6, 6), (4, 8), (4, 4)];
const METHODS: [&str; 5] = ["minmax", "moving_average", "percentile", "mse", "entropy"];

fn plain(config: Config) -> Run {
    run(E, config, &first_right(10, 7))
}

/// As `experiments/activations.toml`: 61 runs.
fn sixty() -> Vec<Run> {
    let mut runs = vec![run(E, float(10), &first_right(10, 8))];
    for granularity in ["tensor", "channel"] {
        for method in METHODS {
            for (weights, activations) in PAIRS {
                let mut config = quantized(10, weights, activations);
                config.set("weights_granularity", granularity);
                config.set("calibration_method", method);
                config.set(
                    "calibration_momentum",
                    (method == "moving_average").then_some(0.9),
                );
                config.set(
                    "calibration_percentile",
                    (method == "percentile").then_some(99.99),
                );
                let right = (weights + activations) as usize / 2;
                let run = run(E, config, &first_right(10, right));
                let values = layers()
                    .into_iter()
                    .map(|layer| (layer, 6.0 * f64::from(weights)));
                runs.push(values.fold(run, |run, (layer, value)| {
                    with(run, &layer, metric::WEIGHT_SQNR, value)
                }));
            }
        }
    }
    runs
}

/// As `experiments/arithmetic.toml`: 21 runs, with counts as long as 10,000 images make them.
fn arithmetics() -> Vec<Run> {
    let mut runs = vec![run(E, float(10), &first_right(10, 8))];
    for multiplier in ["fixed", "power_of_two", "float"] {
        for rounding in ["half_even", "half_away", "floor", "gemmlowp"] {
            for accumulator in ["int32", "saturating16"] {
                if rounding == "gemmlowp" && multiplier != "fixed" {
                    continue;
                }
                let config = integer(quantized(10, 8, 8), multiplier, rounding, accumulator);
                let mut run = with(plain(config), "", metric::CODES_DIFFER, 2_867_940_000.0);
                run = with(run, "", metric::CODES_MAX_DIFFERENCE, 255.0);
                run.row.images_per_second = Some(12345.678);
                runs.push(run);
            }
        }
    }
    runs
}

fn table(runs: &[Run]) -> AccuracyTable {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), runs);
    accuracy_table(folder.path(), E).unwrap()
}

/// The first columns of the first lines of a Markdown table, heading and rows.
fn head(markdown: &str, columns: usize, rows: usize) -> Vec<String> {
    let lines = markdown.lines().take(rows + 2);
    let cells = lines.map(|line| {
        let cells = line.split('|').skip(1).take(columns).map(str::trim);
        cells.collect::<Vec<_>>().join(" ")
    });
    let mut lines: Vec<String> = cells.collect();
    lines.remove(1);
    lines
}

#[test]
fn bits_are_pairs_in_the_order_of_the_plan() {
    let mut runs: Vec<Run> = PAIRS.map(|(w, a)| plain(quantized(10, w, a))).into();
    runs.push(plain(float(10)));
    let markdown = table(&runs).markdown();
    assert_eq!(
        head(&markdown, 1, 7),
        [
            "bits", "float", "W8A8", "W8A6", "W8A4", "W6A6", "W4A8", "W4A4"
        ]
    );
    assert!(markdown.contains("W8A4: weights have 8 bits, activations 4"));
    assert!(markdown.contains("activations affine, calibration minmax, calibration set synthetic"));
    assert!(!markdown.contains("codes differ") && !markdown.contains("images/s"));
}

#[test]
fn weights_alone_beside_pairs_are_w8a32_and_make_no_other_axis_vary() {
    let runs = [
        plain(
            linear(10, 8)
                .with("bn", "folded")
                .with("bias", "int32")
                .with("method", "ptq"),
        ),
        plain(quantized(10, 8, 8)),
    ];
    let markdown = table(&runs).markdown();
    assert_eq!(head(&markdown, 1, 2), ["bits", "W8A32", "W8A8"]);
    let weights = table(&runs[..1]).markdown();
    assert_eq!(head(&weights, 1, 1), ["bits", "8"]);
    assert!(weights.contains("activations float"));
}

#[test]
fn axes_that_vary_are_columns_and_pairs_go_across_the_wide_table() {
    let markdown = table(&sixty()).markdown();
    assert_eq!(
        head(&markdown, 3, 2),
        [
            "granularity calibration bits",
            "  float",
            "tensor minmax W8A8"
        ]
    );
    let wide = markdown.split("Top-1 % against bits:\n\n").nth(1).unwrap();
    let lines = head(wide, 9, 10);
    assert_eq!(
        lines[0],
        "granularity calibration float W8A8 W8A6 W8A4 W6A6 W4A8 W4A4"
    );
    let methods: Vec<&str> = lines[1..6]
        .iter()
        .map(|l| l.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(methods, METHODS);
    assert_eq!(
        lines[1],
        "tensor minmax 80.00 80.00 70.00 60.00 60.00 60.00 40.00"
    );
    assert!(lines[6].starts_with("channel minmax"));
    let alone = table(&sixty()).markdown_wide().unwrap();
    assert!(alone.starts_with("Top-1 % against bits:\n\n| granularity"));
    assert!(alone.contains("n = 10 images") && !alone.contains("| run |"));
}

#[test]
fn integer_runs_show_codes_that_differ_and_their_speed() {
    let simulated = quantized(10, 8, 8);
    let exact = integer(simulated.clone(), "fixed", "half_even", "int32");
    // One run sums its layers up, the other leaves that to the reader.
    let mut whole = plain(exact.clone());
    for (layer, differ, largest) in [("conv1", 3.0, 1.0), ("linear", 4.0, 2.0), ("", 7.0, 2.0)] {
        whole = with(whole, layer, metric::CODES_DIFFER, differ);
        whole = with(whole, layer, metric::CODES_MAX_DIFFERENCE, largest);
    }
    whole.row.images_per_second = Some(1234.56);
    let mut layers = whole.clone();
    layers
        .metrics
        .retain(|m| !m.layer.is_empty() || m.metric == metric::TOP1_CORRECT);
    for run in [whole, layers] {
        let mut slow = plain(simulated.clone());
        slow.row.images_per_second = Some(1000.4);
        let table = table(&[run, slow]);
        let markdown = table.markdown();
        let cells = |row: usize| -> Vec<String> {
            let line = markdown.lines().nth(row).unwrap();
            line.split('|')
                .map(|cell| cell.trim().to_string())
                .collect()
        };
        let column = |title: &str| cells(0).iter().position(|cell| cell == title).unwrap();
        let shown = |row: usize| {
            ["execution", "codes differ", "max", "images/s"].map(|t| cells(row)[column(t)].clone())
        };
        assert_eq!(shown(2), ["simulate", "", "", "1000"]);
        assert_eq!(shown(3), ["integer", "7", "2", "1235"]);
        for note in ["Codes differ: of the", "threads 0", "accumulator int32"] {
            assert!(markdown.contains(note), "{note} in {markdown}");
        }
        let csv = table.csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert!(lines[0].contains(",bits,activation_bits,n,"), "{csv}");
        let end = ",codes_differ,codes_max_difference,images_per_second";
        assert!(lines[0].ends_with(end), "{csv}");
        assert!(
            lines[1].ends_with(",,,1000.40") && lines[2].ends_with(",7,2,1234.56"),
            "{csv}"
        );
        let columns = |line: &str| line.split(',').count();
        assert!(
            lines.iter().all(|line| columns(line) == columns(lines[0])),
            "{csv}"
        );
    }
}

#[test]
fn with_the_same_bits_everywhere_the_smallest_axis_goes_across() {
    let markdown = table(&arithmetics()).markdown();
    assert_eq!(
        head(&markdown, 4, 3),
        [
            "multiplier integer rounding accumulator bits",
            "   float",
            "fixed half_even int32 W8A8",
            "fixed half_even saturating16 W8A8"
        ]
    );
    let wide = markdown
        .split("Top-1 % against accumulator:\n\n")
        .nth(1)
        .unwrap();
    let lines = head(wide, 5, 10);
    assert_eq!(
        lines[0],
        "multiplier integer rounding float int32 saturating16"
    );
    assert_eq!(lines[4], "fixed gemmlowp 80.00 70.00 70.00");
    assert_eq!(lines[8], "float half_even 80.00 70.00 70.00");
}

#[test]
fn a_terminal_of_eighty_columns_is_enough() {
    for runs in [sixty(), arithmetics()] {
        let text = table(&runs).text(80);
        for line in text.lines() {
            assert!(
                line.chars().count() <= 80,
                "{} columns: {line}",
                line.chars().count()
            );
        }
        assert!(
            text.contains("W8A8") && text.contains("Top-1 % against"),
            "{text}"
        );
    }
    let text = table(&arithmetics()).text(80);
    assert!(
        text.contains("2867940000") && text.contains("255"),
        "{text}"
    );
}

#[test]
fn a_failed_run_is_seen_in_a_terminal_that_has_no_room_for_hits() {
    let mut runs = arithmetics();
    let last = runs.pop().unwrap();
    runs.push(failed(last, "no memory"));
    let text = table(&runs).text(80);
    assert!(
        !text.contains("hits\n") && text.contains(" failed "),
        "{text}"
    );
    assert!(text.contains("(W8A8): no memory"), "{text}");
}

/// The pictures of an experiment: `accuracy.svg` and `sqnr.svg`.
fn pictures(name: &str, runs: &[Run]) -> [Option<String>; 2] {
    let scratch = tempfile::tempdir().unwrap();
    let root = match std::env::var_os("REPORT_PICTURES") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => scratch.path().to_path_buf(),
    };
    let _ = std::fs::remove_dir_all(&root);
    write(&root, runs);
    let (_, outputs) = outputs(&root, E).unwrap();
    outputs.iter().for_each(|output| output.write().unwrap());
    ["accuracy.svg", "sqnr.svg"].map(|file| {
        let mut outputs = outputs.iter();
        outputs
            .find(|o| o.path.ends_with(file))
            .unwrap()
            .text
            .clone()
    })
}

fn count(svg: &str, text: &str) -> usize {
    svg.matches(&format!(">\n{text}\n<")).count()
}

#[test]
fn pairs_stand_along_the_axis_in_the_order_of_the_table() {
    let [svg, sqnr] = pictures("pairs", &sixty());
    let svg = svg.unwrap();
    let places: Vec<usize> = PAIRS
        .iter()
        .map(|(w, a)| svg.find(&format!(">\nW{w}A{a}\n<")).unwrap())
        .collect();
    assert!(places.is_sorted());
    for label in [
        "tensor, minmax",
        "channel, moving_average 0.9",
        "float",
        "95 % interval",
    ] {
        assert_eq!(count(&svg, label), 1, "{label}");
    }
    assert_eq!(count(&svg, "weight bits"), 0);
    assert!(!svg.contains("NaN"));
    // What weights do not see makes no panel: two of them, each with the layers once.
    assert_eq!(count(&sqnr.unwrap(), "conv1"), 2);
}

#[test]
fn with_the_same_bits_everywhere_the_largest_axis_stands_along() {
    let svg = pictures("arithmetic", &arithmetics())[0].clone().unwrap();
    for rounding in ["half_even", "half_away", "floor", "gemmlowp"] {
        assert_eq!(count(&svg, rounding), 1, "{rounding}");
    }
    assert_eq!(count(&svg, "integer rounding"), 1);
    assert_eq!(count(&svg, "multiplier fixed, saturating16"), 1);
    assert_eq!(count(&svg, "W8A8"), 0);
}

#[test]
fn a_single_pair_and_failed_runs_alone_make_no_broken_picture() {
    let one = [plain(quantized(10, 8, 8))];
    let svg = pictures("one", &one)[0].clone().unwrap();
    assert!(count(&svg, "W8A8") == 1 && count(&svg, "ptq") == 1 && !svg.contains("NaN"));
    let none = [failed(plain(quantized(10, 8, 8)), "no memory")];
    assert_eq!(pictures("none", &none), [None, None]);
}
