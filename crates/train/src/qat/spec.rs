//! What is trained: weights, activations, the method, and what BatchNorm does.
//!
//! | BatchNorm | what is quantized | normalisation in training | literature |
//! |---|---|---|---|
//! | [`QatBn::Folded`] | weights times gamma / sqrt(running variance) | batch statistics, from some step on the running ones | Krishnamoorthi 2018, section 4 |
//! | [`QatBn::Static`] | weights folded once, before training | none: folded weights and biases are trained | |
//! | [`QatBn::Kept`] | the convolution's own weights | as `Folded`, behind the quantized convolution | |

use std::collections::BTreeMap;
use std::fmt;

use engine::Algorithm;
use quant_core::qat::Method;
use quant_core::{Bits, Granularity, Mapping, Rounding, Scheme};

use quantize::ActivationQuantization;
use quantize::Error;

/// What BatchNorm does in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QatBn {
    /// Folded at every step, by the running statistics.
    Folded,
    /// Folded once.
    Static,
    /// Not folded before the end.
    Kept,
}

quant_core::words!(QatBn, "qat.bn": Folded = "folded", Static = "static", Kept = "kept");

/// What is trained.
#[derive(Clone, Debug)]
pub struct QatSpec {
    /// Of every weight tensor; per tensor or per channel, half to even.
    pub scheme: Scheme,
    /// Bits of the first convolution, where they differ.
    pub first_bits: Option<Bits>,
    /// Bits of the classifier, where they differ.
    pub last_bits: Option<Bits>,
    /// Bits of layers' weights by name, before all others.
    pub bits_of: BTreeMap<String, Bits>,
    /// Activations; absent where they stay in float.
    pub activations: Option<ActivationQuantization>,
    /// What is learned.
    pub method: Method,
    /// BatchNorm.
    pub bn: QatBn,
    /// What is kept at each step of a moving activation range, for [`Method::MinMax`].
    pub range_momentum: f64,
    /// What the CPU computes convolutions by.
    pub convolution: Algorithm,
}

impl QatSpec {
    /// Fails for what cannot be trained, naming the setting.
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |key: &'static str, value: &dyn fmt::Display, allowed: &'static str| {
            Err(Error::Setting {
                key,
                value: value.to_string(),
                allowed,
            })
        };
        if let Granularity::Group(_) = self.scheme.granularity() {
            return refuse("weights.granularity", &"group", "tensor, channel");
        }
        if self.scheme.rounding() != Rounding::HalfEven {
            return refuse("weights.rounding", &self.scheme.rounding(), "half_even");
        }
        if self.method != Method::MinMax {
            let activations = self.activations.as_ref().map(|how| how.scheme.mapping());
            let keys = [
                ("weights.mapping", Some(self.scheme.mapping())),
                ("activations.mapping", activations),
            ];
            for (key, mapping) in keys {
                if mapping == Some(Mapping::PowerOfTwo) {
                    return refuse(
                        key,
                        &Mapping::PowerOfTwo,
                        "affine, symmetric (a learned step is no power of two)",
                    );
                }
            }
        }
        if let Some(how) = &self.activations
            && how.scheme.rounding() != Rounding::HalfEven
        {
            return refuse("activations.rounding", &how.scheme.rounding(), "half_even");
        }
        Ok(())
    }
}
