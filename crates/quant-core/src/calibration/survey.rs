//! The first look at a slice: is everything finite, how many zeros, which ends. The histogram needs to know before it counts.

use crate::extremes::extremes;

/// What a slice holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Survey {
    /// Values that are 0, of either sign.
    pub(super) zeros: u64,
    /// `(min, max)` with -0 as 0; none of an empty slice.
    pub(super) range: Option<(f32, f32)>,
}

/// NaNs and infinities in a slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct NotFinite {
    /// How many there are.
    pub(super) count: usize,
    /// The first.
    pub(super) first: f32,
}

/// Looks at every value once.
pub(super) fn survey(values: &[f32]) -> Result<Survey, NotFinite> {
    const MAGNITUDE: u32 = 0x7fff_ffff;
    const INFINITY: u32 = 0x7f80_0000;
    let mut zeros = 0;
    let mut range: Option<(f32, f32)> = None;
    // Blocks stay in the first cache for three loops that each become vector code, and keep their counts in 32 bits.
    for block in values.chunks(4096) {
        let count = |is: fn(u32) -> bool| {
            block
                .iter()
                .map(|x| u32::from(is(x.to_bits() & MAGNITUDE)))
                .sum::<u32>()
        };
        if count(|magnitude| magnitude >= INFINITY) > 0 {
            return Err(not_finite(values));
        }
        zeros += u64::from(count(|magnitude| magnitude == 0));
        let (low, high) = extremes(block);
        let (lowest, highest) = range.unwrap_or((low, high));
        // Adding 0 turns -0 into 0: which of the two is met first must not show.
        range = Some((lowest.min(low) + 0.0, highest.max(high) + 0.0));
    }
    Ok(Survey { zeros, range })
}

fn not_finite(values: &[f32]) -> NotFinite {
    let mut wrong = values.iter().copied().filter(|x| !x.is_finite());
    NotFinite {
        first: wrong.next().unwrap_or(f32::NAN),
        count: wrong.count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_both_signs_are_one_number() {
        let seen = survey(&[-0.0, 0.0, 2.0, -0.0]).unwrap();
        assert_eq!(seen.zeros, 3);
        let (min, max) = seen.range.unwrap();
        assert_eq!((min.to_bits(), max), (0, 2.0));
        assert_eq!(survey(&[]).unwrap().range, None);
    }

    #[test]
    fn nan_and_infinity_are_counted_wherever_they_are() {
        for at in [0, 1, 15, 4095, 4096, 8191] {
            for value in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![1.0; 8192];
                values[at] = value;
                values[8191] = value;
                let found = survey(&values).unwrap_err();
                assert_eq!(found.count, if at == 8191 { 1 } else { 2 });
                assert_eq!(found.first.is_nan(), value.is_nan());
            }
        }
        assert!(survey(&[f32::MAX, f32::MIN, 1e-45]).is_ok());
    }
}
