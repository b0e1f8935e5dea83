//! What is wrong with a network.
//!
//! Every message is one line that names the node or the tensor, what was found and what was allowed. Text that comes out of a file
//! is untrusted: it enters a message only through [`quoted`].

use message::one_line;

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor that the network needs is not there.
    #[error("tensor {name} is missing")]
    Missing {
        /// The tensor, quoted.
        name: String,
    },

    /// A tensor has another shape than the network needs.
    #[error("tensor {name} has shape {found:?}, not {expected:?}")]
    Misshapen {
        /// The tensor, quoted.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that belongs there.
        expected: Vec<usize>,
    },

    /// A tensor that no node has.
    #[error("tensor {name} belongs to no layer")]
    Unused {
        /// The tensor, quoted.
        name: String,
    },

    /// A node that cannot be.
    #[error("{node}: {problem}")]
    Node {
        /// The node, quoted.
        node: String,
        /// What is wrong.
        problem: String,
    },

    /// An ONNX file that is not read.
    #[error("{problem}")]
    Onnx {
        /// What is wrong, the operator first.
        problem: String,
    },

    /// A shape and a number of values that do not belong together.
    #[error("shape {shape:?} does not hold {len} values")]
    ShapeMismatch {
        /// The shape.
        shape: Vec<usize>,
        /// The number of values.
        len: usize,
    },
}

impl Error {
    /// [`Error::Missing`] of a tensor called `name`.
    pub fn missing(name: &str) -> Self {
        Self::Missing { name: quoted(name) }
    }

    pub(crate) fn onnx(problem: String) -> Self {
        let problem = cut(problem);
        Self::Onnx { problem }
    }

    pub(crate) fn node(name: &str, problem: String) -> Self {
        Self::Node {
            node: quoted(name),
            problem: cut(problem),
        }
    }
}

/// A sentence of a message: one line, whatever words of a file it repeats, cut after 800 characters, since what a file lists, such as the
/// extents of a tensor of a thousand axes, may be longer.
fn cut(problem: String) -> String {
    const LONGEST: usize = 800;
    one_line(problem, LONGEST)
}

/// `text` in single quotes for a one-line message: control characters escaped, cut after 80 characters.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    format!("'{}'", one_line(text, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_lists_is_cut() {
        let long = format!("extents {:?}", vec![10; 1000]);
        for error in [Error::onnx(long.clone()), Error::node("n", long)] {
            let text = error.to_string();
            assert!(text.len() < 900 && text.ends_with("..."), "{text}");
        }
        assert!(
            Error::onnx("short".to_owned())
                .to_string()
                .ends_with("short")
        );
    }

    #[test]
    fn text_from_a_file_stays_on_one_short_line() {
        assert_eq!(quoted("conv1.weight"), "'conv1.weight'");
        assert_eq!(quoted("a\nb\u{1b}[2J"), "'a\\nb\\u{1b}[2J'");
        assert_eq!(quoted(&"x".repeat(1000)).len(), 80 + 5);
        let text = Error::node("n", "mode \u{f}\0\n; ROUND is read".to_owned()).to_string();
        assert!(
            text.ends_with("mode \\u{f}\\u{0}\\n; ROUND is read"),
            "{text}"
        );
    }
}
