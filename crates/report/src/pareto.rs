//! What accuracy costs: top-1 against what the weights take, against bit operations and, in integers, against measured time; the front
//! of those runs of which none is both cheaper and better. For experiments that allocate bits.

use results::metric;

use crate::accuracy::{AccuracyTable, TableRow};
use crate::grid::Grid;
use crate::load::Loaded;
use crate::scatter::{Dot, Scatter, Scatters};

/// Bits in a kibibyte.
const KIB: f64 = 8.0 * 1024.0;

/// A cost that runs have.
struct Measure {
    title: &'static str,
    unit: &'static str,
    of: fn(&TableRow, &Loaded) -> Option<f64>,
}

const MEASURES: [Measure; 4] = [
    Measure {
        title: "size of the weights",
        unit: "KiB",
        of: |row, loaded| {
            let (bits, _) = loaded.network(&row.run_id, metric::BITS_STORED)?;
            Some(bits / KIB)
        },
    },
    Measure {
        title: "bit operations an image",
        unit: "10^9",
        of: |row, loaded| {
            let (bits, _) = loaded.network(&row.run_id, metric::BIT_OPERATIONS)?;
            Some(bits / 1e9)
        },
    },
    Measure {
        title: "time of the layers, by the table",
        unit: "us",
        of: |row, loaded| {
            let (time, _) = loaded.network(&row.run_id, metric::LAYERS_TIME)?;
            Some(time / 1e3)
        },
    },
    Measure {
        title: "time an image, in integers",
        unit: "ms",
        of: |row, _| {
            let is_integer = row.config.text("execution") == "integer";
            Some(1e3 / row.images_per_second.filter(|_| is_integer)?)
        },
    },
];

/// A run at its cost.
struct Point<'a> {
    row: &'a TableRow,
    cost: f64,
    top1: f64,
}

/// The table of the fronts and what there is to draw; nothing where no run has allocated bits.
pub(crate) fn pareto(table: &AccuracyTable, loaded: &Loaded) -> Option<(Grid, Scatters)> {
    let method = |row: &TableRow| row.config.text("allocate_method").to_owned();
    let quantized = || table.rows.iter().filter(|row| !row.config.is_float());
    if !quantized().any(|row| !method(row).is_empty()) {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for row in quantized() {
        let name = method(row);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut subjects: Vec<[&str; 5]> = Vec::new();
    for row in quantized() {
        if !subjects.contains(&row.subject()) {
            subjects.push(row.subject());
        }
    }
    let (mut frames, mut rows) = (Vec::new(), Vec::new());
    for subject in &subjects {
        for measure in &MEASURES {
            let own = quantized().filter(|row| row.subject() == *subject);
            let points: Vec<Point<'_>> = own
                .filter_map(|row| {
                    let (cost, top1) = ((measure.of)(row, loaded)?, row.top1_percent()?);
                    Some(Point { row, cost, top1 })
                })
                .collect();
            let front = front(&points);
            let float = table.rows.iter().find(|row| {
                row.config.is_float() && row.subject() == *subject && row.failed.is_none()
            });
            let several = subjects.len() > 1;
            let network = |title: &str| match several {
                true => format!("{}, {title}", subject[0]),
                false => title.to_owned(),
            };
            rows.extend(front.iter().map(|point| {
                let bits = loaded.network(&point.row.run_id, metric::AVERAGE_WEIGHT_BITS);
                vec![
                    network(measure.title),
                    named(&method(point.row)),
                    format!("{:.3} {}", point.cost, measure.unit),
                    bits.map_or_else(String::new, |(bits, _)| format!("{bits:.2}")),
                    format!("{:.2}", point.top1),
                    format!("`{}`", point.row.run_id),
                ]
            }));
            let series = |row: &TableRow| names.iter().position(|name| *name == method(row));
            frames.push(Scatter {
                title: network(measure.title),
                x_title: measure.unit.to_owned(),
                y_title: "top-1 accuracy (%)".to_owned(),
                dots: (points.iter())
                    .map(|point| Dot {
                        x: point.cost,
                        y: point.top1,
                        series: series(point.row).unwrap_or(0),
                        hollow: is_uniform(&method(point.row)),
                        run: point.row.run_id.clone(),
                    })
                    .collect(),
                line: front.iter().map(|point| (point.cost, point.top1)).collect(),
                diagonal: false,
                level: float.and_then(TableRow::top1_percent),
            });
        }
    }
    let heads = [
        "front of",
        "bits by",
        "cost",
        "bits a weight",
        "top-1 %",
        "run",
    ];
    let grid = Grid {
        heads: heads.map(str::to_owned).to_vec(),
        text_columns: 2,
        rows,
    };
    let shown: Vec<(String, bool)> = (names.iter())
        .map(|name| (named(name), is_uniform(name)))
        .collect();
    let drawn = Scatters {
        frames,
        series: shown,
        line: Some("front"),
        level: Some("float"),
    };
    Some((grid, drawn))
}

fn is_uniform(method: &str) -> bool {
    method.is_empty() || method == "uniform"
}

fn named(method: &str) -> String {
    match method {
        "" => "none".to_owned(),
        method => method.to_owned(),
    }
}

/// The points of which none is both cheaper and better, by rising cost.
fn front<'a, 'b>(points: &'b [Point<'a>]) -> Vec<&'b Point<'a>> {
    let mut sorted: Vec<&Point<'_>> = points.iter().collect();
    sorted.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(b.top1.total_cmp(&a.top1)));
    let mut best = f64::NEG_INFINITY;
    sorted.retain(|point| {
        let is_better = point.top1 > best;
        best = best.max(point.top1);
        is_better
    });
    sorted
}
