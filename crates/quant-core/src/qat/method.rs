//! Which parameters of a quantizer are learned, by name.

use crate::words;

/// How scales and zero points come about in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Minimum and maximum of weights, moving averages of those of activations (Jacob et al. 2018, section 3.1).
    MinMax,
    /// Learned step sizes (Esser et al. 2020).
    Lsq,
    /// Learned step sizes, and offsets of activations (Bhalgat et al. 2020).
    LsqPlus,
    /// Learned clipping of activations (Choi et al. 2018), weights as [`Method::MinMax`].
    Pact,
}

words!(
    Method, "training method": MinMax = "minmax", Lsq = "lsq", LsqPlus = "lsq_plus", Pact = "pact",
);

impl Method {
    /// Whether the steps of weights are parameters; otherwise they follow the weights.
    pub fn learns_weight_steps(self) -> bool {
        matches!(self, Method::Lsq | Method::LsqPlus)
    }
}
