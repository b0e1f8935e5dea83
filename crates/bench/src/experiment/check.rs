//! The counts that an experiment says must come out.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use toml::Spanned;
use toml::de::DeValue;

use super::Scalar;
use super::condition::Condition;
use super::leaves::{in_file_order, line_of, scalar};

/// A count that must come out.
#[derive(Clone, Debug)]
pub struct Check {
    /// The runs that it is about.
    pub condition: Condition,
    /// The whole network's metric, such as `top1_correct`.
    pub metric: String,
    /// What it must be.
    pub expected: f64,
    /// How far off it may be.
    pub tolerance: f64,
}

impl Check {
    /// Whether a value is near enough.
    pub fn holds(&self, value: f64) -> bool {
        (value - self.expected).abs() <= self.tolerance
    }
}

/// Reads a `[[check]]` table of `text`.
pub(super) fn parse_check(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Check> {
    let line = line_of(text, value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        bail!("line {line}: `check` must be a [[check]] table");
    };
    let mut condition = Condition::default();
    let mut metric = None;
    let mut numbers = BTreeMap::new();
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("where", DeValue::Table(table)) => condition = Condition::parse(text, table)?,
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
        condition,
        metric: metric.unwrap_or_else(|| "top1_correct".to_owned()),
        expected: *numbers
            .get("expected")
            .ok_or_else(|| anyhow!("line {line}: a [[check]] needs `expected`"))?,
        tolerance: numbers.get("tolerance").copied().unwrap_or(0.0),
    })
}
