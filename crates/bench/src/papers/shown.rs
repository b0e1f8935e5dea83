//! Lines as columns of a terminal, as Markdown, as CSV.

use std::collections::BTreeMap;
use std::fmt;

use report::{Grid, markdown_grid, wrapped};

use super::{Line, Need, Ours, Verdict};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::experiment::Differs::{Data, Method, Network, Training};
        match self {
            Self::Reproduces => f.write_str("reproduces"),
            Self::Differs(points) => write!(f, "differs by {points:+.2}"),
            Self::Another(Data) => f.write_str("other data"),
            Self::Another(what @ (Method | Network | Training)) => write!(f, "another {what}"),
            Self::Missing(needs) => {
                let names: Vec<&str> = needs.iter().map(|need| need.name.as_str()).collect();
                match names.is_empty() {
                    true => f.write_str("missing"),
                    false => write!(f, "missing: needs {}", names.join(", ")),
                }
            }
        }
    }
}

/// Lines of one experiment together: its name, the paper that all of them are from, if there is one.
fn experiments(lines: &[Line]) -> Vec<(&str, &str, Vec<&Line>)> {
    let mut found: Vec<(&str, &str, Vec<&Line>)> = Vec::new();
    for line in lines {
        let paper = line.published.paper.as_str();
        match found.last_mut() {
            Some((name, common, own)) if *name == line.experiment => {
                if *common != paper {
                    *common = "";
                }
                own.push(line);
            }
            _ => found.push((&line.experiment, paper, vec![line])),
        }
    }
    found
}

/// Where a value stands: what the heading does not say.
fn place(line: &Line, common: &str) -> String {
    let published = &line.published;
    match (common.is_empty(), published.table.as_str()) {
        (true, _) => published.cited(),
        (false, "") => String::new(),
        (false, table) => format!("table {table}"),
    }
}

fn heading(name: &str, common: &str) -> String {
    match common {
        "" => name.to_owned(),
        paper => format!("{name}: {paper}"),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.2}"))
}

fn off(line: &Line) -> String {
    let off = line.ours.as_ref().map(|ours| ours.off(&line.published));
    off.map_or_else(String::new, |points| format!("{points:+.2}"))
}

/// `text` in so many characters, the last of them an ellipsis where some are left out.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// As aligned columns of a terminal of `width` characters, at least 64.
pub fn text(lines: &[Line], width: usize) -> String {
    let width = width.max(64);
    // Three numbers of 6 with a blank before each, and a verdict with two.
    let verdict = 17;
    let label = width - 2 - 3 * 7 - 2 - verdict;
    let mut out = String::new();
    for (name, common, own) in experiments(lines) {
        out.push_str(&wrapped(&heading(name, common), width));
        out.push_str(&format!(
            "  {:<label$} {:>6} {:>6} {:>6}  verdict\n",
            "", "theirs", "ours", "off"
        ));
        let mut last = String::new();
        for line in own {
            let place = place(line, common);
            if place != last && !place.is_empty() {
                out.push_str(&format!("  {}\n", cut(&place, width - 2)));
            }
            last = place;
            let row = match line.published.row.as_str() {
                "" => line.ours.as_ref().map_or("", |ours| ours.run_id.as_str()),
                row => row,
            };
            let top1 = line.ours.as_ref().map(Ours::top1);
            out.push_str(&format!(
                "  {:<label$} {:>6} {:>6} {:>6}  {}\n",
                cut(&format!("  {row}"), label),
                number(Some(line.published.top1)),
                number(top1),
                off(line),
                cut(
                    match &line.verdict {
                        // What it needs stands below.
                        Verdict::Missing(_) => "missing".to_owned(),
                        other => other.to_string(),
                    }
                    .as_str(),
                    verdict
                )
            ));
        }
        out.push('\n');
    }
    for note in missing(lines) {
        out.push_str(&wrapped(&note.replace('`', ""), width));
        out.push('\n');
    }
    out + &wrapped(&summary(lines), width)
}

/// As pipe tables, one for each experiment.
pub fn markdown(lines: &[Line]) -> String {
    let mut out = String::new();
    for (name, common, own) in experiments(lines) {
        let heads = [
            "where",
            "row",
            "theirs %",
            "their float",
            "ours %",
            "95 % interval",
            "our float",
            "off",
            "verdict",
            "run",
        ];
        let row = |line: &&Line| {
            let ours = line.ours.as_ref();
            let interval = ours.map(Ours::interval);
            let draws = ours.map_or(0, |ours| ours.draws);
            let run = ours.map(|ours| match draws {
                1 => format!("`{}`", ours.run_id),
                n => format!("`{}`, the median of {n} draws", ours.run_id),
            });
            vec![
                place(line, common),
                line.published.row.clone(),
                number(Some(line.published.top1)),
                number(line.published.float),
                number(ours.map(Ours::top1)),
                interval.map_or_else(String::new, |(low, high)| format!("{low:.2}–{high:.2}")),
                number(ours.and_then(Ours::float_top1)),
                off(line),
                line.verdict.to_string(),
                run.unwrap_or_default(),
            ]
        };
        let mut grid = Grid {
            heads: heads.map(str::to_owned).to_vec(),
            text_columns: 2,
            rows: own.iter().map(row).collect(),
        };
        // A column that says nothing of any line.
        for column in (0..heads.len()).rev() {
            if grid.rows.iter().all(|row| row[column].is_empty()) {
                grid.heads.remove(column);
                grid.text_columns -= usize::from(column < grid.text_columns);
                grid.rows
                    .iter_mut()
                    .for_each(|row| drop(row.remove(column)));
            }
        }
        let title = match common {
            "" => format!("**{name}**"),
            paper => format!("**{name}**: {paper}"),
        };
        out.push_str(&format!("{title}\n\n{}\n", markdown_grid(&grid)));
    }
    for note in missing(lines) {
        out.push_str(&format!("- {note}\n"));
    }
    if !out.ends_with("\n\n") {
        out.push('\n');
    }
    out + &summary(lines) + "\n"
}

/// As CSV, a record a line; empty: not there.
pub fn csv(lines: &[Line]) -> String {
    let mut out = "experiment,paper,table,row,source,published_percent,published_float_percent,tolerance_points,run_id,draws,\
        top1_correct,images,float_correct,low_percent,high_percent,off_points,verdict\n"
        .to_owned();
    let plain = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    for line in lines {
        let (published, ours) = (&line.published, line.ours.as_ref());
        let count =
            |of: fn(&Ours) -> u64| ours.map_or_else(String::new, |ours| of(ours).to_string());
        let rounded = |value: f64| format!("{value:.4}");
        let interval = ours.map(Ours::interval);
        let fields = [
            line.experiment.clone(),
            published.paper.clone(),
            published.table.clone(),
            published.row.clone(),
            published.source.clone(),
            published.top1.to_string(),
            plain(published.float),
            published.tolerance.to_string(),
            ours.map_or_else(String::new, |ours| ours.run_id.clone()),
            count(|ours| ours.draws as u64),
            count(|ours| ours.hits),
            count(|ours| ours.images),
            ours.and_then(|ours| ours.float)
                .map_or_else(String::new, |(hits, _)| hits.to_string()),
            interval.map_or_else(String::new, |(low, _)| rounded(low)),
            interval.map_or_else(String::new, |(_, high)| rounded(high)),
            ours.map_or_else(String::new, |ours| rounded(ours.off(published))),
            line.verdict.to_string(),
        ];
        let quoted = fields.map(|field| match field.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        });
        out.push_str(&quoted.join(","));
        out.push('\n');
    }
    out
}

/// How the runs that are not there are made: a sentence for each set of things that they need.
fn missing(lines: &[Line]) -> Vec<String> {
    let mut wanting: BTreeMap<String, (&[Need], Vec<&str>, usize)> = BTreeMap::new();
    for line in lines {
        if let Verdict::Missing(needs) = &line.verdict {
            let key = line.verdict.to_string();
            let own = wanting.entry(key).or_insert((needs, Vec::new(), 0));
            own.2 += 1;
            if own.1.last() != Some(&line.sweep.as_str()) {
                own.1.push(&line.sweep);
            }
        }
    }
    let sentence = |(needs, files, rows): (&[Need], Vec<&str>, usize)| {
        let fetched: Vec<&str> = needs
            .iter()
            .filter(|n| n.fetched)
            .map(|n| n.name.as_str())
            .collect();
        let by_hand: Vec<&str> = needs
            .iter()
            .filter(|n| !n.fetched)
            .map(|n| n.name.as_str())
            .collect();
        let mut steps = Vec::new();
        if !by_hand.is_empty() {
            steps.push(format!(
                "{} by hand (docs/networks-and-images.md)",
                by_hand.join(", ")
            ));
        }
        if !fetched.is_empty() {
            steps.push(format!("`just fetch {}`", fetched.join(" ")));
        }
        steps.extend(files.iter().map(|file| format!("`just {file}`")));
        let rows = match rows {
            1 => "1 row is missing".to_owned(),
            n => format!("{n} rows are missing"),
        };
        format!("{rows}: {}", steps.join(", "))
    };
    wanting.into_values().map(sentence).collect()
}

/// How many are what.
pub(super) fn summary(lines: &[Line]) -> String {
    let count = |of: fn(&Verdict) -> bool| lines.iter().filter(|line| of(&line.verdict)).count();
    let missing = count(|verdict| matches!(verdict, Verdict::Missing(_)));
    format!(
        "{} published values, {} with a run: {} reproduce, {} differ, {} are of another network, training, method or data; {missing} missing.",
        lines.len(),
        lines.len() - missing,
        count(|verdict| matches!(verdict, Verdict::Reproduces)),
        count(|verdict| matches!(verdict, Verdict::Differs(_))),
        count(|verdict| matches!(verdict, Verdict::Another(_))),
    )
}
