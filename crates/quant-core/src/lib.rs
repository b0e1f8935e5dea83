//! quant-core
#![forbid(unsafe_code)]

mod bits;
mod compare;
mod error;
mod extremes;
mod fit;
mod granularity;
mod mapping;
mod maths;
mod params;
mod quantize;
mod range;
mod rounding;
mod scheme;
mod values;

pub use bits::Bits;
pub use compare::{Comparison, bits_per_value, compare};
pub use error::Error;
pub use fit::Reason;
pub use granularity::{Granularity, Layout};
pub use mapping::{CodeRange, Mapping};
pub use params::QParams;
pub use quantize::{Outcome, Quantized, parameters, quantize};
pub use range::RangeMethod;
pub use rounding::{Rounding, uniform};
pub use scheme::Scheme;
pub use values::Values;
