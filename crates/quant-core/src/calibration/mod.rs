//! Activations: what a site of the network was seen to hold, and the codes chosen for it.
//!
//! ```text
//! values of a batch --add--> Statistics (Histogram, ranges of the batches) --merge--> Statistics --fit_activation--> QParams
//! ```
//!
//! Weights are at hand when they are quantized; activations pass by. A site's [`Statistics`] are all that is kept of them, in constant
//! memory, and they depend on the *multiset* of the values and on which batch each was in, on nothing else: any order of adding and of
//! merging, any number of threads or shards, gives the same bits.
//!
//! | question | answer |
//! |---|---|
//! | codes | affine: 0 ..= 2^b - 1, range widened to 0; symmetric and power of two: signed, but 0 ..= 2^b - 1 for a site that never was negative |
//! | 0 | always exactly representable |
//! | several sites with one scale | merge their statistics, fit once |
//! | every value 0 (a dead branch) | scale 1, zero point 0, codes 0 ..= 2^b - 1 ([`ActivationScheme::dead`]) |
//! | nothing added at all | [`crate::Reason::Unseen`] |
//! | NaN or infinity | [`crate::Error::SiteNotFinite`] when it is added; the statistics stay as they were |
//! | estimated range empty, values not all 0 | minimum and maximum instead |
//! | range too small or too large for float32 | [`crate::Reason::ScaleUnderflow`], [`crate::Reason::ScaleOverflow`] |

mod bias;
mod estimate;
mod fit;
mod histogram;
mod integral;
mod parts;
mod range;
mod scheme;
mod statistics;
mod survey;

pub use bias::{BiasCodes, LARGEST_BIAS, bias_codes};
pub use fit::{fit_activation, shrunk_activation};
pub use histogram::{Bin, Histogram};
pub use range::ActivationRange;
pub use scheme::ActivationScheme;
pub use statistics::Statistics;
