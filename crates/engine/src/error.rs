//! What can be wrong with a graph, and with a call.

/// Why a graph cannot be built or run. Every message names the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Two nodes, or a node and the graph's input, have one name.
    #[error("node `{node}`: the name is taken; every node needs a name of its own")]
    Duplicate {
        /// The name.
        node: String,
    },
    /// A node reads a value that nothing makes, or the output is one.
    #[error("node `{node}` reads `{input}`, which no node makes")]
    Dangling {
        /// The reader, or `output`.
        node: String,
        /// The name that does not exist.
        input: String,
    },
    /// A node's value is never used.
    #[error("node `{node}`: nothing reads its value, and it is not the output")]
    Unused {
        /// The node.
        node: String,
    },
    /// Some nodes wait for each other.
    #[error("the graph has a cycle through {nodes}")]
    Cycle {
        /// Their names, joined by commas.
        nodes: String,
    },
    /// A node does not fit its input, or contradicts itself.
    #[error("node `{node}`: {detail}")]
    Shape {
        /// The node.
        node: String,
        /// What does not fit, with the values.
        detail: String,
    },
    /// A value's codes contradict themselves, or the kernels asked for cannot compute with them.
    #[error("value `{value}`: {detail}")]
    Code {
        /// The node that makes it, or the input.
        value: String,
        /// What is wrong, with the numbers, and what would do.
        detail: String,
    },
    /// A choice that the kernels do not have.
    #[error("{detail}")]
    Arithmetic {
        /// What does not go together, and what does.
        detail: String,
    },
    /// A convolution that cannot be trained.
    #[error("convolution of {input}: {detail}")]
    Training {
        /// The shape of its input.
        input: String,
        /// What does not fit, with the values.
        detail: String,
    },
    /// A run was given the wrong number of values.
    #[error("{what}: {found} values, expected {expected}")]
    Length {
        /// Which slice.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: usize,
    },
    /// A run was given more images than the program was compiled for, or none.
    #[error("{found} images at once; this program takes 1 to {group}")]
    Images {
        /// Images given.
        found: usize,
        /// The most it takes.
        group: usize,
    },
    /// The processor lacks the instructions.
    #[error("{isa} kernels: this processor cannot run them; it has {available}")]
    Isa {
        /// What was asked for.
        isa: &'static str,
        /// What there is.
        available: String,
    },
}

/// That a slice has the length it must have.
pub(crate) fn expect(what: &'static str, found: usize, expected: usize) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Length {
            what,
            found,
            expected,
        }),
    }
}
