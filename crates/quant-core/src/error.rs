//! What can be wrong with a request. Everything that can fail fails while a value of this crate is being made
//! ([`crate::Bits`], [`crate::Scheme`], [`crate::Values`], a name parsed into an enum); the arithmetic after that is total.

use thiserror::Error;

/// The reason why a scheme, a name or a tensor was refused. Each message holds the offending value and what is allowed.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A bit width outside 1..=16.
    #[error("bits = {found} is not allowed: a code has 1 to 16 bits")]
    Bits {
        /// What was asked for, as written.
        found: String,
    },
    /// A name that is no variant of the axis.
    #[error("{axis} = \"{found}\" is unknown; allowed: {allowed}")]
    Name {
        /// The axis, as it is spelled in experiments: `mapping`, `granularity`, `range`, `rounding`, `codes`; of activations
        /// `activation range` and `activation rounding`, which allow less.
        axis: &'static str,
        /// What was asked for.
        found: String,
        /// Every allowed spelling, separated by commas.
        allowed: &'static str,
    },
    /// Group granularity without a size.
    #[error(
        "granularity = \"group\" needs a group size of at least 1 (consecutive elements that share a scale)"
    )]
    GroupSize,
    /// A percentile that does not leave a range.
    #[error("percentile = {found} is not allowed: it must be above 50 and at most 100 (percent)")]
    Percentile {
        /// What was asked for, in percent.
        found: f64,
    },
    /// An exponent of the `mse` range search that is not a positive number.
    #[error(
        "the exponent {found} of the mse range is not allowed: it must be above 0 and at most 16"
    )]
    Exponent {
        /// What was asked for.
        found: f64,
    },
    /// A momentum of the `moving_average` range that does not blend.
    #[error("momentum = {found} is not allowed: it must be at least 0 and below 1")]
    Momentum {
        /// What was asked for.
        found: f64,
    },
    /// A parameter beside a name that takes none.
    #[error("{axis} = \"{name}\" takes no parameter, but {found} was given")]
    Parameter {
        /// The axis.
        axis: &'static str,
        /// The variant.
        name: &'static str,
        /// The parameter that has no meaning here.
        found: f64,
    },
    /// Narrow codes at 1 bit: -(2^0 - 1) ..= 2^0 - 1 holds the code 0 alone.
    #[error(
        "{mapping} with narrow codes at 1 bit has the code 0 only; use 2 bits or more, full codes, or mapping = \"affine\""
    )]
    OnlyZero {
        /// The mapping that was asked for.
        mapping: &'static str,
    },
    /// Nothing to quantize.
    #[error(
        "tensor \"{name}\" with shape {shape:?} has no elements; every axis must have at least 1"
    )]
    Empty {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A shape that does not describe the data.
    #[error("tensor \"{name}\" has {found} values, but its shape {shape:?} asks for another count")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// How many values were given.
        found: usize,
    },
    /// A NaN or an infinity.
    #[error(
        "tensor \"{name}\" has the value {value} at index {index}; only finite values can be quantized"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// The flat index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A number of parameters that is not the number of groups.
    #[error("{found} quantization parameters were given for a tensor of {expected} groups")]
    GroupCount {
        /// How many were given.
        found: usize,
        /// How many groups there are.
        expected: usize,
    },
    /// Groups of one tensor with different codes.
    #[error(
        "the groups of one tensor must have the same codes, but one has {first:?} and one has {other:?} (quant_min, quant_max)"
    )]
    MixedCodes {
        /// The bounds of the first group.
        first: (i32, i32),
        /// The bounds of the first group that differs.
        other: (i32, i32),
    },
    /// A NaN or an infinity among the activations of a calibration batch.
    #[error(
        "site \"{site}\": {count} of {of} values are not finite, the first is {value}; only finite values can be calibrated on"
    )]
    SiteNotFinite {
        /// The activation site.
        site: String,
        /// The first such value.
        value: f32,
        /// How many there are.
        count: usize,
        /// Out of how many.
        of: usize,
    },
    /// A part of saved calibration statistics that no values lead to.
    #[error("calibration statistics: {part} = {found} is not allowed: {allowed}")]
    HistogramPart {
        /// `bin`, `count`, `exponent`, `minimum`, ...
        part: &'static str,
        /// What it is.
        found: String,
        /// What it could be.
        allowed: String,
    },
}
