//! Why a group of values was left in float: the outcomes of degenerate input, which the crate's documentation lists.

use std::fmt;

/// Why a group was left in float, its values unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No value was seen at an activation site: there was nothing to calibrate on.
    Unseen,
    /// Every value is 0: there is no range, and 0 is exact without codes.
    AllZero,
    /// Every value is the same and the range is taken as found (`linear`): the scale would be 0.
    Constant,
    /// The scale is too small for float32: 0, or subnormal where the scheme is not `linear` (GPUs flush subnormals to 0).
    ScaleUnderflow,
    /// The scale or an end of the representable numbers is too large for float32.
    ScaleOverflow,
    /// The zero point of a range taken as found does not fit in 32 bits.
    ZeroPointOverflow,
}

impl Reason {
    /// The reason as a manifest says it.
    pub fn describe(self) -> &'static str {
        match self {
            Reason::Unseen => "no value was seen in calibration",
            Reason::AllZero => "every value is zero",
            Reason::Constant => "every value is the same, so the scale would be 0",
            Reason::ScaleUnderflow => "the scale is too small for float32",
            Reason::ScaleOverflow => "the range is too large for float32",
            Reason::ZeroPointOverflow => "the zero point does not fit in 32 bits",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_reads_as_the_end_of_a_sentence() {
        assert_eq!(
            format!("left in float: {}", Reason::AllZero),
            "left in float: every value is zero"
        );
        assert_eq!(
            format!("{:>32}|", Reason::ScaleUnderflow).len(),
            Reason::ScaleUnderflow.describe().len().max(32) + 1
        );
    }
}
