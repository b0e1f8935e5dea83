//! A sensitivity map: a row for each layer and site in execution order, a column for each number of bits, the logit SQNR as colour and as
//! number.

use plotters::style::RGBColor;
use results::SensitivityRow;

use crate::canvas::{At, BLACK, LARGE, SMALL, WHITE, picture, sequential, text_width};

/// Pixels of a cell.
const CELL: (f64, f64) = (58.0, 19.0);
/// Between the two halves.
const GAP: f64 = 26.0;
/// Above the cells: title, headings.
const TOP: f64 = 74.0;
/// Steps of colour.
const STEPS: usize = 8;

/// SVG of a map, weights on the left, activations on the right. `None` without a row that says something.
pub fn heat_map(rows: &[SensitivityRow], title: &str) -> Option<String> {
    let halves: Vec<Half<'_>> = [("weight", "weights"), ("activation", "activations")]
        .into_iter()
        .filter_map(|(kind, heading)| Half::of(rows, kind, heading))
        .collect();
    let values = || {
        halves
            .iter()
            .flat_map(|half| half.cells.iter().flatten().flatten())
    };
    let least = values().copied().reduce(f64::min)?;
    let most = values().copied().reduce(f64::max)?;
    let widths: Vec<f64> = halves.iter().map(Half::width).collect();
    let width = widths.iter().sum::<f64>() + GAP * halves.len() as f64 + 12.0;
    let tallest = halves.iter().map(|half| half.names.len()).max()?;
    let height = TOP + CELL.1 * tallest as f64 + 14.0;
    let width = width.max(text_width(title, LARGE) + 24.0);
    Some(picture(width, height, |canvas| {
        canvas.text((12.0, 20.0), title, LARGE, BLACK, At::Start);
        let mut left = 12.0;
        for (half, own) in halves.iter().zip(&widths) {
            let cells = left + own - CELL.0 * half.bits.len() as f64;
            canvas.text((left, TOP - 12.0), half.heading, SMALL, BLACK, At::Start);
            for (column, bits) in half.bits.iter().enumerate() {
                let x = cells + CELL.0 * (column as f64 + 0.5);
                let text = format!("{bits} bits");
                canvas.text((x, TOP - 12.0), &text, SMALL, BLACK, At::Middle);
            }
            for (line, name) in half.names.iter().enumerate() {
                let y = TOP + CELL.1 * line as f64;
                canvas.text((left, y + CELL.1 / 2.0), name, SMALL, BLACK, At::Start);
                for (column, value) in half.cells[line].iter().enumerate() {
                    let x = cells + CELL.0 * column as f64;
                    let Some(value) = value else { continue };
                    let share = match most > least {
                        true => (value - least) / (most - least),
                        false => 1.0,
                    };
                    let step = ((share * STEPS as f64) as usize).min(STEPS - 1);
                    let color = sequential(step, STEPS);
                    canvas.rect((x, y), (x + CELL.0 - 1.0, y + CELL.1 - 1.0), color, 1.0);
                    let at = (x + CELL.0 / 2.0, y + CELL.1 / 2.0);
                    canvas.text(at, &format!("{value:.1}"), SMALL, ink(color), At::Middle);
                }
            }
            left += own + GAP;
        }
    }))
}

/// Weights or activations.
struct Half<'a> {
    heading: &'static str,
    names: Vec<&'a str>,
    bits: Vec<u32>,
    /// By name and bits: dB.
    cells: Vec<Vec<Option<f64>>>,
}

impl<'a> Half<'a> {
    fn of(rows: &'a [SensitivityRow], kind: &str, heading: &'static str) -> Option<Self> {
        let own: Vec<&SensitivityRow> = rows.iter().filter(|row| row.kind == kind).collect();
        let mut names: Vec<&str> = Vec::new();
        for row in &own {
            if !names.contains(&row.layer.as_str()) {
                names.push(&row.layer);
            }
        }
        let mut bits: Vec<u32> = own.iter().map(|row| row.bits).collect();
        bits.sort_unstable();
        bits.dedup();
        let cell = |name: &str, bits: u32| {
            let row = own
                .iter()
                .find(|row| row.layer == name && row.bits == bits)?;
            row.sqnr_db()
        };
        let line = |name: &&str| bits.iter().map(|&bits| cell(name, bits)).collect();
        let cells = names.iter().map(line).collect();
        (!names.is_empty()).then_some(Self {
            heading,
            names,
            bits,
            cells,
        })
    }

    fn width(&self) -> f64 {
        let names = self.names.iter().map(|name| text_width(name, SMALL));
        let longest = names.fold(text_width(self.heading, SMALL), f64::max);
        longest + 10.0 + CELL.0 * self.bits.len() as f64
    }
}

/// What can be read on a colour.
fn ink(color: RGBColor) -> RGBColor {
    let light = 0.3 * f64::from(color.0) + 0.59 * f64::from(color.1) + 0.11 * f64::from(color.2);
    match light > 140.0 {
        true => BLACK,
        false => WHITE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layer: &str, kind: &str, bits: u32, noise: f64) -> SensitivityRow {
        SensitivityRow {
            layer: layer.into(),
            kind: kind.into(),
            tried: "alone".into(),
            bits,
            images: 10,
            signal: 1.0,
            noise,
            kl_sum: noise,
            loss_sum: 0.0,
            flips: 0,
            top1_correct: 0,
        }
    }

    #[test]
    fn every_layer_and_site_has_its_cells_and_what_lost_nothing_has_none() {
        let rows = [
            row("conv1", "weight", 2, 0.1),
            row("conv1", "weight", 8, 0.001),
            row("fc", "weight", 2, 0.01),
            row("fc", "weight", 8, 0.0),
            row("input", "activation", 8, 0.5),
        ];
        let svg = heat_map(&rows, "net").unwrap();
        for text in [
            "conv1", "fc", "input", "10.0", "30.0", "20.0", "3.0", "weights",
        ] {
            assert!(svg.contains(&format!(">\n{text}\n<")), "{text}");
        }
        // The paper and a cell for each that lost something.
        assert_eq!(svg.matches("<rect ").count(), 1 + 4);
        assert!(heat_map(&rows[3..4], "net").is_none());
        assert!(heat_map(&[], "net").is_none());
    }
}
