//! Numbers to codes and back: what it means to quantize a tensor, along every axis that people argue about.
//!
//! ```text
//! q = clamp(round(x / scale) + zero_point, quant_min, quant_max)      (1)
//! y = scale * (q - zero_point)                                        (2)
//! ```
//!
//! A [`Scheme`] is a choice on each axis: [`Bits`] (1 to 16), [`Mapping`] (`affine`, `symmetric`, `power_of_two`; [`CodeRange`]
//! `narrow` or `full` for the signed two), [`Granularity`] (`tensor`, `channel`, `group`), [`RangeMethod`] (`minmax`, `percentile`,
//! `mse`, `entropy`, `gaussian`, `laplacian`) and [`Rounding`] (`half_even`, `half_away`, `floor`, `stochastic`).
//! [`Scheme::linear`] is the original method to the letter. [`quantize`] applies a scheme to [`Values`]; [`compare`] and
//! [`bits_per_value`] measure what that cost. [`qat`] is training with the quantizers in place. The feature
//! `tensor` adds the same on burn tensors, and gradients.
//!
//! Activations pass by and are not kept: their [`Statistics`] are, from which [`fit_activation`] finds the parameters of an
//! [`ActivationScheme`]; [`bias_codes`] gives the int32 biases of integer arithmetic.
//!
//! ```
//! use quant_core::{Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, Values, compare, quantize};
//!
//! let weights = [0.7, -0.2, 0.05, -0.9, 0.0, 0.3];
//! let values = Values::new("conv1.weight", &weights, &[2, 3])?;
//! let scheme = Scheme::new(
//!     Bits::new(4)?,
//!     Mapping::Symmetric,
//!     CodeRange::Narrow,
//!     Granularity::Channel,
//!     RangeMethod::MinMax,
//!     Rounding::HalfEven,
//! )?;
//! let quantized = quantize(&values, &scheme);
//! assert_eq!(quantized.codes, [7, -2, 0, -7, 0, 2]);
//! assert!(compare(&weights, &quantized.values).sqnr_db > Some(20.0));
//! # Ok::<(), quant_core::Error>(())
//! ```
//!
//! What can fail fails while a [`Bits`], [`Scheme`] or [`Values`] is made, with an [`Error`]; the functions after that are total.
//! Nothing here does I/O, reads a clock or draws ambient randomness, and sums run in a fixed order, so the same input gives the
//! same bits whatever the machine.
//!
//! # Degenerate input
//!
//! A group that cannot be quantized keeps its values, has codes 0 and `scale` 0, and says why: [`Outcome::Float`].
//!
//! | input | ordinary scheme | `linear` |
//! |---|---|---|
//! | NaN or an infinity anywhere | [`Error::NotFinite`]: tensor, index, value | the same |
//! | no elements, an axis of 0 (empty channel) | [`Error::Empty`] with the tensor's name | the same |
//! | shape and number of values differ | [`Error::Shape`] with the tensor's name | the same |
//! | every value of a group 0 | float, [`Reason::AllZero`] | the same |
//! | a group constant c, not 0 | quantized: c is an end of the range and comes back within rounding of the scale | float, [`Reason::Constant`] |
//! | one value in a group | as a constant | as a constant |
//! | one-sided (0 outside the range) | range widened to 0; the zero point is the first or last code | as found; the zero point lies outside the codes |
//! | scale rounds to 0 | float, [`Reason::ScaleUnderflow`] | the same |
//! | scale subnormal | float, [`Reason::ScaleUnderflow`]: devices that flush subnormals would divide by 0 | quantized, as the formula says |
//! | scale or an end of the grid past float32 | float, [`Reason::ScaleOverflow`] | the same |
//! | zero point past 32 bits | cannot occur | float, [`Reason::ZeroPointOverflow`] |
//! | estimated range empty, values not all 0 | minimum and maximum instead | has no estimate |
//! | `percentile`, `gaussian`, `laplacian` range past the values | cut to the values | has no estimate |
//! | signed narrow codes at 1 bit | [`Error::OnlyZero`] when the scheme is made | affine |
//! | signed full codes at 1 bit | codes -1 and 0: positive values become 0 | affine |
//! | `stochastic` or `floor` on a representable number | itself for `scale * k` whose quotient is exactly k (0 always) | the same |

#![forbid(unsafe_code)]

mod bits;
mod calibration;
mod compare;
mod error;
mod extremes;
mod fit;
mod fixed_point;
mod granularity;
mod grid;
mod kernel;
mod mapping;
mod maths;
mod params;
pub mod qat;
mod quantize;
mod range;
mod reason;
mod rounding;
mod scheme;
#[cfg(feature = "tensor")]
pub mod tensor;
mod values;
mod words;

pub use bits::Bits;
pub use calibration::{
    ActivationRange, ActivationScheme, BiasCodes, Bin, Histogram, LARGEST_BIAS, Statistics,
    bias_codes, fit_activation, shrunk_activation,
};
pub use compare::{Comparison, bits_per_value, compare, sqnr_db};
pub use error::Error;
pub use fit::shrunk;
pub use fixed_point::FixedPoint;
pub use granularity::{Granularity, Layout};
pub use mapping::{CodeRange, Mapping};
pub use maths::{exp, ln, power_f32};
pub use params::QParams;
pub use quantize::{Outcome, Quantized, parameters, quantize, quantize_by};
pub use range::RangeMethod;
pub use reason::Reason;
pub use rounding::{Rounding, uniform};
pub use scheme::Scheme;
pub use values::Values;
