//! Settings that are good words, each by itself, and do not go together.
//!
//! A product of lists has such cells without anybody having meant them: 1 bit beside symmetric codes, which would have the
//! code 0 alone. They are left out of a plan that has others, and said; a word that is wrong in every cell ends it.

use std::fmt;

/// Why a cell cannot be, though each of its settings could.
#[derive(Debug)]
pub(crate) struct DoesNotApply(pub String);

impl fmt::Display for DoesNotApply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DoesNotApply {}

/// Ends a function as `anyhow::bail!` does, for a combination that cannot be.
macro_rules! does_not_apply {
    ($($words:tt)*) => {
        return Err(anyhow::Error::new($crate::settings::DoesNotApply(format!($($words)*))))
    };
}
pub(crate) use does_not_apply;

/// Whether it is the combination of settings that is refused, and not one of them.
pub(crate) fn is_combination(error: &anyhow::Error) -> bool {
    let of_codes = || {
        let core = error.downcast_ref::<quant_core::Error>();
        matches!(core, Some(quant_core::Error::OnlyZero { .. }))
    };
    error.is::<DoesNotApply>() || of_codes()
}
