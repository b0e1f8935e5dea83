//! What the runs say together, in sentences: whether they are there, where the float network stands, how many cannot be told from it.
//!
//! `n` comparisons with one float network are as many chances to differ by chance: a run is told from it where `n p < 0.05`
//! (Bonferroni), `p` McNemar's.

use crate::accuracy::{AccuracyTable, TableRow};
use crate::columns::number;

/// Below it, a difference is called one.
const LEVEL: f64 = 0.05;

/// Sentences; `label` says what a run is.
pub(super) fn summary(table: &AccuracyTable, label: impl Fn(&TableRow) -> String) -> Vec<String> {
    let rows = &table.rows;
    let failed = rows.iter().filter(|row| row.failed.is_some()).count();
    let float = || rows.iter().filter(|row| row.config.is_float());
    let runs = |n: usize| if n == 1 { "run" } else { "runs" };
    let mut said = vec![format!(
        "{} {}, {} of them float, {failed} failed.",
        rows.len(),
        runs(rows.len()),
        float().count()
    )];
    let several = float().count() > 1;
    for row in float() {
        let (Some(hits), Some(n), Some((low, high))) = (row.top1, row.n, row.interval) else {
            continue;
        };
        let name = if several { label(row) } else { "float".into() };
        said.push(format!(
            "{name}: {hits} of {n} right, {} % ({:.2}–{:.2}).",
            number(row.top1_percent(), 2),
            100.0 * low,
            100.0 * high
        ));
    }
    let compared: Vec<&TableRow> = rows.iter().filter(|row| row.p.is_some()).collect();
    let n = compared.len();
    if n == 0 {
        return said;
    }
    let told = |row: &&&TableRow| row.p.is_some_and(|p| p * (n as f64) < LEVEL);
    let worse = |row: &&&TableRow| row.difference.is_some_and(|points| points < 0.0);
    let (lost, won): (Vec<&TableRow>, Vec<&TableRow>) =
        (compared.iter().filter(told).copied()).partition(|row| worse(&row));
    let same = n - lost.len() - won.len();
    said.push(format!(
        "Of {n} {} compared with float, {same} cannot be told from it, {} {} worse, {} better (McNemar, p times {n} below {LEVEL}).",
        runs(n),
        lost.len(),
        if lost.len() == 1 { "is" } else { "are" },
        won.len()
    ));
    let by = |row: &&&TableRow| row.difference.map_or(0, |points| (points * 1e4) as i64);
    // Of equals the first.
    let best = compared.iter().rev().max_by_key(by);
    let worst = compared.iter().min_by_key(by);
    for (word, row) in [("Best", best), ("Worst", worst)] {
        let Some(row) = row.filter(|_| n > 1) else {
            continue;
        };
        let sign = if row.difference > Some(0.0) { "+" } else { "" };
        said.push(format!(
            "{word} beside its float run: {}, {} % ({sign}{} points).",
            label(row),
            number(row.top1_percent(), 2),
            number(row.difference, 2)
        ));
    }
    said
}
