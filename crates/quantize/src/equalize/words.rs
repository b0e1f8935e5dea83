//! The settings that are words.

use quant_core::words;

/// What happens to a clipping at an end other than 0, which does not scale: min(x, 6) / s is not min(x / s, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClipPolicy {
    /// Its ends are scaled for each channel, which changes nothing.
    Scale,
    /// A clipping between 0 and an end becomes a ReLU: another function (Nagel et al. 2019, section 5.1.1).
    Replace,
    /// Nothing is equalized through it.
    Keep,
}

words!(ClipPolicy, "equalize.clip": Scale = "scale", Replace = "replace", Keep = "keep");

/// Which layers are equalized together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Two convolutions with nothing but clipping and borders between them, the first read by nobody else, as in Nagel et al. 2019.
    Pairs,
    /// All whose channels meet, through pools, concatenations and whatever else scales, fully connected layers too; not through
    /// additions.
    Regions,
    /// Through additions as well: one scale of a channel for all that is added up and for all who read the sum.
    Sums,
}

words!(Reach, "equalize.reach": Pairs = "pairs", Regions = "regions", Sums = "sums");
