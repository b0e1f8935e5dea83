//! What the literature, or a peer tool, says that runs come to, to stand beside what they came to.
//!
//! ```toml
//! [paper]                        # what all of the file's values have in common; optional
//! name = "Nagel et al. 2021, arXiv 2106.08295"
//! tolerance = 0.5                # points that a value may be off, and a float network be another
//! images = 50000
//! differs = "training"
//!
//! [[published]]
//! row = "ResNet-18, W8"          # and table, float, ..., each in the place of what [paper] says
//! where = { weights.bits = 8 }
//! float = 69.68
//! top1 = 69.57
//! ```
//!
//! Nothing of this is part of a configuration: no run's id depends on it.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use results::PublishedRow;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::condition::Condition;
use super::leaves::{in_file_order, line_of, number};

/// In what our run is another thing than what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// The same architecture, trained by somebody else: values cannot be compared, what quantizing costs can.
    Training,
    /// Another network: the published one has no file here.
    Network,
    /// Other images.
    Data,
    /// Another method, or another setting of it, that is near.
    Method,
}

/// Each with its word.
const WORDS: [(&str, Differs); 4] = [
    ("training", Differs::Training),
    ("network", Differs::Network),
    ("data", Differs::Data),
    ("method", Differs::Method),
];

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = WORDS.iter().find(|(_, differs)| differs == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// A published accuracy.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The runs that it is for.
    pub condition: Condition,
    /// Top-1 in percent.
    pub top1: f64,
    /// Who says so; empty where `source` says it all.
    pub paper: String,
    /// In which table; empty where it does not matter.
    pub table: String,
    /// Which row of it.
    pub row: String,
    /// Who says so, and where; beside a paper: by whom it is repeated, if not by the paper itself.
    pub source: String,
    /// Top-1 of the float network there, in percent.
    pub float: Option<f64>,
    /// Points that ours may be off beside what chance explains.
    pub tolerance: f64,
    /// How many test images there were.
    pub images: Option<u64>,
    /// In what our run is another thing; absent: in nothing.
    pub differs: Option<Differs>,
}

impl Published {
    /// Paper, table and source in one.
    pub fn cited(&self) -> String {
        let table = match self.table.as_str() {
            "" => String::new(),
            table => format!("table {table}"),
        };
        let parts = [&self.paper, &table, &self.source];
        let parts: Vec<&str> = parts.into_iter().map(String::as_str).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join(", ")
    }

    /// As a row of `published.csv`.
    pub fn row_of(&self, run_id: &str) -> PublishedRow {
        PublishedRow {
            run_id: run_id.to_owned(),
            top1_percent: self.top1,
            source: self.cited(),
            paper: self.paper.clone(),
            paper_table: self.table.clone(),
            paper_row: self.row.clone(),
            float_percent: self.float,
            tolerance_points: Some(self.tolerance).filter(|points| *points > 0.0),
            images: self.images,
            differs: self.differs.map(|differs| differs.to_string()),
        }
    }
}

/// What a `[paper]` or a [[published]] table says, as far as it says it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    condition: Option<Condition>,
    top1: Option<f64>,
    paper: Option<String>,
    table: Option<String>,
    row: Option<String>,
    source: Option<String>,
    float: Option<f64>,
    tolerance: Option<f64>,
    images: Option<u64>,
    differs: Option<Option<Differs>>,
}

/// Reads the `[paper]` table of `text`.
pub(super) fn parse_paper(text: &str, table: &DeTable<'_>) -> Result<Said> {
    let mut said = Said::default();
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        match key.get_ref().as_ref() {
            "name" => said.paper = Some(words(line, "name", value.get_ref())?),
            other if said.common(line, other, value.get_ref())? => {}
            other => bail!(
                "line {line}: `{other}` does not belong into [paper]; it has name, source (texts), table, float, tolerance, images, differs"
            ),
        }
    }
    Ok(said)
}

/// Reads a `[[published]]` table of `text`; what it does not say, `paper` says.
pub(super) fn parse_published(
    text: &str,
    value: &Spanned<DeValue<'_>>,
    paper: &Said,
) -> Result<Published> {
    let line = line_of(text, value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        bail!("line {line}: `published` must be a [[published]] table");
    };
    let mut said = paper.clone();
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("where", DeValue::Table(table)) => {
                said.condition = Some(Condition::parse(text, table)?);
            }
            ("top1", value) => said.top1 = Some(percent(line, "top1", value)?),
            ("row", value) => said.row = Some(words(line, "row", value)?),
            ("paper", value) => said.paper = Some(words(line, "paper", value)?),
            (other, value) if said.common(line, other, value)? => {}
            (other, _) => bail!(
                "line {line}: `{other}` does not belong into [[published]]; it has where, top1, float (percent), paper, row, source (texts), table, tolerance (points), images, differs"
            ),
        }
    }
    let missing = |what: &str| anyhow!("line {line}: a [[published]] needs `{what}`");
    if said.paper.is_none() && said.source.is_none() {
        return Err(missing("source` or `paper"));
    }
    Ok(Published {
        condition: said.condition.unwrap_or_default(),
        top1: said.top1.ok_or_else(|| missing("top1"))?,
        paper: said.paper.unwrap_or_default(),
        table: said.table.unwrap_or_default(),
        row: said.row.unwrap_or_default(),
        source: said.source.unwrap_or_default(),
        float: said.float,
        tolerance: said.tolerance.unwrap_or(0.0),
        images: said.images,
        differs: said.differs.flatten(),
    })
}

impl Said {
    /// Takes what may stand in either table; false for a key that may not.
    fn common(&mut self, line: usize, key: &str, value: &DeValue<'_>) -> Result<bool> {
        match key {
            "source" => self.source = Some(words(line, key, value)?),
            "table" => {
                let number = number(value).map(|number| number.to_string());
                self.table = Some(number.map_or_else(|| words(line, key, value), Ok)?);
            }
            "float" => self.float = Some(percent(line, key, value)?),
            "tolerance" => {
                let points = number(value).filter(|points| (0.0..=100.0).contains(points));
                self.tolerance = Some(points.ok_or_else(|| {
                    anyhow!("line {line}: `tolerance` must be a number from 0 to 100, in points")
                })?);
            }
            "images" => {
                let count = number(value).filter(|n| *n >= 1.0 && n.fract() == 0.0);
                let count = count.ok_or_else(|| {
                    anyhow!("line {line}: `images` must be a whole number above 0")
                })?;
                self.images = Some(count as u64);
            }
            "differs" => {
                let word = words(line, key, value)?;
                let found = WORDS.iter().find(|(known, _)| *known == word);
                self.differs = Some(match (found, word.as_str()) {
                    (Some((_, differs)), _) => Some(*differs),
                    (None, "nothing") => None,
                    (None, _) => bail!(
                        "line {line}: differs = {word}: allowed are {}, nothing",
                        WORDS.map(|(word, _)| word).join(", ")
                    ),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn words(line: usize, key: &str, value: &DeValue<'_>) -> Result<String> {
    match value {
        DeValue::String(words) if !words.trim().is_empty() => Ok(words.to_string()),
        _ => bail!("line {line}: `{key}` must be a text"),
    }
}

fn percent(line: usize, key: &str, value: &DeValue<'_>) -> Result<f64> {
    let percent = number(value).filter(|percent| (0.0..=100.0).contains(percent));
    percent
        .ok_or_else(|| anyhow!("line {line}: `{key}` must be a number from 0 to 100, in percent"))
}

#[cfg(test)]
mod tests {
    use super::super::Experiment;
    use super::*;

    fn parse(lines: &str) -> Result<Vec<Published>, String> {
        let text = format!("question = 'q'\nexpects = 'e'\n{lines}");
        let experiment = Experiment::parse("x", &text).map_err(|error| format!("{error:#}"));
        experiment.map(|experiment| experiment.published)
    }

    #[test]
    fn a_value_says_where_it_stands_and_the_paper_says_the_rest() {
        // The order of the tables does not matter.
        let text = "[[published]]\ntable = 4\nrow = 'a'\ntop1 = 69.5\nfloat = 69.68\nwhere = { weights.bits = 8 }\n\
            [[published]]\nrow = 'b'\ntop1 = 1\ntable = '4.1'\ndiffers = 'nothing'\ntolerance = 2\n\
            [paper]\nname = 'P 2021'\ndiffers = 'training'\nimages = 50000\ntolerance = 0.5\n";
        let [a, b] = parse(text).unwrap().try_into().unwrap();
        assert_eq!(a.cited(), "P 2021, table 4");
        assert_eq!(
            (a.float, a.tolerance, a.images),
            (Some(69.68), 0.5, Some(50_000))
        );
        assert_eq!(a.differs, Some(Differs::Training));
        assert_eq!(b.cited(), "P 2021, table 4.1");
        assert_eq!((b.float, b.tolerance, b.differs), (None, 2.0, None));
        let row = a.row_of("0123456789ab");
        assert_eq!(
            (
                row.source.as_str(),
                row.paper_row.as_str(),
                row.differs.as_deref()
            ),
            ("P 2021, table 4", "a", Some("training"))
        );
    }

    #[test]
    fn what_files_said_before_there_were_papers_still_stands() {
        let old = "[[published]]\nwhere = { weights.bits = 8 }\ntop1 = 69.8\nsource = 'S 2018, table 2'\n";
        let one = parse(old).unwrap().remove(0);
        assert_eq!(
            (one.cited(), one.tolerance),
            ("S 2018, table 2".to_owned(), 0.0)
        );
        assert_eq!((one.float, one.images, one.differs), (None, None, None));
    }

    #[test]
    fn a_bad_word_is_refused_in_one_line_that_names_it_and_its_place() {
        let table = |lines: &str| format!("[[published]]\ntop1 = 1\nsource = 's'\n{lines}");
        for (text, expected) in [
            (
                table("differs = 'seed'\n"),
                "line 6: differs = seed: allowed are training, network, data, method, nothing",
            ),
            (table("differs = 3\n"), "line 6: `differs` must be a text"),
            (
                table("tolerance = -1\n"),
                "line 6: `tolerance` must be a number from 0 to 100, in points",
            ),
            (
                table("tolerance = nan\n"),
                "line 6: `tolerance` must be a number",
            ),
            (
                table("float = 101\n"),
                "line 6: `float` must be a number from 0 to 100, in percent",
            ),
            (
                table("images = 0.5\n"),
                "line 6: `images` must be a whole number above 0",
            ),
            (table("row = ''\n"), "line 6: `row` must be a text"),
            (
                table("rows = 'x'\n"),
                "line 6: `rows` does not belong into [[published]]",
            ),
            (
                "[paper]\ntop1 = 3\n".to_owned(),
                "line 4: `top1` does not belong into [paper]",
            ),
            (
                "[paper]\nname = 3\n".to_owned(),
                "line 4: `name` must be a text",
            ),
            (
                "paper = 'x'\n".to_owned(),
                "line 3: `paper` is string; expected a table",
            ),
            (
                "[[published]]\ntop1 = 1\n".to_owned(),
                "line 3: a [[published]] needs `source` or `paper`",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(
                error.starts_with(expected) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }
}
