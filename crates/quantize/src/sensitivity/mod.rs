//! Which layer is to blame: what one layer's or one site's few bits do to the network's answers, everything else being as it was.

mod logits;
mod probe;

pub(crate) use logits::log_norm;
pub use logits::{LogitError, first_largest};
pub use probe::Probe;
