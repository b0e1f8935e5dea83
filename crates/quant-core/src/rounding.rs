//! From a real number to a neighbouring integer: `half_even`, `half_away`, `floor`, `stochastic`.
//!
//! Stochastic rounding of v: `floor(v) + [u < v - floor(v)]` with u uniform on [0, 1), so that the mean is v and an integer stays
//! itself. u is a hash of (seed, element index), not the next draw of a generator: the order of the elements and the number of
//! threads cannot change it. The hash is SplitMix64's finalizer (Steele, Lea and Flood 2014), applied to the seed and then to
//! the seed plus the index; integer arithmetic only, hence the same on every platform.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The rule that picks the integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// The nearest; a tie goes to the even one (IEEE 754's default, PyTorch's `round`).
    HalfEven,
    /// The nearest; a tie goes away from zero (C's `round`).
    HalfAway,
    /// The largest that is not above. Not idempotent: `scale * k / scale` may fall just below k.
    Floor,
    /// Up with a probability equal to the fraction.
    Stochastic {
        /// What the draws depend on beside the element's index.
        seed: u64,
    },
}

impl Rounding {
    /// Its spelling in experiments and results; the seed stands beside it.
    pub fn name(self) -> &'static str {
        match self {
            Rounding::HalfEven => "half_even",
            Rounding::HalfAway => "half_away",
            Rounding::Floor => "floor",
            Rounding::Stochastic { .. } => "stochastic",
        }
    }

    /// The same rule with another seed; the deterministic rules have none and stay as they are.
    pub fn with_seed(self, seed: u64) -> Rounding {
        match self {
            Rounding::Stochastic { .. } => Rounding::Stochastic { seed },
            other => other,
        }
    }

    /// The same rule with a seed of its own for the tensor `name`. Draws depend on the seed and the element's index alone, so that
    /// without this the first elements of every tensor of a network would share theirs.
    pub fn for_tensor(self, name: &str) -> Rounding {
        match self {
            Rounding::Stochastic { seed } => Rounding::Stochastic {
                seed: name
                    .bytes()
                    .fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte))),
            },
            other => other,
        }
    }

    /// `v` rounded; `index` is the element's flat position in its tensor and matters to `stochastic` only.
    #[inline]
    pub fn round(self, v: f32, index: u64) -> f32 {
        match self {
            Rounding::HalfEven => v.round_ties_even(),
            Rounding::HalfAway => v.round(),
            Rounding::Floor => v.floor(),
            Rounding::Stochastic { seed } => {
                let below = v.floor();
                below + f32::from(u8::from(uniform(seed, index) < v - below))
            }
        }
    }
}

/// The draw of the element at `index`, uniform on [0, 1) in steps of 2^-24.
#[inline]
pub fn uniform(seed: u64, index: u64) -> f32 {
    let bits = mix(mix(seed).wrapping_add(index)) >> 40;
    bits as f32 * (1.0 / 16_777_216.0)
}

/// SplitMix64: one step of its counter, then its finalizer.
#[inline]
pub(crate) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl fmt::Display for Rounding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `stochastic` parses with seed 0; [`Rounding::with_seed`] gives it another.
impl FromStr for Rounding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rounding, Error> {
        [
            Rounding::HalfEven,
            Rounding::HalfAway,
            Rounding::Floor,
            Rounding::Stochastic { seed: 0 },
        ]
        .into_iter()
        .find(|r| r.name() == text)
        .ok_or_else(|| Error::Name {
            axis: "rounding",
            found: text.to_owned(),
            allowed: "half_even, half_away, floor, stochastic",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_where_each_rule_says() {
        let rounded = |r: Rounding| [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4].map(|v| r.round(v, 0));
        assert_eq!(rounded(Rounding::HalfEven), [-2., -2., 0., 0., 2., 2., 2.]);
        assert_eq!(rounded(Rounding::HalfAway), [-3., -2., -1., 1., 2., 3., 2.]);
        assert_eq!(rounded(Rounding::Floor), [-3., -2., -1., 0., 1., 2., 2.]);
    }

    #[test]
    fn stochastic_keeps_integers_and_is_right_on_average() {
        let rule = Rounding::Stochastic { seed: 3 };
        for k in [-5.0, 0.0, 7.0] {
            assert!((0..1000).all(|i| rule.round(k, i) == k));
        }
        for fraction in [0.1_f32, 0.5, 0.75] {
            let n = 40_000;
            let sum: f64 = (0..n)
                .map(|i| f64::from(rule.round(-3.0 + fraction, i)))
                .sum();
            // Four standard errors of a Bernoulli mean.
            let tolerance = 4.0 * 0.5 / f64::from(n as u32).sqrt();
            assert!((sum / n as f64 + 3.0 - f64::from(fraction)).abs() < tolerance);
        }
    }

    #[test]
    fn the_draws_are_the_same_on_every_platform() {
        // SplitMix64 seeded with 0 starts with this value (the published test vector).
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        let draws: Vec<u32> = (0..4)
            .map(|i| (uniform(42, i) * 16_777_216.0) as u32)
            .collect();
        assert_eq!(draws, DRAWS_OF_SEED_42);
        assert_ne!(uniform(42, 0), uniform(43, 0));
    }

    const DRAWS_OF_SEED_42: [u32; 4] = [5_759_482, 16_404_372, 7_492_501, 6_953_110];

    #[test]
    fn each_tensor_can_have_draws_of_its_own() {
        let rule = Rounding::Stochastic { seed: 1 };
        assert_ne!(
            rule.for_tensor("conv1.weight"),
            rule.for_tensor("conv2.weight")
        );
        assert_ne!(rule.for_tensor("w"), rule.with_seed(2).for_tensor("w"));
        assert_eq!(rule.for_tensor("w"), rule.for_tensor("w"));
        assert_eq!(Rounding::Floor.for_tensor("w"), Rounding::Floor);
    }

    #[test]
    fn names_parse_back_and_unknown_ones_list_what_is_allowed() {
        for name in ["half_even", "half_away", "floor", "stochastic"] {
            assert_eq!(name.parse::<Rounding>().unwrap().to_string(), name);
        }
        assert_eq!(
            "stochastic".parse::<Rounding>().unwrap().with_seed(9),
            Rounding::Stochastic { seed: 9 }
        );
        assert_eq!(
            "nearest".parse::<Rounding>().unwrap_err().to_string(),
            "rounding = \"nearest\" is unknown; allowed: half_even, half_away, floor, stochastic"
        );
    }
}
