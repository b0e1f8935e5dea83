//! TOML tables as dotted keys with their lines.

use anyhow::{Context, Result, anyhow, bail};
use results::setting::Takes;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Scalar;
use super::vary::{Variation, joined};
use crate::settings;

/// A value with its dotted key and where it stands.
pub(super) struct Leaf<'t, 'i> {
    pub key: String,
    pub line: usize,
    offset: usize,
    value: &'t DeValue<'i>,
}

impl Leaf<'_, '_> {
    pub fn scalar(&self) -> Result<Scalar> {
        if self.key.contains(',') {
            bail!(
                "line {}: `{}` joins keys that vary together; that belongs into [vary]",
                self.line,
                self.key
            );
        }
        widths(&self.key, self.value)
            .or_else(|| scalar(self.value))
            .ok_or_else(|| {
                anyhow!(
                    "line {}: `{}` is {}; expected one value (lists belong into [vary])",
                    self.line,
                    self.key,
                    self.value.type_str()
                )
            })
    }

    pub fn variation(&self, text: &str) -> Result<Variation> {
        let (line, key) = (self.line, &self.key);
        let DeValue::Array(items) = self.value else {
            bail!("line {line}: `{key}` in [vary] must be a list");
        };
        if items.is_empty() {
            bail!("line {line}: `{key}` is an empty list, which leaves nothing to run");
        }
        let keys: Vec<String> = joined(key).map(str::to_owned).collect();
        let value = |item: &Spanned<DeValue<'_>>| {
            let list = keys.first().filter(|_| keys.len() == 1);
            let list = list.and_then(|key| widths(key, item.get_ref()));
            list.or_else(|| scalar(item.get_ref())).ok_or_else(|| {
                let line = line_of(text, item.span().start);
                anyhow!("line {line}: `{key}` may list numbers, words, true and false")
            })
        };
        let row = |item: &Spanned<DeValue<'_>>| -> Result<Vec<Scalar>> {
            if keys.len() == 1 {
                return Ok(vec![value(item)?]);
            }
            let n = keys.len();
            // Told for errors alone: lines are counted from the beginning.
            let line = || line_of(text, item.span().start);
            match item.get_ref() {
                DeValue::Array(values) if values.len() == n => values.iter().map(value).collect(),
                DeValue::Array(values) => bail!(
                    "line {}: `{key}` are {n} keys, but a combination has {} values",
                    line(),
                    values.len()
                ),
                _ => bail!(
                    "line {}: `{key}` vary together: each item is a list of {n} values, one for each key",
                    line()
                ),
            }
        };
        let rows = items.iter().map(row).collect::<Result<_>>()?;
        Ok(Variation { keys, rows })
    }
}

/// Of all settings together.
const LONGEST_KEY: usize = 4000;

/// The leaves below a table, dotted keys joined, in the file's order. An unknown key is an error that names its line.
pub(super) fn leaves<'t, 'i>(
    text: &str,
    prefix: &str,
    table: &'t DeTable<'i>,
) -> Result<Vec<Leaf<'t, 'i>>> {
    let mut found = Vec::new();
    for (key, value) in in_file_order(table) {
        let name = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => found.extend(leaves(text, &format!("{name}."), inner)?),
            value => {
                let line = line_of(text, key.span().start);
                if name.len() > LONGEST_KEY {
                    bail!("line {line}: a key of {} characters", name.len());
                }
                for key in joined(&name) {
                    settings::check_key(key).with_context(|| format!("line {line}"))?;
                }
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

pub(super) type Entry<'t, 'i> = (
    &'t Spanned<std::borrow::Cow<'i, str>>,
    &'t Spanned<DeValue<'i>>,
);

/// The parser sorts keys; the order in which a person wrote them is the order of the plan.
pub(super) fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A list of numbers of bits as the one text that it is to a setting that takes such a list.
pub(crate) fn widths(key: &str, value: &DeValue<'_>) -> Option<Scalar> {
    let setting = results::setting::setting(key)?;
    let DeValue::Array(items) = value else {
        return None;
    };
    let items = (setting.takes == Takes::Widths).then_some(items)?;
    let words: Option<Vec<Scalar>> = items.iter().map(|item| scalar(item.get_ref())).collect();
    let words: Vec<String> = words?.iter().map(Scalar::to_string).collect();
    Some(Scalar::Text(words.join(" ")))
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

/// A TOML value that is a number.
pub(super) fn number(value: &DeValue<'_>) -> Option<f64> {
    match scalar(value)? {
        Scalar::Integer(value) => Some(value as f64),
        Scalar::Float(value) => Some(value),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    }
}

/// The line, from 1, of an offset into `text`.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1
}
