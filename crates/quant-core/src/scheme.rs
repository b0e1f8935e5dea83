//! One quantization scheme: a choice on every axis, checked once.
//!
//! [`Scheme::linear`] is the original method to the letter, all in float32:
//!
//! ```text
//! lo = min(w)   hi = max(w)   s = (hi - lo) / (2^b - 1)   z = round(-lo / s)      half to even, z not clamped
//! q = clamp(round(w / s) + z, 0, 2^b - 1)                 w' = s * (q - z)        w' = w where s = 0
//! ```
//!
//! It differs from an ordinary affine scheme, [`Scheme::new`], in one thing: the range is taken as found. An ordinary range is
//! first widened to contain 0, so that 0 is a representable number and the zero point a code.

use std::fmt;

use crate::{Bits, CodeRange, Error, Granularity, Mapping, RangeMethod, Rounding};

/// How to quantize a tensor: every axis of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scheme {
    bits: Bits,
    mapping: Mapping,
    codes: CodeRange,
    granularity: Granularity,
    range: RangeMethod,
    rounding: Rounding,
    widened: bool,
}

impl Scheme {
    /// A scheme with these choices; an affine range is widened to contain 0. `codes` matters to signed mappings only.
    ///
    /// # Errors
    /// [`Error::OnlyZero`] for a signed mapping with narrow codes at 1 bit, [`Error::Percentile`] and [`Error::Exponent`] for
    /// a range method with a parameter outside its bounds.
    pub fn new(
        bits: Bits,
        mapping: Mapping,
        codes: CodeRange,
        granularity: Granularity,
        range: RangeMethod,
        rounding: Rounding,
    ) -> Result<Scheme, Error> {
        if mapping != Mapping::Affine && codes == CodeRange::Narrow && bits == Bits::MIN {
            return Err(Error::OnlyZero {
                mapping: mapping.name(),
            });
        }
        let range = range.checked()?;
        Ok(Scheme {
            bits,
            mapping,
            codes,
            granularity,
            range,
            rounding,
            widened: mapping == Mapping::Affine,
        })
    }

    /// The original method: affine, per tensor, minimum and maximum as found, half to even.
    pub fn linear(bits: Bits) -> Scheme {
        Scheme {
            bits,
            mapping: Mapping::Affine,
            codes: CodeRange::default(),
            granularity: Granularity::Tensor,
            range: RangeMethod::MinMax,
            rounding: Rounding::HalfEven,
            widened: false,
        }
    }

    /// The same scheme with another rounding rule (or another seed).
    pub fn with_rounding(self, rounding: Rounding) -> Scheme {
        Scheme { rounding, ..self }
    }

    /// The same scheme with another width.
    ///
    /// # Errors
    /// [`Error::OnlyZero`] as in [`Scheme::new`].
    pub fn with_bits(self, bits: Bits) -> Result<Scheme, Error> {
        if self.is_linear() {
            return Ok(Scheme { bits, ..self });
        }
        Scheme::new(
            bits,
            self.mapping,
            self.codes,
            self.granularity,
            self.range,
            self.rounding,
        )
    }

    /// The width of a code.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// How codes lie on the real line.
    pub fn mapping(&self) -> Mapping {
        self.mapping
    }

    /// Which codes a signed mapping uses.
    pub fn codes(&self) -> CodeRange {
        self.codes
    }

    /// Which elements share a scale.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// How the range is found.
    pub fn range(&self) -> RangeMethod {
        self.range
    }

    /// How a quotient becomes an integer.
    pub fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// Whether an affine range is widened to contain 0; false under `linear`, and for signed mappings, which contain it anyway.
    pub fn is_widened(&self) -> bool {
        self.widened
    }

    /// Whether this is the `linear` preset (at any width and rounding).
    pub fn is_linear(&self) -> bool {
        self.mapping == Mapping::Affine && !self.widened
    }

    /// `(quant_min, quant_max)`.
    pub fn quant_bounds(&self) -> (i32, i32) {
        match self.mapping {
            Mapping::Affine => (0, self.bits.steps()),
            Mapping::Symmetric | Mapping::PowerOfTwo => self.codes.signed(self.bits),
        }
    }
}

/// One line for messages and logs, such as `8 bits, symmetric narrow, channel, minmax, half_even`.
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits, {}", self.bits, self.mapping)?;
        match self.mapping {
            Mapping::Affine if !self.widened => write!(f, " as found")?,
            Mapping::Affine => {}
            Mapping::Symmetric | Mapping::PowerOfTwo => write!(f, " {}", self.codes)?,
        }
        write!(f, ", {}", self.granularity)?;
        if let Some(size) = self.granularity.group_size() {
            write!(f, " of {size}")?;
        }
        write!(f, ", {}", self.range)?;
        if let Some(parameter) = self.range.parameter() {
            write!(f, " {parameter}")?;
        }
        write!(f, ", {}", self.rounding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(
        bits: u32,
        mapping: Mapping,
        codes: CodeRange,
        range: RangeMethod,
    ) -> Result<Scheme, Error> {
        Scheme::new(
            Bits::new(bits)?,
            mapping,
            codes,
            Granularity::Channel,
            range,
            Rounding::HalfEven,
        )
    }

    #[test]
    fn narrow_codes_at_1_bit_are_refused_with_what_to_do_instead() {
        for mapping in [Mapping::Symmetric, Mapping::PowerOfTwo] {
            let error = scheme(1, mapping, CodeRange::Narrow, RangeMethod::MinMax).unwrap_err();
            assert_eq!(
                error,
                Error::OnlyZero {
                    mapping: mapping.name()
                }
            );
            assert!(error.to_string().contains("use 2 bits or more"));
            assert!(scheme(1, mapping, CodeRange::Full, RangeMethod::MinMax).is_ok());
        }
        assert!(scheme(1, Mapping::Affine, CodeRange::Narrow, RangeMethod::MinMax).is_ok());
    }

    #[test]
    fn range_parameters_outside_their_bounds_are_refused() {
        for percentile in [50.0, 100.5, -1.0, f64::NAN] {
            let range = RangeMethod::Percentile(percentile);
            assert!(matches!(
                scheme(8, Mapping::Affine, CodeRange::Narrow, range),
                Err(Error::Percentile { .. })
            ));
        }
        for exponent in [0.0, -2.0, 17.0, f64::INFINITY, f64::NAN] {
            let range = RangeMethod::Mse { exponent };
            assert!(matches!(
                scheme(8, Mapping::Affine, CodeRange::Narrow, range),
                Err(Error::Exponent { .. })
            ));
        }
    }

    #[test]
    fn linear_is_affine_per_tensor_as_found() {
        let linear = Scheme::linear(Bits::new(8).unwrap());
        assert!(linear.is_linear());
        assert_eq!(linear.quant_bounds(), (0, 255));
        assert_eq!(
            linear.to_string(),
            "8 bits, affine as found, tensor, minmax, half_even"
        );
        let ordinary = scheme(8, Mapping::Affine, CodeRange::Narrow, RangeMethod::MinMax).unwrap();
        assert!(!ordinary.is_linear() && ordinary.is_widened());
    }
}
