//! Numbers that stay as they are where others are rounded (QDrop: Wei et al. 2022, arXiv 2203.05740).
//!
//! Whether number i does is a function of a seed and of i alone:
//!
//! ```text
//! byte i mod 8 of mix(mix(seed) + floor(i / 8)) < share
//! ```

use crate::rounding::mix;

/// Which numbers stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stays {
    seed: u64,
    first: u64,
    share: u64,
}

impl Stays {
    /// About `share` of all numbers, to 1/256; the first number here is number `first` of all.
    pub fn new(share: f64, seed: u64, first: u64) -> Self {
        Self {
            seed: mix(seed),
            first,
            share: (256.0 * share.clamp(0.0, 1.0)).round() as u64,
        }
    }

    /// Tells `see` of each of `count` numbers from number `start` here: its place from there, and whether it stays.
    #[inline(always)]
    pub fn each(&self, start: usize, count: usize, mut see: impl FnMut(usize, bool)) {
        let mut i = 0;
        while i < count {
            let at = self.first + (start + i) as u64;
            let word = mix(self.seed.wrapping_add(at / 8)) >> (8 * (at % 8));
            let own = (8 - (at % 8) as usize).min(count - i);
            for k in 0..own {
                see(i + k, word >> (8 * k) & 255 < self.share);
            }
            i += own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(stays: Stays, start: usize, count: usize) -> Vec<bool> {
        let mut all = vec![false; count];
        stays.each(start, count, |i, stays| all[i] = stays);
        all
    }

    #[test]
    fn a_number_stays_or_not_wherever_one_begins_to_look() {
        let all = drawn(Stays::new(0.5, 3, 0), 0, 100);
        assert_eq!(drawn(Stays::new(0.5, 3, 0), 13, 50), all[13..63]);
        assert_eq!(drawn(Stays::new(0.5, 3, 10), 3, 50), all[13..63]);
    }

    #[test]
    fn as_many_stay_as_are_asked_for() {
        for (share, expected) in [(0.0, 0), (0.25, 2500), (1.0, 10000)] {
            let found = drawn(Stays::new(share, 1, 0), 0, 10000);
            let found = found.into_iter().filter(|&stays| stays).count();
            assert!(found.abs_diff(expected) < 200, "{share}: {found}");
        }
    }
}
