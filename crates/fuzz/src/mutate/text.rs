//! Text in lines: CSV, TOML, lists of names.

use crate::random::{Random, awkward_text};

/// One change to the lines, or to one word or field of them. `separator` stands between fields.
pub fn change(bytes: &mut Vec<u8>, other: &[u8], separator: char, random: &mut Random) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let theirs = String::from_utf8_lossy(other).into_owned();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let len = lines.len();
    let place = random.below(len + 1);
    match random.below(9) {
        0 if len > 0 => drop(lines.remove(random.below(len))),
        1 if len > 0 => {
            let line = lines[random.below(len)].clone();
            let times = if random.one_in(8) {
                1 + random.below(300)
            } else {
                1
            };
            lines.splice(place..place, std::iter::repeat_n(line, times));
        }
        2 if len > 1 => lines.swap(random.below(len), random.below(len)),
        3 => {
            let theirs: Vec<&str> = theirs.split_inclusive('\n').collect();
            if !theirs.is_empty() {
                lines.insert(place, (*random.pick(&theirs)).to_owned());
            }
        }
        4 if len > 1 => column(&mut lines, separator, random),
        _ if len > 0 => {
            let line = &mut lines[random.below(len)];
            *line = field(line, separator, random);
        }
        _ => lines.push(awkward_text(random)),
    }
    *bytes = lines.concat().into_bytes();
}

/// A line with one field, or one word, changed.
fn field(line: &str, separator: char, random: &mut Random) -> String {
    let ends: &[char] = match random.below(3) {
        0 => &[' ', '=', '[', ']', ',', '"', '.', '\n'],
        _ => &[separator, '\n'],
    };
    let mut words: Vec<String> = line.split_inclusive(ends).map(str::to_owned).collect();
    if words.is_empty() {
        return line.to_owned();
    }
    let at = random.below(words.len());
    let (word, end) = match words[at].char_indices().next_back() {
        Some((last, end)) if ends.contains(&end) => (words[at][..last].to_owned(), end.to_string()),
        _ => (words[at].clone(), String::new()),
    };
    let new = match random.below(7) {
        0 => String::new(),
        1 => format!("{word}{word}"),
        2 => format!("\"{}\"", awkward_text(random)),
        3 => word.chars().rev().collect(),
        4 => format!("{word}{}", awkward_text(random)),
        5 => random.pick(&words).trim_end_matches(ends).to_owned(),
        _ => awkward_text(random),
    };
    words[at] = new + &end;
    words.concat()
}

/// The same column taken out of all lines, or put in twice.
fn column(lines: &mut [String], separator: char, random: &mut Random) {
    let columns = lines.iter().map(|line| line.split(separator).count());
    let at = random.below(columns.max().unwrap_or(1));
    let twice = random.one_in(3);
    for line in lines {
        let end = if line.ends_with('\n') { "\n" } else { "" };
        let body = line.trim_end_matches('\n').to_owned();
        let mut fields: Vec<&str> = body.split(separator).collect();
        if at < fields.len() {
            match twice {
                true => fields.insert(at, fields[at]),
                false => drop(fields.remove(at)),
            }
        }
        *line = fields.join(&separator.to_string()) + end;
    }
}
