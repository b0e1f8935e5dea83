//! The help, and what was probably meant by a key that does not exist.

use anyhow::{Result, bail};
use results::setting;

use crate::misspelt::{self, question};

/// Columns of a terminal that the help keeps to.
const WIDTH: usize = 80;

/// Every key, in the order of the columns.
fn keys() -> impl Iterator<Item = &'static str> + Clone {
    setting::settings().filter_map(|setting| setting.key)
}

/// Every setting under its subject, with its meaning and default, in lines of at most 80 columns.
pub fn help() -> String {
    let longest = keys().map(str::len).max().unwrap_or(0);
    let indent = 2 + longest + 2;
    let mut text =
        String::from("Settings, for --set and for an experiment's [fixed] and [vary]:\n");
    for (title, settings) in setting::by_title() {
        text += &format!("\n{title}:\n");
        for setting in settings {
            let meaning = wrapped(&setting.help(), WIDTH - indent);
            for (i, line) in meaning.iter().enumerate() {
                let key = setting.key.filter(|_| i == 0).unwrap_or_default();
                text += &format!("  {key:<longest$}  {line}\n");
            }
        }
    }
    text
}

/// Fails for a key that does not exist, naming the nearest ones.
pub fn check_key(key: &str) -> Result<()> {
    if setting::setting(key).is_some() {
        return Ok(());
    }
    match question(&nearest(key)) {
        Some(question) => bail!("unknown key `{key}`; {question}"),
        None => bail!("unknown key `{key}`; `sweep --help` lists all keys"),
    }
}

/// The keys that take the fewest mistypings to become `key`, in the order of the columns; none where nothing is near. A key
/// without its first part (`bits`) is as near as one slip to those that it could be the end of.
fn nearest(key: &str) -> Vec<&'static str> {
    let slips = |known: &str| {
        let end = known.split_once('.').map_or(known, |(_, end)| end);
        let whole = strsim::damerau_levenshtein(key, known);
        whole.min(1 + strsim::damerau_levenshtein(key, end))
    };
    misspelt::nearest(key, keys().map(|known| (slips(known), known)))
}

/// `text` in lines of at most `width` columns, broken between words; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        let grown = line.chars().count() + 1 + word.chars().count();
        if line.is_empty() {
            line.push_str(word);
        } else if grown <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_stands_once_in_the_help_and_every_line_fits_80_columns() {
        let help = help();
        for (title, settings) in setting::by_title() {
            assert!(!settings.is_empty(), "{title}");
            for setting in settings {
                let of_key = |line: &&str| line.split_whitespace().next() == setting.key;
                let indented = help.lines().filter(|line| line.starts_with("  "));
                assert_eq!(indented.filter(of_key).count(), 1, "{setting:?}");
                let meaning = setting.help();
                let word = meaning.split_whitespace().next_back().unwrap();
                assert!(help.contains(word), "{setting:?}: {word}");
            }
        }
        for line in help.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_ones() {
        let message = |key: &str| check_key(key).unwrap_err().to_string();
        for (wrong, meant) in [
            ("weight.bits", "weights.bits"),
            ("weights.bit", "weights.bits"),
            ("wieghts.bits", "weights.bits"),
            ("activation.mapping", "activations.mapping"),
            ("calibration.image", "calibration.images"),
            ("qat.epoch", "qat.epochs"),
            ("Device", "device"),
            ("epochs", "qat.epochs"),
        ] {
            let expected = format!("unknown key `{wrong}`; did you mean {meant}?");
            assert_eq!(message(wrong), expected);
        }
        let several = "weights.bits, first.bits, last.bits, allocate.bits or activations.bits?";
        assert!(message("bits").ends_with(several), "{}", message("bits"));
        let nothing = message("temperature_of_the_room");
        assert!(
            nothing.ends_with("`sweep --help` lists all keys"),
            "{nothing}"
        );
        for key in keys() {
            check_key(key).unwrap();
        }
    }
}
