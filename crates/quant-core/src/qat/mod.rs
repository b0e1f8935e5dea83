//! Quantization in training: fake quantization with straight-through gradients, and the methods that choose its grid.
//!
//! ```text
//! v = x / s      q = clamp(round(v) + z, quant_min, quant_max)      y = s (q - z)                     (1), (2)
//! dy/dx = 1 where quant_min <= round(v) + z <= quant_max, else 0                                      (3)
//! ```
//!
//! The forward values are those of [`crate::QParams::fake_quant`] bit for bit (half to even), so what is trained is what is
//! simulated and what integers compute. Equation (3) is the straight-through estimator (Bengio et al. 2013, arXiv 1308.3432):
//! rounding counts as the identity, clipping as what it is.
//!
//! | method | scale | zero point | file |
//! |---|---|---|---|
//! | [`Method::MinMax`] | from minimum and maximum: of the weights at each step, of activations a moving average | from them too | [`minmax`] |
//! | [`Method::Lsq`] | learned | as calibrated | [`lsq`] |
//! | [`Method::LsqPlus`] | learned | of activations: learned, from an offset | [`lsq_plus`] |
//! | [`Method::Pact`] | activations: learned, from a clipping bound; weights: as `MinMax` | as calibrated | [`pact`] |
//!
//! Every method ends in a `Grid`, and `fake_quant` applies it on any device. Those two are tensors' and come with the feature
//! `tensor`; what a method begins and ends with is plain numbers. On the CPU training has one operation for all of it, which is held
//! to this one.

#[cfg(feature = "tensor")]
mod fake_quant;
mod learns;
pub mod lsq;
pub mod lsq_plus;
mod method;
pub mod minmax;
pub mod pact;
mod stays;
#[cfg(all(test, feature = "tensor"))]
mod tests;

#[cfg(feature = "tensor")]
pub use fake_quant::{Grid, fake_quant, fake_quant_in_part};
pub use learns::Learns;
pub use method::Method;
pub use stays::Stays;

/// The smallest step that training may reach. A step that a large learning rate throws to 0 or below would turn every value
/// into NaN or mirror the grid.
pub const SMALLEST_STEP: f32 = 1e-8;
