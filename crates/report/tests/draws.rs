//! Runs that differ in the seed alone, as one line.

mod made_up;

use made_up::{failed, first_right, float, linear, quantized, run, write};
use report::outputs;
use results::Run;

const E: &str = "draws";

/// Two methods of calibration, W8A8 and W4A4, the hits of three draws each.
fn runs() -> Vec<Run> {
    let mut runs = vec![run(E, float(10), &first_right(10, 9))];
    for (method, bits, hits) in [
        ("minmax", 8, [9, 7, 8]),
        ("minmax", 4, [5, 5, 5]),
        ("mse", 8, [9, 9, 8]),
        ("mse", 4, [4, 6, 7]),
    ] {
        for (seed, hits) in hits.into_iter().enumerate() {
            let config = quantized(10, bits, bits)
                .with("calibration_method", method)
                .with("seed", seed as u64);
            runs.push(run(E, config, &first_right(10, hits)));
        }
    }
    runs
}

fn text(runs: &[Run], file: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), runs);
    let (_, outputs) = outputs(folder.path(), E).unwrap();
    let mut outputs = outputs.into_iter();
    outputs
        .find(|output| output.path.ends_with(file))
        .unwrap()
        .text
}

#[test]
fn draws_are_one_cell_of_median_and_spread() {
    let markdown = text(&runs(), "draws.md").unwrap();
    let table = "| calibration | float | W8A8 | W4A4 |\n\
                 | --- | ---: | ---: | ---: |\n\
                 | minmax | 90.00 | 80.00 (20.00) | 50.00 (0.00) |\n\
                 | mse | 90.00 | 90.00 (10.00) | 60.00 (30.00) |\n";
    assert!(markdown.starts_with(table), "{markdown}");
    assert!(
        markdown.contains("Median of the draws (`seed`)"),
        "{markdown}"
    );
}

#[test]
fn draws_are_one_line_of_numbers_that_names_a_run() {
    let runs = runs();
    let csv = text(&runs, "draws.csv").unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "calibration,bits,activation_bits,draws,failed,n,top1_median_percent,top1_lowest_percent,top1_highest_percent,\
         difference_points,median_run_id"
    );
    // The draws of minimum and maximum at 8 bits: 9, 7 and 8 hits; the third is the median.
    let id = &runs[3].row.run_id;
    assert_eq!(
        lines[1],
        format!("minmax,8,8,3,0,10,80.00,70.00,90.00,-10.00,{id}")
    );
    assert_eq!(lines.len(), 5);
}

#[test]
fn what_failed_is_counted_and_said() {
    let mut runs = runs();
    let whole = runs.pop().unwrap();
    runs.push(failed(whole, "out of memory"));
    let markdown = text(&runs, "draws.md").unwrap();
    // Of two the lower.
    assert!(
        markdown.contains("| 40.00 (20.00), 1 failed |"),
        "{markdown}"
    );
    let csv = text(&runs, "draws.csv").unwrap();
    assert!(csv.contains("\nmse,4,4,2,1,10,40.00,40.00,60.00,"), "{csv}");
}

#[test]
fn one_draw_each_has_no_such_table() {
    let mut runs = runs();
    runs.retain(|run| run.row.config.text("seed") != "1" && run.row.config.text("seed") != "2");
    assert_eq!(text(&runs, "draws.md"), None);
    assert_eq!(text(&runs, "draws.csv"), None);
}

#[test]
fn draws_of_one_number_of_bits_are_drawn_over_the_seed_all_the_same() {
    let mut runs = runs();
    runs.retain(|run| run.row.config.weights_bits() != 4 && run.row.config.text("seed") != "2");
    let markdown = text(&runs, "draws.md").unwrap();
    assert!(
        markdown.contains("| calibration | float | W8A8 |"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| minmax | 90.00 | 70.00 (20.00) |"),
        "{markdown}"
    );
}

#[test]
fn pictures_show_draws_as_marks_of_one_series() {
    let svg = text(&runs(), "accuracy.svg").unwrap();
    assert!(svg.contains("minmax") && !svg.contains("seed"), "{svg}");
    // Weights alone: a line through the medians, a mark for each draw.
    let mut alone = vec![run(E, float(10), &first_right(10, 9))];
    for (seed, hits) in [(0_u64, 9), (1, 3), (2, 6)] {
        for bits in [8, 4] {
            let config = linear(10, bits).with("seed", seed);
            alone.push(run(E, config, &first_right(10, hits)));
        }
    }
    let svg = text(&alone, "accuracy.svg").unwrap();
    // A mark is two circles, and one stands in the legend.
    assert_eq!(svg.matches("<circle").count(), 2 * (3 * 2 + 1), "{svg}");
}
