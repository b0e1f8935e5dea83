//! How the range of a site is found from its statistics.
//!
//! | method | ends of an affine range | bound of a centred one |
//! |---|---|---|
//! | `minmax` | smallest and largest value | largest magnitude |
//! | `moving_average` | lo <- m lo + (1 - m) batch_lo, likewise hi, over the batches in order (Krishnamoorthi 2018, section 3) | the larger magnitude of the two |
//! | `percentile` | the (100 - p)th and the pth percentile | the pth percentile of the magnitudes |
//! | `mse` | the range with the least sum of abs(x - y)^exponent that the search of [`crate::RangeMethod::Mse`] finds | the same |
//! | `entropy` | the range that loses the least information, as [`crate::RangeMethod::Entropy`] | the same |
//! | `output_mse` | the range whose error the layers that read the site make least of, which takes a network and images to find; of the statistics alone: `mse` with the exponent 2 | the same |
//!
//! The momentum m is 0.9 unless given: the last 1 / (1 - m) = 10 batches then carry two thirds of the average. Calibration runs over some
//! ten to a hundred batches; 0.99 and more, usual over the thousands of batches of a training, would leave the range to the first one.

use std::fmt;
use std::str::FromStr;

use crate::{Error, RangeMethod};

/// The rule that finds the range of an activation site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationRange {
    /// From the smallest to the largest value.
    MinMax,
    /// The moving average of the minima and of the maxima of the batches.
    MovingAverage {
        /// The weight of the past, at least 0 (the last batch alone) and below 1.
        momentum: f64,
    },
    /// Cuts tails off; p in percent, above 50 and at most 100.
    Percentile(f64),
    /// The range whose quantization error, the sum of |x - y|^exponent, is the smallest found.
    Mse {
        /// The exponent, above 0 and at most 16; 2 is the squared error.
        exponent: f64,
    },
    /// The range that loses the least information (Kullback-Leibler divergence) when it is quantized.
    Entropy,
    /// The range whose quantization error changes the outputs of the layers that read the site the least. What is known of them is
    /// not known here: [`crate::fit_activation`] takes the least squared error of the values themselves.
    OutputMse,
}

const OUTPUT_MSE: &str = "output_mse";
const ALLOWED: &str = "minmax, moving_average, percentile, mse, entropy, output_mse";

impl ActivationRange {
    /// The momentum that `moving_average` means when none is given.
    pub const DEFAULT_MOMENTUM: f64 = 0.9;

    /// Its spelling in experiments and results; a parameter stands beside it.
    pub fn name(self) -> &'static str {
        match (self, self.method()) {
            (_, Some(method)) => method.name(),
            (ActivationRange::OutputMse, None) => OUTPUT_MSE,
            (_, None) => "moving_average",
        }
    }

    /// The method of that name, with its momentum, percentile or exponent; without one, the default of the method.
    ///
    /// # Errors
    /// [`Error::Name`] for an unknown name, [`Error::Momentum`], [`Error::Percentile`] and [`Error::Exponent`] for a parameter out of
    /// bounds, [`Error::Parameter`] for a parameter beside a method that takes none.
    pub fn named(name: &str, parameter: Option<f64>) -> Result<ActivationRange, Error> {
        if name == "moving_average" {
            let momentum = parameter.unwrap_or(ActivationRange::DEFAULT_MOMENTUM);
            return ActivationRange::MovingAverage { momentum }.checked();
        }
        if name == OUTPUT_MSE {
            return match parameter {
                None => Ok(ActivationRange::OutputMse),
                Some(found) => Err(Error::Parameter {
                    axis: "activation range",
                    name: OUTPUT_MSE,
                    found,
                }),
            };
        }
        match RangeMethod::named(name, parameter) {
            Ok(RangeMethod::MinMax) => Ok(ActivationRange::MinMax),
            Ok(RangeMethod::Percentile(percent)) => Ok(ActivationRange::Percentile(percent)),
            Ok(RangeMethod::Mse { exponent }) => Ok(ActivationRange::Mse { exponent }),
            Ok(RangeMethod::Entropy) => Ok(ActivationRange::Entropy),
            // A density of weights is none of activations: half of them are one number.
            Ok(RangeMethod::Gaussian | RangeMethod::Laplacian) | Err(Error::Name { .. }) => {
                Err(Error::Name {
                    axis: "activation range",
                    found: name.to_owned(),
                    allowed: ALLOWED,
                })
            }
            Err(other) => Err(other),
        }
    }

    /// The momentum, the percentile or the exponent.
    pub fn parameter(self) -> Option<f64> {
        match self {
            ActivationRange::MovingAverage { momentum } => Some(momentum),
            other => other.method().and_then(RangeMethod::parameter),
        }
    }

    /// Itself when its parameter is within bounds.
    pub(super) fn checked(self) -> Result<ActivationRange, Error> {
        match self {
            ActivationRange::MovingAverage { momentum: found } if !(0.0..1.0).contains(&found) => {
                Err(Error::Momentum { found })
            }
            fine => {
                if let Some(method) = fine.method() {
                    method.checked()?;
                }
                Ok(fine)
            }
        }
    }

    /// The method for weights of the same meaning.
    fn method(self) -> Option<RangeMethod> {
        match self {
            ActivationRange::MinMax => Some(RangeMethod::MinMax),
            ActivationRange::MovingAverage { .. } | ActivationRange::OutputMse => None,
            ActivationRange::Percentile(percent) => Some(RangeMethod::Percentile(percent)),
            ActivationRange::Mse { exponent } => Some(RangeMethod::Mse { exponent }),
            ActivationRange::Entropy => Some(RangeMethod::Entropy),
        }
    }
}

impl fmt::Display for ActivationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Methods with a parameter parse with their defaults; [`ActivationRange::named`] gives them another.
impl FromStr for ActivationRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<ActivationRange, Error> {
        ActivationRange::named(text, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_unknown_ones_list_what_is_allowed() {
        for name in ALLOWED.split(", ") {
            assert_eq!(name.parse::<ActivationRange>().unwrap().to_string(), name);
        }
        for name in ["max", "gaussian", "laplacian"] {
            assert_eq!(
                name.parse::<ActivationRange>().unwrap_err().to_string(),
                format!(
                    "activation range = \"{name}\" is unknown; allowed: minmax, moving_average, percentile, mse, entropy, output_mse"
                )
            );
        }
    }

    #[test]
    fn a_parameter_is_taken_where_it_belongs_and_within_its_bounds() {
        let named = ActivationRange::named;
        let average = |momentum| Ok(ActivationRange::MovingAverage { momentum });
        assert_eq!(named("moving_average", None), average(0.9));
        assert_eq!(named("moving_average", Some(0.0)), average(0.0));
        for momentum in [1.0, 1.5, -0.1, f64::NAN] {
            let error = named("moving_average", Some(momentum)).unwrap_err();
            assert!(
                error.to_string().contains("at least 0 and below 1"),
                "{error}"
            );
        }
        assert_eq!(named("mse", Some(2.4)).unwrap().parameter(), Some(2.4));
        assert!(matches!(
            named("percentile", Some(50.0)),
            Err(Error::Percentile { .. })
        ));
        assert!(matches!(
            named("entropy", Some(1.0)),
            Err(Error::Parameter { .. })
        ));
    }
}
