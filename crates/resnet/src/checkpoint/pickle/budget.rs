//! What one file's pickles may take in memory, and why one is refused.

/// Bytes that one file's pickles may take. ResNet-152 with Adam's state takes 20 MB by this count.
const BUDGET: u64 = 128 << 20;

/// Estimated bytes of a node besides its text: itself and its places on the stack and in a container, both of which grew
/// by doubling.
const OBJECT: u64 = 192;

/// Counts what is spent.
#[derive(Debug, Default)]
pub(in super::super) struct Budget {
    spent: u64,
}

impl Budget {
    /// Spends `bytes`; fails where there are no more.
    pub fn charge(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > BUDGET {
            Err(Refusal::Bomb)
        } else {
            Ok(())
        }
    }

    /// Spends what one node takes.
    pub fn object(&mut self) -> Result<(), Refusal> {
        self.charge(OBJECT)
    }
}

/// Why a pickle is refused.
#[derive(Debug, PartialEq)]
pub(in super::super) enum Refusal {
    /// Too much memory.
    Bomb,
    /// It calls this function.
    Code(String),
    /// Not a pickle, or cut off, or at odds with itself.
    Damaged(String),
}

impl Refusal {
    /// [`Refusal::Damaged`] in words.
    pub fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bomb => {
                write!(
                    f,
                    "its pickle would take more than {} MiB in memory: a memory bomb",
                    BUDGET >> 20
                )
            }
            Self::Code(function) => write!(
                f,
                "its pickle calls {function}: code to run in place of weights (nothing was run); do not load this file in Python"
            ),
            Self::Damaged(what) => write!(f, "damaged or truncated pickle ({what})"),
        }
    }
}
