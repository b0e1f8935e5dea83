//! An experiment file: one question, the settings that stay, the settings that vary, and the counts that must come out.
//!
//! ```toml
//! question = "How many bits can the weights lose?"
//! expects = "Nothing changes down to 6 bits; 4 bits cost several points; 2 bits is chance."
//!
//! [fixed]
//! model.name = "resnet20-synthetic"
//! method = "linear"
//!
//! [vary]                     # the plan is the product of these lists
//! weights.bits = [8, 4]
//!
//! [[check]]                  # a wrong count fails the sweep
//! where = { weights.bits = 8 }
//! metric = "top1_correct"
//! expected = 1870
//! tolerance = 2
//! ```
//!
//! Dotted keys and nested tables mean the same. Which keys exist is [`crate::settings`]'s business.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::settings::{self, Settings};

/// One value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A word.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// A count that must come out.
#[derive(Clone, Debug)]
pub struct Check {
    /// Applies to the runs that have these settings.
    pub settings: Settings,
    /// The whole network's metric, such as `top1_correct`.
    pub metric: String,
    /// What it must be.
    pub expected: f64,
    /// How far off it may be.
    pub tolerance: f64,
}

/// A parsed experiment.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The file's name without `.toml`; results go into a folder of this name.
    pub name: String,
    /// What is asked.
    pub question: String,
    /// What was expected before the first run.
    pub expects: String,
    /// Settings that are the same in every cell.
    pub fixed: Settings,
    /// Settings that vary, in the file's order; the last one varies fastest.
    pub vary: Vec<(String, Vec<Scalar>)>,
    /// Counts that must come out.
    pub checks: Vec<Check>,
}

impl Experiment {
    /// Reads an experiment file. Errors name the file, the key and its line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment {}", path.display()))?;
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|stem| !stem.is_empty() && !stem.starts_with('.'))
            .ok_or_else(|| anyhow!("{}: the file name is no experiment name", path.display()))?;
        Self::parse(name, &text).with_context(|| PathBuf::from(path).display().to_string())
    }

    /// Parses an experiment's text.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let root = DeTable::parse(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(text, span.start));
            anyhow!("line {line}: {}", e.message())
        })?;
        let mut experiment = Self {
            name: name.to_owned(),
            question: String::new(),
            expects: String::new(),
            fixed: Settings::new(),
            vary: Vec::new(),
            checks: Vec::new(),
        };
        for (key, value) in in_file_order(root.get_ref()) {
            let line = line_of(text, key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("question", DeValue::String(words)) => experiment.question = words.to_string(),
                ("expects", DeValue::String(words)) => experiment.expects = words.to_string(),
                ("fixed", DeValue::Table(table)) => {
                    for leaf in leaves(text, "", table)? {
                        let value = leaf.scalar()?;
                        experiment.fixed.insert(leaf.key, value);
                    }
                }
                ("vary", DeValue::Table(table)) => {
                    for leaf in leaves(text, "", table)? {
                        experiment.vary.push((leaf.key.clone(), leaf.list()?));
                    }
                }
                ("check", DeValue::Array(checks)) => {
                    for check in checks.iter() {
                        experiment.checks.push(parse_check(text, check)?);
                    }
                }
                ("question" | "expects" | "fixed" | "vary" | "check", other) => {
                    bail!(
                        "line {line}: `{}` is {}; expected {}",
                        key.get_ref(),
                        other.type_str(),
                        match key.get_ref().as_ref() {
                            "question" | "expects" => "a text",
                            "check" => "[[check]] tables",
                            _ => "a table",
                        }
                    )
                }
                (other, _) => bail!(
                    "line {line}: unknown key `{other}`; an experiment has question, expects, [fixed], [vary] and [[check]]"
                ),
            }
        }
        if experiment.question.is_empty() || experiment.expects.is_empty() {
            bail!("an experiment states its `question` and what it `expects`; one is missing");
        }
        if let Some((key, _)) = experiment
            .vary
            .iter()
            .find(|(key, _)| experiment.fixed.contains_key(key))
        {
            bail!("`{key}` is both in [fixed] and in [vary]");
        }
        Ok(experiment)
    }

    /// Applies one `--set key=value`: a single value fixes the key, a list varies it.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let (key, values) = settings::parse_assignment(assignment)?;
        let key = key.as_str();
        // A file and an entry of models.toml are two ways to name one thing: the later word counts.
        let rival = match key {
            "model.name" => Some("model.weights"),
            "model.weights" => Some("model.name"),
            _ => None,
        };
        for old in [Some(key), rival].into_iter().flatten() {
            self.fixed.remove(old);
        }
        if let Some(rival) = rival {
            self.vary.retain(|(k, _)| k != rival);
        }
        let place = self.vary.iter().position(|(k, _)| k == key);
        match (place, values.len()) {
            (Some(place), 1) => {
                self.vary.remove(place);
                self.fixed.insert(key.to_owned(), values[0].clone());
            }
            (None, 1) => {
                self.fixed.insert(key.to_owned(), values[0].clone());
            }
            (Some(place), _) => self.vary[place].1 = values,
            (None, _) => self.vary.push((key.to_owned(), values)),
        }
        Ok(())
    }

    /// The settings of every cell: the product of the varying lists, the last list fastest.
    pub fn cells(&self) -> Vec<Settings> {
        self.vary
            .iter()
            .fold(vec![self.fixed.clone()], |cells, (key, values)| {
                cells
                    .iter()
                    .flat_map(|cell| {
                        values.iter().map(|value| {
                            let mut cell = cell.clone();
                            cell.insert(key.clone(), value.clone());
                            cell
                        })
                    })
                    .collect()
            })
    }
}

/// A value with its dotted key and where it stands.
struct Leaf<'t, 'i> {
    key: String,
    line: usize,
    offset: usize,
    value: &'t DeValue<'i>,
}

impl Leaf<'_, '_> {
    fn scalar(&self) -> Result<Scalar> {
        scalar(self.value).ok_or_else(|| {
            anyhow!(
                "line {}: `{}` is {}; expected one value (lists belong into [vary])",
                self.line,
                self.key,
                self.value.type_str()
            )
        })
    }

    fn list(&self) -> Result<Vec<Scalar>> {
        let (line, key) = (self.line, &self.key);
        let DeValue::Array(items) = self.value else {
            bail!("line {line}: `{key}` in [vary] must be a list");
        };
        if items.is_empty() {
            bail!("line {line}: `{key}` is an empty list, which leaves nothing to run");
        }
        items
            .iter()
            .map(|item| {
                scalar(item.get_ref()).ok_or_else(|| {
                    anyhow!("line {line}: `{key}` may list numbers, words, true and false")
                })
            })
            .collect()
    }
}

/// The leaves below a table, dotted keys joined, in the file's order. An unknown key is an error that names its line.
fn leaves<'t, 'i>(text: &str, prefix: &str, table: &'t DeTable<'i>) -> Result<Vec<Leaf<'t, 'i>>> {
    let mut found = Vec::new();
    for (key, value) in in_file_order(table) {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => found.extend(leaves(text, &format!("{name}."), inner)?),
            value => {
                let line = line_of(text, key.span().start);
                settings::check_key(&name).with_context(|| format!("line {line}"))?;
                found.push(Leaf {
                    key: name,
                    line,
                    offset: key.span().start,
                    value,
                });
            }
        }
    }
    // `weights.bits` behind `bn` stays behind it, though the parser puts it into one table with `weights.mapping`.
    found.sort_by_key(|leaf| leaf.offset);
    Ok(found)
}

type Entry<'t, 'i> = (
    &'t Spanned<std::borrow::Cow<'i, str>>,
    &'t Spanned<DeValue<'i>>,
);

/// The parser sorts keys; the order in which a person wrote them is the order of the plan.
fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn parse_check(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Check> {
    let line = line_of(text, value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        bail!("line {line}: `check` must be a [[check]] table");
    };
    let mut settings = Settings::new();
    let mut metric = None;
    let mut numbers = BTreeMap::new();
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("where", DeValue::Table(table)) => {
                for leaf in leaves(text, "", table)? {
                    settings.insert(leaf.key.clone(), leaf.scalar()?);
                }
            }
            ("metric", DeValue::String(name)) => metric = Some(name.to_string()),
            (name @ ("expected" | "tolerance"), value) => {
                let number = match scalar(value) {
                    Some(Scalar::Integer(value)) => value as f64,
                    Some(Scalar::Float(value)) => value,
                    _ => bail!("line {line}: `{name}` must be a number"),
                };
                numbers.insert(name.to_owned(), number);
            }
            (other, _) => bail!(
                "line {line}: `{other}` does not belong into [[check]]; it has where, metric, expected, tolerance"
            ),
        }
    }
    Ok(Check {
        settings,
        metric: metric.unwrap_or_else(|| "top1_correct".to_owned()),
        expected: *numbers
            .get("expected")
            .ok_or_else(|| anyhow!("line {line}: a [[check]] needs `expected`"))?,
        tolerance: numbers.get("tolerance").copied().unwrap_or(0.0),
    })
}

/// A TOML value that is no list, table or date.
pub(crate) fn scalar(value: &DeValue<'_>) -> Option<Scalar> {
    match value {
        DeValue::String(text) => Some(Scalar::Text(text.to_string())),
        DeValue::Boolean(value) => Some(Scalar::Bool(*value)),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .ok()
            .map(Scalar::Integer),
        DeValue::Float(digits) => digits.as_str().parse().ok().map(Scalar::Float),
        _ => None,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "question = \"q\"\nexpects = \"e\"\n[fixed]\nmethod = \"linear\"\nmodel.name = \"m\"\n\
        [vary]\nweights.bits = [8, 4]\nbn = [\"kept\", \"folded\"]\n";

    fn error(text: &str) -> String {
        format!("{:#}", Experiment::parse("x", text).unwrap_err())
    }

    #[test]
    fn the_plan_is_the_product_in_the_order_of_the_file() {
        let cells = Experiment::parse("x", TEXT).unwrap().cells();
        let shown: Vec<String> = cells
            .iter()
            .map(|cell| format!("{} {}", cell["weights.bits"], cell["bn"]))
            .collect();
        assert_eq!(shown, ["8 kept", "8 folded", "4 kept", "4 folded"]);
    }

    #[test]
    fn keys_of_one_table_stay_where_they_were_written() {
        let text = "question = 'q'\nexpects = 'e'\n[vary]\nweights.mapping = ['affine']\nbn = ['kept']\n\
            weights.bits = [8]\n";
        let experiment = Experiment::parse("x", text).unwrap();
        let keys: Vec<_> = experiment
            .vary
            .iter()
            .map(|(key, _)| key.as_str())
            .collect();
        assert_eq!(keys, ["weights.mapping", "bn", "weights.bits"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        assert!(error(&format!("{TEXT}wieghts.bits = [1]\n")).contains("line 9"));
        assert!(error("question = 'q'\nexpect = 'e'\n").contains("line 2: unknown key `expect`"));
    }

    #[test]
    fn broken_toml_is_one_line_with_its_place() {
        let message = error("question = \n");
        assert!(
            message.starts_with("line 1") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn set_fixes_a_varying_key_and_a_list_varies_a_fixed_one() {
        let mut experiment = Experiment::parse("x", TEXT).unwrap();
        experiment.set("weights.bits=6").unwrap();
        experiment.set("method=[linear_is_no_list").unwrap();
        assert_eq!(experiment.cells().len(), 2);
        experiment.set("seed=[1, 2, 3]").unwrap();
        assert_eq!(experiment.cells().len(), 6);
        assert!(experiment.set("nonsense=1").is_err());
    }

    #[test]
    fn naming_a_weights_file_replaces_the_named_model() {
        let mut experiment = Experiment::parse("x", TEXT).unwrap();
        experiment.set("model.weights=/tmp/a.pth").unwrap();
        assert!(!experiment.fixed.contains_key("model.name"));
    }

    #[test]
    fn a_check_carries_its_condition_and_tolerance() {
        let text = format!(
            "{TEXT}[[check]]\nwhere = {{ weights.bits = 8 }}\nexpected = 9180\ntolerance = 3\n"
        );
        let check = Experiment::parse("x", &text).unwrap().checks.remove(0);
        assert_eq!((check.expected, check.tolerance), (9180.0, 3.0));
        assert_eq!(check.settings["weights.bits"], Scalar::Integer(8));
        assert!(error(&format!("{TEXT}[[check]]\ntolerance = 3\n")).contains("expected"));
    }
}
