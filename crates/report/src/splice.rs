//! Generated text between two markers of a hand-written file.

use crate::error::Error;

/// Puts `content` between `<!-- marker:begin -->` and `<!-- marker:end -->`, in place of what is there. The markers stay,
/// and so does every byte outside them; doing it twice changes nothing more.
///
/// # Errors
/// [`Error::Marker`] when one of the two is missing, is there twice, or when the end comes first.
pub fn splice(readme: &str, marker: &str, content: &str) -> Result<String, Error> {
    let (begin, end) = (
        format!("<!-- {marker}:begin -->"),
        format!("<!-- {marker}:end -->"),
    );
    let fail = |problem| Error::Marker {
        marker: marker.to_string(),
        problem,
    };
    let position = |text: &str, missing, twice| match (readme.find(text), readme.rfind(text)) {
        (Some(first), Some(last)) if first == last => Ok(first),
        (Some(_), _) => Err(fail(twice)),
        (None, _) => Err(fail(missing)),
    };
    let from = position(&begin, "the first is missing", "the first is there twice")? + begin.len();
    let to = position(&end, "the second is missing", "the second is there twice")?;
    if to < from {
        return Err(fail("the second comes before the first"));
    }
    // The line ends of the file, so that a checkout with CRLF stays one.
    let newline = if readme[from..].starts_with("\r\n") {
        "\r\n"
    } else {
        "\n"
    };
    let content = content.trim_matches('\n').replace('\n', newline);
    Ok(format!(
        "{}{newline}{newline}{content}{newline}{newline}{}",
        &readme[..from],
        &readme[to..]
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str =
        "# Title\n<!-- a:begin -->\nold\n<!-- a:end -->\ntail <!-- b:begin --><!-- b:end -->";

    #[test]
    fn only_what_is_between_the_markers_changes_and_only_once() {
        let once = splice(README, "a", "| x |\n").unwrap();
        assert_eq!(once, README.replace("\nold\n", "\n\n| x |\n\n"));
        assert_eq!(splice(&once, "a", "| x |\n").unwrap(), once);
        let both = splice(&once, "b", "y").unwrap();
        assert!(both.ends_with("<!-- b:begin -->\n\ny\n\n<!-- b:end -->"));
        assert_eq!(splice(&both, "b", "y").unwrap(), both);
    }

    #[test]
    fn line_ends_of_the_file_are_kept() {
        let readme = README.replace('\n', "\r\n");
        let once = splice(&readme, "a", "1\n2").unwrap();
        assert!(once.contains("\r\n\r\n1\r\n2\r\n\r\n<!--"));
        assert_eq!(splice(&once, "a", "1\n2").unwrap(), once);
    }

    #[test]
    fn markers_that_are_not_a_pair_are_an_error() {
        for (readme, problem) in [
            ("", "the first is missing"),
            ("<!-- a:begin -->", "the second is missing"),
            ("<!-- a:end --><!-- a:begin -->", "before"),
            ("<!-- a:begin --><!-- a:begin --><!-- a:end -->", "twice"),
        ] {
            let error = splice(readme, "a", "x").unwrap_err().to_string();
            assert!(
                error.contains(problem) && error.contains("<!-- a:begin -->"),
                "{error}"
            );
        }
    }
}
