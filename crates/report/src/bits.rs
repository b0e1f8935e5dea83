//! Bits as readers write them: `8` where only weights are quantized, `W8A8` where activations are too.

use results::{Config, FLOAT_BITS};

/// Bits of weights and of activations. Ordered by weights, then by activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bits {
    pub weights: u32,
    pub activations: u32,
}

impl Bits {
    pub fn of(config: &Config) -> Bits {
        Bits {
            weights: config.weights_bits(),
            activations: config.activations_bits(),
        }
    }

    /// Whether activations are quantized.
    pub fn has_activations(self) -> bool {
        self.activations != FLOAT_BITS
    }

    /// As tables and plots show them; `both` in a table in which some run quantizes activations, so that a column never
    /// mixes `8` and `W8A8`.
    pub fn label(self, both: bool) -> String {
        match (both, self.weights) {
            (true, weights) if (weights, self.activations) == (FLOAT_BITS, FLOAT_BITS) => {
                "float".into()
            }
            (true, weights) => format!("W{weights}A{}", self.activations),
            (false, FLOAT_BITS) => "float".into(),
            (false, weights) => weights.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_alone_are_a_number_and_both_are_a_pair() {
        let bits = |weights, activations| Bits {
            weights,
            activations,
        };
        assert_eq!(bits(8, 32).label(false), "8");
        assert_eq!(bits(8, 32).label(true), "W8A32");
        assert_eq!(bits(8, 4).label(true), "W8A4");
        assert_eq!(bits(32, 8).label(true), "W32A8");
        assert_eq!(bits(32, 32).label(true), "float");
        assert_eq!(bits(32, 32).label(false), "float");
        assert!(bits(8, 32) > bits(8, 8) && bits(8, 4) > bits(4, 8));
    }
}
