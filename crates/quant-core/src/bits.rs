//! The width of a code, 1 to 16 bits.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// A bit width in 1..=16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(u8);

impl Bits {
    /// The smallest width.
    pub const MIN: Bits = Bits(1);
    /// The largest width: every code is exact in a float32, and so is every sum of two codes.
    pub const MAX: Bits = Bits(16);

    /// A width of `bits`.
    ///
    /// # Errors
    /// [`Error::Bits`] outside 1..=16.
    pub fn new(bits: u32) -> Result<Bits, Error> {
        match u8::try_from(bits) {
            Ok(narrow @ 1..=16) => Ok(Bits(narrow)),
            _ => Err(Error::Bits {
                found: bits.to_string(),
            }),
        }
    }

    /// Every width, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Bits> {
        (1..=16).map(Bits)
    }

    /// The width as a number.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// 2^bits - 1, the largest code of an affine scheme and the number of steps between its ends.
    pub fn steps(self) -> i32 {
        (1 << self.0) - 1
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Bits {
    type Err = Error;

    fn from_str(text: &str) -> Result<Bits, Error> {
        text.parse()
            .ok()
            .and_then(|bits| Bits::new(bits).ok())
            .ok_or_else(|| Error::Bits {
                found: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_1_to_16_bits_exist() {
        assert!(Bits::new(0).is_err());
        assert!(Bits::new(17).is_err());
        assert!(Bits::new(256 + 8).is_err());
        assert_eq!(Bits::new(1).unwrap().steps(), 1);
        assert_eq!(Bits::new(16).unwrap().steps(), 65535);
        assert_eq!(
            Bits::all().map(Bits::get).collect::<Vec<_>>(),
            (1..=16).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_refused_width_is_quoted_with_what_is_allowed() {
        let message = "x9".parse::<Bits>().unwrap_err().to_string();
        assert_eq!(message, "bits = x9 is not allowed: a code has 1 to 16 bits");
        assert_eq!("12".parse::<Bits>().unwrap().to_string(), "12");
    }
}
