//! How codes lie on the real line: `affine` (any offset), `symmetric` (offset 0), `power_of_two` (offset 0 and a scale 2^k).

use crate::{Bits, words};

/// The form of the map between codes and numbers, `y = scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mapping {
    /// Codes 0 ..= 2^b - 1 with a zero point.
    Affine,
    /// Signed codes, zero point 0.
    Symmetric,
    /// Signed codes, zero point 0, scale = 2^k, so that scaling is a shift.
    PowerOfTwo,
}

words!(Mapping, "mapping": Affine = "affine", Symmetric = "symmetric", PowerOfTwo = "power_of_two");

/// Which codes a signed mapping (`symmetric`, `power_of_two`) uses. An affine mapping always uses 0 ..= 2^b - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CodeRange {
    /// -(2^(b-1) - 1) ..= 2^(b-1) - 1: as many codes on each side. The default.
    #[default]
    Narrow,
    /// -2^(b-1) ..= 2^(b-1) - 1: every code of b bits in two's complement.
    Full,
}

words!(CodeRange, "codes": Narrow = "narrow", Full = "full");

impl CodeRange {
    /// `(quant_min, quant_max)` of signed codes of `bits` bits.
    pub fn signed(self, bits: Bits) -> (i32, i32) {
        let half = 1 << (bits.get() - 1);
        match self {
            CodeRange::Narrow => (1 - half, half - 1),
            CodeRange::Full => (-half, half - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_unknown_ones_list_what_is_allowed() {
        for mapping in Mapping::ALL {
            assert_eq!(mapping.to_string().parse(), Ok(mapping));
        }
        for codes in CodeRange::ALL {
            assert_eq!(codes.to_string().parse(), Ok(codes));
        }
        assert_eq!(
            "symm".parse::<Mapping>().unwrap_err().to_string(),
            "mapping = \"symm\" is unknown; allowed: affine, symmetric, power_of_two"
        );
    }

    #[test]
    fn full_codes_have_one_more_on_the_negative_side() {
        let eight = Bits::new(8).unwrap();
        assert_eq!(CodeRange::Narrow.signed(eight), (-127, 127));
        assert_eq!(CodeRange::Full.signed(eight), (-128, 127));
        assert_eq!(CodeRange::Full.signed(Bits::MIN), (-1, 0));
    }
}
