//! What the literature says that runs come to, to stand beside what they came to.

use anyhow::{Result, anyhow, bail};
use toml::Spanned;
use toml::de::DeValue;

use super::condition::Condition;
use super::leaves::{in_file_order, line_of, number};

/// A published accuracy.
#[derive(Clone, Debug)]
pub struct Published {
    /// The runs that it is for.
    pub condition: Condition,
    /// Top-1 in percent.
    pub top1: f64,
    /// Who says so, and where.
    pub source: String,
}

/// Reads a `[[published]]` table of `text`.
pub(super) fn parse_published(text: &str, value: &Spanned<DeValue<'_>>) -> Result<Published> {
    let line = line_of(text, value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        bail!("line {line}: `published` must be a [[published]] table");
    };
    let mut condition = Condition::default();
    let (mut top1, mut source) = (None, None);
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("where", DeValue::Table(table)) => condition = Condition::parse(text, table)?,
            ("top1", value) => {
                top1 = number(value).filter(|percent| (0.0..=100.0).contains(percent));
                if top1.is_none() {
                    bail!("line {line}: `top1` must be a number from 0 to 100, in percent");
                }
            }
            ("source", DeValue::String(words)) => source = Some(words.to_string()),
            (other, _) => bail!(
                "line {line}: `{other}` does not belong into [[published]]; it has where, top1 (percent), source (a text)"
            ),
        }
    }
    let missing = |what: &str| anyhow!("line {line}: a [[published]] needs `{what}`");
    Ok(Published {
        condition,
        top1: top1.ok_or_else(|| missing("top1"))?,
        source: source.ok_or_else(|| missing("source"))?,
    })
}
