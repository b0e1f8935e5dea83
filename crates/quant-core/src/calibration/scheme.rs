//! How to quantize activations: the axes of a [`Scheme`] that a site has, checked once. A site is one tensor, so there is no granularity.

use std::fmt;

use super::range::ActivationRange;
use crate::grid::Centred;
use crate::{Bits, CodeRange, Error, Granularity, Mapping, QParams, RangeMethod, Rounding, Scheme};

/// The choices for the activations of a network (or of one layer).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActivationScheme {
    /// Everything but the range.
    scheme: Scheme,
    range: ActivationRange,
}

impl ActivationScheme {
    /// A scheme with these choices. `codes` matters to signed codes only: those of a `symmetric` or `power_of_two` site that was seen
    /// with a negative value.
    ///
    /// # Errors
    /// [`Error::OnlyZero`] for a signed mapping with narrow codes at 1 bit; [`Error::Name`] for `stochastic` rounding, which would give
    /// an image another answer in another batch; [`Error::Momentum`], [`Error::Percentile`] and [`Error::Exponent`] for a range with a
    /// parameter outside its bounds.
    pub fn new(
        bits: Bits,
        mapping: Mapping,
        codes: CodeRange,
        range: ActivationRange,
        rounding: Rounding,
    ) -> Result<ActivationScheme, Error> {
        if let Rounding::Stochastic { .. } = rounding {
            return Err(Error::Name {
                axis: "activation rounding",
                found: rounding.name().to_owned(),
                allowed: "half_even, half_away, floor",
            });
        }
        let scheme = Scheme::new(
            bits,
            mapping,
            codes,
            Granularity::Tensor,
            RangeMethod::MinMax,
            rounding,
        )?;
        Ok(ActivationScheme {
            scheme,
            range: range.checked()?,
        })
    }

    /// The same scheme with another width.
    ///
    /// # Errors
    /// [`Error::OnlyZero`] as in [`ActivationScheme::new`].
    pub fn with_bits(self, bits: Bits) -> Result<ActivationScheme, Error> {
        Ok(ActivationScheme {
            scheme: self.scheme.with_bits(bits)?,
            range: self.range,
        })
    }

    /// The width of a code.
    pub fn bits(&self) -> Bits {
        self.scheme.bits()
    }

    /// How codes lie on the real line.
    pub fn mapping(&self) -> Mapping {
        self.scheme.mapping()
    }

    /// Which codes a signed mapping uses.
    pub fn codes(&self) -> CodeRange {
        self.scheme.codes()
    }

    /// How the range is found.
    pub fn range(&self) -> ActivationRange {
        self.range
    }

    /// How a quotient becomes an integer; never `stochastic`.
    pub fn rounding(&self) -> Rounding {
        self.scheme.rounding()
    }

    /// The grid of a dead site, where every value was 0: scale 1 and zero point 0, so that 0 is exact and integers have a scale to
    /// multiply by; the codes are those of a site that never was negative.
    pub fn dead(&self) -> QParams {
        QParams {
            scale: 1.0,
            zero_point: 0,
            quant_min: 0,
            quant_max: self.bits().steps(),
        }
    }

    /// The affine grid over a range that contains 0.
    pub(crate) fn as_scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The codes of a symmetric or power-of-two site, with negative values or without.
    pub(crate) fn centred(&self, is_signed: bool) -> Centred {
        if is_signed {
            Centred::signed(&self.scheme)
        } else {
            Centred::unsigned(self.bits(), self.mapping() == Mapping::PowerOfTwo)
        }
    }
}

/// One line for messages and logs, such as `8 bits, affine, percentile 99.99, half_even`.
impl fmt::Display for ActivationScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits, {}", self.bits(), self.mapping())?;
        if self.mapping() != Mapping::Affine {
            write!(f, " {}", self.codes())?;
        }
        write!(f, ", {}", self.range)?;
        if let Some(parameter) = self.range.parameter() {
            write!(f, " {parameter}")?;
        }
        write!(f, ", {}", self.rounding())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_activations_cannot_have_is_refused_with_what_they_can() {
        let eight = Bits::new(8).unwrap();
        let new = |bits, mapping, range, rounding| {
            ActivationScheme::new(bits, mapping, CodeRange::Narrow, range, rounding)
        };
        let minmax = ActivationRange::MinMax;
        let stochastic = Rounding::Stochastic { seed: 1 };
        let error = new(eight, Mapping::Affine, minmax, stochastic).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("allowed: half_even, half_away, floor")
        );
        let error = new(Bits::MIN, Mapping::Symmetric, minmax, Rounding::HalfEven).unwrap_err();
        assert!(matches!(error, Error::OnlyZero { .. }));
        let range = ActivationRange::MovingAverage { momentum: 1.0 };
        let error = new(eight, Mapping::Affine, range, Rounding::HalfEven).unwrap_err();
        assert_eq!(error, Error::Momentum { found: 1.0 });
    }

    #[test]
    fn a_scheme_reads_as_one_line() {
        let line = |mapping, range| {
            let bits = Bits::new(6).unwrap();
            ActivationScheme::new(bits, mapping, CodeRange::Full, range, Rounding::HalfEven)
                .unwrap()
                .to_string()
        };
        assert_eq!(
            line(Mapping::Affine, ActivationRange::Percentile(99.9)),
            "6 bits, affine, percentile 99.9, half_even"
        );
        assert_eq!(
            line(Mapping::Symmetric, ActivationRange::MinMax),
            "6 bits, symmetric full, minmax, half_even"
        );
    }
}
