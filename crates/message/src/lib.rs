//! Words that come from a file, a path or another library, fit for an error of one line on a terminal.

#![forbid(unsafe_code)]

use std::fmt::Display;

/// The first `longest` characters of `text`, and dots if there are more. Those that are no part of a line are escaped: control
/// characters, the separators of lines and paragraphs (U+2028 and U+2029), and what turns the direction of writing (U+202A to
/// U+202E).
pub fn one_line(text: impl Display, longest: usize) -> String {
    let text = text.to_string();
    let mut line = String::new();
    for c in text.chars().take(longest) {
        match c.is_control() || matches!(c, '\u{2028}'..='\u{202e}') {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    if text.chars().nth(longest).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_or_turns_a_line_is_escaped_and_what_is_long_is_cut() {
        let text = "a\nb\r\u{1b}[2J \u{2029}\u{202e}ü";
        assert_eq!(one_line(text, 99), "a\\nb\\r\\u{1b}[2J \\u{2029}\\u{202e}ü");
        assert_eq!(one_line("äöü", 3), "äöü");
        assert_eq!(one_line("äöüß", 3), "äöü...");
        assert_eq!(one_line("\n\n", 1), "\\n...");
    }
}
