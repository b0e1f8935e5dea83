//! What other tools make of the same network, to stand beside what runs came to.

use anyhow::{Result, anyhow, bail};
use results::PeerRow;
use toml::Spanned;
use toml::de::DeValue;

use super::condition::Condition;
use super::leaves::{in_file_order, line_of, number};

/// Reads a `[[peer]]` table of `text`.
pub(super) fn parse_peer(text: &str, value: &Spanned<DeValue<'_>>) -> Result<PeerRow> {
    let line = line_of(text, value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        bail!("line {line}: `peer` must be a [[peer]] table");
    };
    let mut condition = Condition::default();
    let (mut name, mut source) = (None, None);
    let (mut hits, mut images, mut seconds) = (None, None, None);
    for (key, value) in in_file_order(table) {
        let line = line_of(text, key.span().start);
        let key = key.get_ref().as_ref();
        let count = || {
            let count = number(value.get_ref()).filter(|n| *n >= 0.0 && n.fract() == 0.0);
            let count = count.ok_or_else(|| anyhow!("line {line}: `{key}` must be a whole number"));
            count.map(|n| Some(n as u64))
        };
        match (key, value.get_ref()) {
            ("where", DeValue::Table(table)) => condition = Condition::parse(text, table)?,
            ("name", DeValue::String(words)) => name = Some(words.to_string()),
            ("source", DeValue::String(words)) => source = Some(words.to_string()),
            ("hits", _) => hits = count()?,
            ("images", _) => images = count()?,
            ("seconds", value) => {
                seconds = number(value).filter(|n| n.is_finite() && *n > 0.0);
                if seconds.is_none() {
                    bail!("line {line}: `seconds` must be a number above 0");
                }
            }
            (other, _) => bail!(
                "line {line}: `{other}` does not belong into [[peer]]; it has name (a text), where, hits, images, seconds, source (a text)"
            ),
        }
    }
    let missing = |what: &str| anyhow!("line {line}: a [[peer]] needs `{what}`");
    let columns = condition.columns().map_err(|key| {
        anyhow!("line {line}: `{key}` says nothing of a run that a [[peer]] could stand beside")
    })?;
    let columns = columns.iter().map(|(column, value)| (*column, &value[..]));
    let row = PeerRow {
        peer: name.ok_or_else(|| missing("name"))?,
        beside: PeerRow::beside(columns),
        hits: hits.ok_or_else(|| missing("hits"))?,
        images: images.ok_or_else(|| missing("images"))?,
        seconds: seconds.ok_or_else(|| missing("seconds"))?,
        source: source.ok_or_else(|| missing("source"))?,
    };
    if row.images == 0 || row.hits > row.images {
        bail!(
            "line {line}: {} hits of {} images cannot be",
            row.hits,
            row.images
        );
    }
    Ok(row)
}
