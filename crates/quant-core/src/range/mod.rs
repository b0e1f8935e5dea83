//! How the range of a group is found. Each method gives the ends `[lo, hi]` of an affine range or the bound `T` of a signed one,
//! `[-T, T]`; [`crate::fit`] turns those into a scale and a zero point.

pub(crate) mod entropy;
pub(crate) mod error_sum;
pub(crate) mod gaussian;
pub(crate) mod mse;
pub(crate) mod percentile;

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The rule that finds the range of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RangeMethod {
    /// From the smallest to the largest value.
    MinMax,
    /// Cuts tails off: from the (100 - p)th to the pth percentile (affine), or the pth percentile of |x| (signed); p in percent,
    /// above 50 and at most 100.
    Percentile(f64),
    /// The range whose quantization error, the sum of |x - y|^exponent, is the smallest found.
    Mse {
        /// The exponent, above 0 and at most 16; 2 is the squared error.
        exponent: f64,
    },
    /// The range whose histogram loses the least information (Kullback-Leibler divergence) when it is quantized.
    Entropy,
    /// The step of the optimal uniform quantizer of a Gaussian with the group's mean and deviation.
    Gaussian,
    /// The same for a Laplacian.
    Laplacian,
}

const ALLOWED: &str = "minmax, percentile, mse, entropy, gaussian, laplacian";

impl RangeMethod {
    /// The percentile that `percentile` means when none is given.
    pub const DEFAULT_PERCENTILE: f64 = 99.99;
    /// The exponent that `mse` means when none is given.
    pub const DEFAULT_EXPONENT: f64 = 2.0;

    /// Its spelling in experiments and results; a parameter stands beside it.
    pub fn name(self) -> &'static str {
        match self {
            RangeMethod::MinMax => "minmax",
            RangeMethod::Percentile(_) => "percentile",
            RangeMethod::Mse { .. } => "mse",
            RangeMethod::Entropy => "entropy",
            RangeMethod::Gaussian => "gaussian",
            RangeMethod::Laplacian => "laplacian",
        }
    }

    /// The method of that name, with its percentile or exponent; without one, the default of the method.
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown name, [`Error::Percentile`] and [`Error::Exponent`] for a parameter out of bounds,
    /// [`Error::Parameter`] for a parameter beside a method that takes none.
    pub fn named(name: &str, parameter: Option<f64>) -> Result<RangeMethod, Error> {
        let plain = match name {
            "minmax" => RangeMethod::MinMax,
            "entropy" => RangeMethod::Entropy,
            "gaussian" => RangeMethod::Gaussian,
            "laplacian" => RangeMethod::Laplacian,
            "percentile" => {
                return RangeMethod::Percentile(
                    parameter.unwrap_or(RangeMethod::DEFAULT_PERCENTILE),
                )
                .checked();
            }
            "mse" => {
                let exponent = parameter.unwrap_or(RangeMethod::DEFAULT_EXPONENT);
                return RangeMethod::Mse { exponent }.checked();
            }
            _ => {
                return Err(Error::Name {
                    axis: "range",
                    found: name.to_owned(),
                    allowed: ALLOWED,
                });
            }
        };
        match parameter {
            None => Ok(plain),
            Some(found) => Err(Error::Parameter {
                axis: "range",
                name: plain.name(),
                found,
            }),
        }
    }

    /// The percentile or the exponent.
    pub fn parameter(self) -> Option<f64> {
        match self {
            RangeMethod::Percentile(percent) => Some(percent),
            RangeMethod::Mse { exponent } => Some(exponent),
            _ => None,
        }
    }

    /// Itself when its parameter is within bounds.
    pub(crate) fn checked(self) -> Result<RangeMethod, Error> {
        match self {
            RangeMethod::Percentile(found) if !(found > 50.0 && found <= 100.0) => {
                Err(Error::Percentile { found })
            }
            RangeMethod::Mse { exponent: found } if !(found > 0.0 && found <= 16.0) => {
                Err(Error::Exponent { found })
            }
            fine => Ok(fine),
        }
    }
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `percentile` and `mse` parse with their defaults; [`RangeMethod::named`] gives them another parameter.
impl FromStr for RangeMethod {
    type Err = Error;

    fn from_str(text: &str) -> Result<RangeMethod, Error> {
        RangeMethod::named(text, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_unknown_ones_list_what_is_allowed() {
        for name in [
            "minmax",
            "percentile",
            "mse",
            "entropy",
            "gaussian",
            "laplacian",
        ] {
            assert_eq!(name.parse::<RangeMethod>().unwrap().to_string(), name);
        }
        assert_eq!(
            "max".parse::<RangeMethod>().unwrap_err().to_string(),
            "range = \"max\" is unknown; allowed: minmax, percentile, mse, entropy, gaussian, laplacian"
        );
    }

    #[test]
    fn a_parameter_is_taken_where_it_belongs_and_nowhere_else() {
        assert_eq!(
            RangeMethod::named("mse", Some(2.4)),
            Ok(RangeMethod::Mse { exponent: 2.4 })
        );
        assert_eq!(
            RangeMethod::named("percentile", Some(99.9)),
            Ok(RangeMethod::Percentile(99.9))
        );
        assert!(RangeMethod::named("percentile", Some(101.0)).is_err());
        assert!(matches!(
            RangeMethod::named("minmax", Some(1.0)),
            Err(Error::Parameter { .. })
        ));
    }
}
