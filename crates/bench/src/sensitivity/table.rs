//! A map as a ranked table of 80 columns.

use std::collections::BTreeMap;

use results::SensitivityRow;

/// Columns of a terminal that the table keeps to.
const WIDTH: usize = 80;
/// Of a width's two columns.
const EACH: usize = 14;
/// Of a kind.
const KIND: usize = 4;

/// The rows of a map as a table, who harms most first: by the divergence at the fewest bits that all of them have. Of each width the
/// logit SQNR in dB and how many more hits of the images there are than `float_hits`.
pub fn text(rows: &[SensitivityRow], float_hits: u64) -> String {
    let mut widths: Vec<u32> = rows.iter().map(|row| row.bits).collect();
    widths.sort_unstable();
    widths.dedup();
    let mut lines: BTreeMap<(&str, &str), BTreeMap<u32, &SensitivityRow>> = BTreeMap::new();
    for row in rows {
        let key = (row.kind.as_str(), row.layer.as_str());
        lines.entry(key).or_default().insert(row.bits, row);
    }
    let mut ranked: Vec<_> = lines.into_iter().collect();
    let harm =
        |of: &BTreeMap<u32, &SensitivityRow>| of.values().next().map_or(0.0, |row| row.kl_sum);
    // Stable: equal ones stay by kind and name.
    ranked.sort_by(|one, other| harm(&other.1).total_cmp(&harm(&one.1)));
    let longest = ranked.iter().map(|((_, layer), _)| layer.chars().count());
    // As many widths as fit; the fewest bits say most.
    let name = longest.max().unwrap_or(0).clamp(5, 32);
    let fitting = (WIDTH - KIND - name) / EACH;
    widths.truncate(fitting.max(1));
    let mut text = format!("{:<name$}{:<KIND$}", "", "");
    for width in &widths {
        text += &format!("{:>EACH$}", format!("{width} bits"));
    }
    text += &format!("\n{:<name$}{:<KIND$}", "layer", "");
    for _ in &widths {
        text += &format!("{:>EACH$}", "dB    hits");
    }
    text += "\n";
    for ((kind, layer), of) in ranked {
        let kind = match kind {
            "weight" => " w",
            _ => " a",
        };
        text += &format!("{:<name$}{kind:<KIND$}", shortened(layer, name));
        for width in &widths {
            let cell = of.get(width).map_or_else(String::new, |row| {
                let sqnr = row
                    .sqnr_db()
                    .map_or_else(|| "-".to_owned(), |db| format!("{db:.1}"));
                let hits = row.top1_correct as i64 - float_hits as i64;
                format!("{sqnr:>6}{hits:>+8}")
            });
            text += &format!("{cell:>EACH$}");
        }
        text.truncate(text.trim_end().len());
        text += "\n";
    }
    text
}

/// The end of a name that is too long: there layers of a block differ.
fn shortened(name: &str, most: usize) -> String {
    let count = name.chars().count();
    match count > most {
        false => name.to_owned(),
        true => format!(
            "…{}",
            name.chars().skip(count + 1 - most).collect::<String>()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layer: &str, kind: &str, bits: u32, kl: f64, hits: u64) -> SensitivityRow {
        SensitivityRow {
            layer: layer.into(),
            kind: kind.into(),
            tried: "alone".into(),
            bits,
            images: 100,
            signal: 100.0,
            noise: kl,
            kl_sum: kl,
            loss_sum: 1.0,
            flips: 3,
            top1_correct: hits,
        }
    }

    #[test]
    fn the_most_harmful_come_first_and_lines_keep_to_80_columns() {
        let long = "a.very.long.name.of.a.layer.in.a.block.of.a.stage.conv1";
        let mut rows = Vec::new();
        for (layer, harm) in [("conv1", 1.0), (long, 9.0), ("fc", 4.0)] {
            for bits in [2, 3, 4, 5, 6, 8] {
                rows.push(row(layer, "weight", bits, harm / f64::from(bits), 90));
            }
        }
        rows.push(row("input", "activation", 8, 0.0, 91));
        let text = text(&rows, 92);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(
            lines[2].contains(".stage.conv1") && lines[2].starts_with('…'),
            "{text}"
        );
        assert!(
            lines[3].starts_with("fc") && lines[4].starts_with("conv1"),
            "{text}"
        );
        assert!(lines[2].contains("-2") && lines[5].contains(" a"), "{text}");
    }
}
