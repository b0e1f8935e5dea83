//! Which parameters of a quantizer are learned, by name.

use std::fmt;
use std::str::FromStr;

use crate::Error;

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

impl Method {
    /// Every method.
    pub const ALL: [Method; 4] = [Method::MinMax, Method::Lsq, Method::LsqPlus, Method::Pact];

    /// Its spelling in experiments and results.
    pub fn name(self) -> &'static str {
        match self {
            Method::MinMax => "minmax",
            Method::Lsq => "lsq",
            Method::LsqPlus => "lsq_plus",
            Method::Pact => "pact",
        }
    }

    /// Whether the steps of weights are parameters; otherwise they follow the weights.
    pub fn learns_weight_steps(self) -> bool {
        matches!(self, Method::Lsq | Method::LsqPlus)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Method, Error> {
        Method::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| Error::Name {
                axis: "training method",
                found: text.to_owned(),
                allowed: "minmax, lsq, lsq_plus, pact",
            })
    }
}
