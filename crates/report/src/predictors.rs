//! How well each predictor said beforehand what was then measured, over all runs with allocated bits.
//!
//! ```text
//! rank correlation   Spearman's: the correlation of ranks, equal values sharing theirs
//! root mean square   of expected less measured top-1, in points
//! inside             runs whose measured hits lie within 1.96 standard deviations of the expected ones
//! ```

use results::metric;

use crate::accuracy::{AccuracyTable, TableRow};
use crate::grid::Grid;
use crate::load::Loaded;
use crate::scatter::{Dot, Scatter, Scatters};

/// Fewer runs than this say nothing of a correlation.
const FEWEST: usize = 5;

/// What a predictor expected of a run, and what came.
struct Pair {
    run: String,
    top1: [f64; 2],
    flips: Option<[f64; 2]>,
    sqnr: Option<[f64; 2]>,
    is_inside: bool,
}

/// A predictor and all it said.
struct Said {
    name: String,
    pairs: Vec<Pair>,
}

/// The table of an experiment's predictors and what there is to draw; nothing where none said anything.
pub(crate) fn predictors(table: &AccuracyTable, loaded: &Loaded) -> Option<(Grid, Scatters)> {
    let mut all: Vec<Said> = Vec::new();
    for row in table.rows.iter().filter(|row| row.failed.is_none()) {
        let own = loaded
            .values
            .iter()
            .filter(|value| value.run_id == row.run_id);
        for value in own.filter(|value| value.layer.is_empty()) {
            let name = value.metric.strip_prefix(metric::EXPECTED_TOP1);
            // Of another metric that begins alike.
            let Some(name) = name.filter(|name| !name.starts_with("deviation_")) else {
                continue;
            };
            let Some(pair) = pair(row, loaded, name, value.value) else {
                continue;
            };
            match all.iter_mut().find(|said| said.name == name) {
                Some(said) => said.pairs.push(pair),
                None => all.push(Said {
                    name: name.to_owned(),
                    pairs: vec![pair],
                }),
            }
        }
    }
    if all.is_empty() {
        return None;
    }
    Some((grid(&all), drawn(&all)))
}

fn pair(row: &TableRow, loaded: &Loaded, name: &str, expected: f64) -> Option<Pair> {
    let network = |metric: &str| loaded.network(&row.run_id, metric).map(|(value, _)| value);
    let of = |metric: &str| network(&format!("{metric}{name}"));
    let (hits, n) = (row.top1? as f64, row.n? as f64);
    let deviation = of(metric::EXPECTED_TOP1_DEVIATION).unwrap_or(0.0);
    let both = |expected: Option<f64>, found: Option<f64>| Some([expected?, found?]);
    Some(Pair {
        run: row.run_id.clone(),
        top1: [expected, hits].map(|hits| 100.0 * hits / n),
        flips: both(
            of(metric::EXPECTED_FLIPS),
            row.flips.map(|flips| flips as f64),
        ),
        sqnr: both(of(metric::EXPECTED_SQNR), network(metric::LOGIT_SQNR)),
        is_inside: (hits - expected).abs() <= 1.96 * deviation,
    })
}

fn grid(all: &[Said]) -> Grid {
    let heads = [
        "predictor",
        "runs",
        "rank correlation: top-1",
        "flips",
        "logit SQNR",
        "RMS error of top-1 (points)",
        "SQNR expected less measured (dB)",
        "inside 95 %",
    ];
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |value| format!("{value:.digits$}"))
    };
    let row = |said: &Said| {
        let top1: Vec<[f64; 2]> = said.pairs.iter().map(|pair| pair.top1).collect();
        let flips: Vec<[f64; 2]> = said.pairs.iter().filter_map(|pair| pair.flips).collect();
        let sqnr: Vec<[f64; 2]> = said.pairs.iter().filter_map(|pair| pair.sqnr).collect();
        let squares = top1
            .iter()
            .map(|[expected, found]| (expected - found).powi(2));
        let rms = (squares.sum::<f64>() / top1.len() as f64).sqrt();
        let off = sqnr.iter().map(|[expected, found]| expected - found);
        let off = (!sqnr.is_empty()).then(|| off.sum::<f64>() / sqnr.len() as f64);
        let inside = said.pairs.iter().filter(|pair| pair.is_inside).count();
        vec![
            said.name.clone(),
            said.pairs.len().to_string(),
            number(rank_correlation(&top1), 3),
            number(rank_correlation(&flips), 3),
            number(rank_correlation(&sqnr), 3),
            format!("{rms:.2}"),
            number(off, 1),
            format!("{inside} of {}", said.pairs.len()),
        ]
    };
    Grid {
        heads: heads.map(str::to_owned).to_vec(),
        text_columns: 1,
        rows: all.iter().map(row).collect(),
    }
}

fn drawn(all: &[Said]) -> Scatters {
    let dots = |of: &dyn Fn(&Pair) -> Option<[f64; 2]>| -> Vec<Dot> {
        let each = all.iter().enumerate().flat_map(|(series, said)| {
            let dot = move |pair: &Pair| {
                let [x, y] = of(pair)?;
                Some(Dot {
                    x,
                    y,
                    series,
                    hollow: false,
                    run: pair.run.clone(),
                })
            };
            said.pairs.iter().filter_map(dot).collect::<Vec<_>>()
        });
        each.collect()
    };
    let frame = |title: &str, dots: Vec<Dot>| Scatter {
        title: title.to_owned(),
        x_title: "expected".to_owned(),
        y_title: "measured".to_owned(),
        dots,
        line: Vec::new(),
        diagonal: true,
        level: None,
    };
    let frames = vec![
        frame("top-1 (%)", dots(&|pair| Some(pair.top1))),
        frame("logit SQNR (dB)", dots(&|pair| pair.sqnr)),
    ];
    Scatters {
        frames,
        series: all.iter().map(|said| (said.name.clone(), false)).collect(),
        line: Some("as expected"),
        level: None,
    }
}

/// Spearman's rank correlation; none of few pairs, or where one side is always the same.
fn rank_correlation(pairs: &[[f64; 2]]) -> Option<f64> {
    if pairs.len() < FEWEST {
        return None;
    }
    let [x, y] = [0, 1].map(|side| ranks(&pairs.iter().map(|pair| pair[side]).collect::<Vec<_>>()));
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let spread = (product(&x, &x) * product(&y, &y)).sqrt();
    (spread > 0.0).then(|| product(&x, &y) / spread)
}

/// The place of each value by size, from 1; equal ones have the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let place = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let same = values.iter().filter(|other| *other == value).count();
        below as f64 + (same as f64 + 1.0) / 2.0
    };
    values.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_and_not_distances() {
        let pairs = |of: &dyn Fn(f64) -> f64| -> Vec<[f64; 2]> {
            (0..9).map(|i| [f64::from(i), of(f64::from(i))]).collect()
        };
        let correlation = |of: &dyn Fn(f64) -> f64| rank_correlation(&pairs(of));
        assert_eq!(correlation(&|x| x.exp()), Some(1.0));
        assert_eq!(correlation(&|x| -x * x), Some(-1.0));
        assert_eq!(correlation(&|_| 1.0), None);
        assert_eq!(rank_correlation(&pairs(&|x| x)[..4]), None);
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        // Kendall's book's example: 1 - 6 * 20 / (6 * 35).
        let pairs = [
            [1.0, 2.0],
            [2.0, 1.0],
            [3.0, 6.0],
            [4.0, 5.0],
            [5.0, 4.0],
            [6.0, 3.0],
        ];
        let found = rank_correlation(&pairs).unwrap();
        assert!(
            (found - (1.0 - 6.0 * 22.0 / 210.0)).abs() < 1e-12,
            "{found}"
        );
    }
}
