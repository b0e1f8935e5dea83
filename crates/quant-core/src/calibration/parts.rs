//! A histogram from its parts, for tables that were saved. A file may hold anything, so every part is checked: what comes out is a state
//! that adding values could have led to, as far as counts can tell.

use super::histogram::{Histogram, MIN_EXPONENT, SIDE, exponent_of, index_of};
use crate::Error;

/// Counts are exact as float64 up to here, and the sum of a thousand such histograms still fits in 64 bits.
const MOST: u64 = 1 << 53;

impl Histogram {
    /// The histogram with these parts: the `exponent` of the bin width, the number of zeros, the exact `(min, max)`, and the occupied
    /// bins as `(index, count)` in any order ([`super::Bin::index`]).
    ///
    /// # Errors
    /// [`Error::HistogramPart`] with the part, what it is and what is allowed.
    pub fn from_parts(
        exponent: i32,
        zeros: u64,
        range: Option<(f32, f32)>,
        bins: impl IntoIterator<Item = (i32, u64)>,
    ) -> Result<Histogram, Error> {
        let mut counts = Box::new([0_u64; 2 * SIDE]);
        let mut total = zeros;
        let (mut first, mut last) = (None, None);
        for (index, count) in bins {
            let position = usize::try_from(i64::from(index) + SIDE as i64).ok();
            let Some(slot) = position.and_then(|position| counts.get_mut(position)) else {
                return refuse("bin", index, format!("it must be within -{SIDE} .. {SIDE}"));
            };
            if *slot != 0 {
                return refuse("bin", index, "it must be there once");
            }
            if count == 0 {
                return refuse(
                    "count",
                    format!("0 of bin {index}"),
                    "an occupied bin has some",
                );
            }
            *slot = count;
            total = total.saturating_add(count);
            first = Some(first.map_or(index, |first: i32| first.min(index)));
            last = Some(last.map_or(index, |last: i32| last.max(index)));
        }
        if total > MOST {
            return refuse("count", total, "all counts together must not exceed 2^53");
        }
        let range = check_range(range, total)?;
        let expected = range.map_or(MIN_EXPONENT, |(min, max)| exponent_of(min, max));
        if exponent != expected {
            return refuse(
                "exponent",
                exponent,
                format!("minimum and maximum ask for {expected}"),
            );
        }
        if let Some((min, max)) = range {
            let bin_of = |end: f32| (end != 0.0).then(|| index_of(end, exponent));
            // A zero, if there is one, lies between the sides and in no bin.
            let lowest = first.filter(|i| *i < 0 || zeros == 0);
            let highest = last.filter(|i| *i >= 0 || zeros == 0);
            if bin_of(min) != lowest {
                return refuse("minimum", min, "it must lie in the lowest occupied bin");
            }
            if bin_of(max) != highest {
                return refuse("maximum", max, "it must lie in the highest occupied bin");
            }
        }
        Ok(Histogram::assemble(counts, exponent, zeros, range))
    }
}

/// A range that is finite, in order, and there exactly when there are values.
fn check_range(range: Option<(f32, f32)>, total: u64) -> Result<Option<(f32, f32)>, Error> {
    match range {
        None if total > 0 => refuse("minimum", "nothing", format!("{total} values have one")),
        Some(_) if total == 0 => refuse("count", 0, "a minimum and a maximum are of some value"),
        Some((min, max)) if !(min.is_finite() && max.is_finite() && min <= max) => refuse(
            "minimum and maximum",
            format!("{min}, {max}"),
            "they must be finite and in order",
        ),
        // Adding 0 turns -0 into 0, the only zero that a histogram has.
        range => Ok(range.map(|(min, max)| (min + 0.0, max + 0.0))),
    }
}

pub(super) fn refuse<T>(
    part: &'static str,
    found: impl ToString,
    allowed: impl Into<String>,
) -> Result<T, Error> {
    Err(Error::HistogramPart {
        part,
        found: found.to_string(),
        allowed: allowed.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::histogram::of;
    use super::*;

    #[test]
    fn a_histogram_taken_apart_and_put_together_is_the_same() {
        for values in [
            &[][..],
            &[0.0, 0.0],
            &[1e-45],
            &[-3.0, 0.0],
            &[-3.0, -1.0],
            &[0.0, 5.5],
            &[2.0, 5.5],
            &[f32::MIN, f32::MAX, 1.0],
        ] {
            let h = of(values);
            let bins: Vec<(i32, u64)> = h.bins().map(|bin| (bin.index, bin.count)).collect();
            let again = Histogram::from_parts(h.exponent(), h.zeros(), h.range(), bins);
            assert_eq!(again, Ok(h), "{values:?}");
        }
    }

    #[test]
    fn parts_that_no_values_give_are_refused_by_name() {
        let part = |exponent, zeros, range, bins: &[(i32, u64)]| match Histogram::from_parts(
            exponent,
            zeros,
            range,
            bins.iter().copied(),
        ) {
            Err(Error::HistogramPart { part, .. }) => part,
            other => panic!("{other:?}"),
        };
        let unit = Some((-1.0, 1.0));
        let good = [(-2048 - 1, 1), (2048, 1)];
        assert!(Histogram::from_parts(-11, 0, unit, good).is_ok());
        for bin in [4096, -4097, i32::MAX, i32::MIN] {
            assert_eq!(part(-11, 0, unit, &[(bin, 1)]), "bin");
        }
        assert_eq!(part(-11, 0, unit, &[(5, 1), (5, 1)]), "bin");
        assert_eq!(part(-11, 0, unit, &[(5, 0)]), "count");
        assert_eq!(part(-11, u64::MAX, unit, &good), "count");
        assert_eq!(
            part(-11, 0, unit, &[(2048, u64::MAX), (5, u64::MAX)]),
            "count"
        );
        assert_eq!(part(-126, 0, unit, &[]), "count");
        assert_eq!(part(-11, 0, None, &good), "minimum");
        assert_eq!(part(-12, 0, unit, &good), "exponent");
        assert_eq!(part(i32::MIN, 0, unit, &good), "exponent");
        assert_eq!(part(-11, 0, Some((-0.5, 1.0)), &good), "minimum");
        assert_eq!(part(-11, 0, Some((-1.0, 0.5)), &good), "maximum");
        assert_eq!(part(-11, 0, Some((0.0, 1.0)), &[(2048, 1)]), "minimum");
        for range in [(f32::NAN, 1.0), (1.0, -1.0), (0.0, f32::INFINITY)] {
            assert_eq!(part(-11, 0, Some(range), &good), "minimum and maximum");
        }
    }
}
