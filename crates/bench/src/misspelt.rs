//! What somebody may have meant by a name that does not exist.

/// How many names a suggestion has at most.
const MOST: usize = 5;

/// Those of `all`, each with how many mistypings make it of `word`, that take the fewest; none where nothing is near.
pub fn nearest<T>(word: &str, all: impl Iterator<Item = (usize, T)>) -> Vec<T> {
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    let all: Vec<(usize, T)> = all.collect();
    let least = all.iter().map(|(slips, _)| *slips).min();
    let near = all
        .into_iter()
        .filter(|(slips, _)| Some(*slips) == least && *slips <= allowed);
    near.map(|(_, known)| known).take(MOST).collect()
}

/// `did you mean a, b or c?`; nothing of nothing.
pub fn question(names: &[impl AsRef<str>]) -> Option<String> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let all = match names.as_slice() {
        [] => return None,
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    };
    Some(format!("did you mean {all}?"))
}
