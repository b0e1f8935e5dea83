//! Everything that is kept of the values seen at one site: their [`Histogram`], and minimum and maximum of each calibration batch.
//!
//! A moving average runs over batches in order, so the ranges of the batches are kept apart, under the batch's index. Two parts of one
//! batch (threads that share it, or two sites that share a scale) unite to min of mins and max of maxes. Memory: 64 KiB a site, and a
//! few words a batch.

use std::collections::BTreeMap;

use super::histogram::Histogram;
use super::parts::refuse;
use super::survey::survey;
use crate::Error;

/// What was seen at a site.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    histogram: Histogram,
    batches: BTreeMap<u64, (f32, f32)>,
}

impl Statistics {
    /// Statistics of nothing.
    pub fn new() -> Statistics {
        Statistics::default()
    }

    /// Takes in `values`, the whole of batch `batch` or a part of it. `site` is for the error alone.
    ///
    /// # Errors
    /// [`Error::SiteNotFinite`] for a NaN or an infinity; the statistics are then as they were.
    pub fn add(&mut self, site: &str, batch: u64, values: &[f32]) -> Result<(), Error> {
        let seen = survey(values).map_err(|found| Error::SiteNotFinite {
            site: site.to_owned(),
            value: found.first,
            count: found.count,
            of: values.len(),
        })?;
        self.histogram.add(values, &seen);
        if let Some(range) = seen.range {
            self.unite(batch, range);
        }
        Ok(())
    }

    /// Takes in other statistics: of the same site from another thread or shard, or of another site that shares this one's scale.
    pub fn merge(&mut self, other: &Statistics) {
        self.histogram.merge(&other.histogram);
        for (&batch, &range) in &other.batches {
            self.unite(batch, range);
        }
    }

    /// Of a histogram and the `(batch, (min, max))` of its batches, in any order.
    ///
    /// # Errors
    /// [`Error::HistogramPart`] for a batch that is there twice or whose range is none, or when the batches together do not span the
    /// histogram's range.
    pub fn from_parts(
        histogram: Histogram,
        batches: impl IntoIterator<Item = (u64, (f32, f32))>,
    ) -> Result<Statistics, Error> {
        let mut all = BTreeMap::new();
        let mut span: Option<(f32, f32)> = None;
        for (batch, (min, max)) in batches {
            if !(min.is_finite() && max.is_finite() && min <= max) {
                return refuse(
                    "batch",
                    format!("{batch} from {min} to {max}"),
                    "its minimum and maximum must be finite and in order",
                );
            }
            let (min, max) = (min + 0.0, max + 0.0);
            if all.insert(batch, (min, max)).is_some() {
                return refuse("batch", batch, "it must be there once");
            }
            span = Some(span.map_or((min, max), |(lo, hi)| (lo.min(min), hi.max(max))));
        }
        if span != histogram.range() {
            let allowed = match histogram.range() {
                Some((min, max)) => format!("they must span {min} to {max}"),
                None => "there are no values".to_owned(),
            };
            let found = span.map_or("none".to_owned(), |(lo, hi)| format!("{lo} to {hi}"));
            return refuse("range of all batches", found, allowed);
        }
        Ok(Statistics {
            histogram,
            batches: all,
        })
    }

    /// The counts.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The exact `(min, max)` of all values; none of nothing.
    pub fn range(&self) -> Option<(f32, f32)> {
        self.histogram.range()
    }

    /// Whether there were values and every one of them was 0, as behind a branch that adds nothing.
    pub fn is_dead(&self) -> bool {
        self.range() == Some((0.0, 0.0))
    }

    /// `(batch, (min, max))` in the order of the batches.
    pub fn batches(&self) -> impl ExactSizeIterator<Item = (u64, (f32, f32))> {
        self.batches.iter().map(|(&batch, &range)| (batch, range))
    }

    /// The moving average of minimum and maximum over the batches in order, in float64; the first batch starts it:
    /// lo <- momentum * lo + (1 - momentum) * batch_lo. (0, 0) of nothing.
    pub(super) fn moving_average(&self, momentum: f64) -> (f32, f32) {
        let mut average: Option<(f64, f64)> = None;
        for (lo, hi) in self.batches.values() {
            let (lo, hi) = (f64::from(*lo), f64::from(*hi));
            let blend = |old: f64, new: f64| momentum * old + (1.0 - momentum) * new;
            average = Some(match average {
                None => (lo, hi),
                Some((old_lo, old_hi)) => (blend(old_lo, lo), blend(old_hi, hi)),
            });
        }
        let (lo, hi) = average.unwrap_or((0.0, 0.0));
        (lo as f32, hi as f32)
    }

    fn unite(&mut self, batch: u64, (min, max): (f32, f32)) {
        self.batches
            .entry(batch)
            .and_modify(|(lo, hi)| (*lo, *hi) = (lo.min(min), hi.max(max)))
            .or_insert((min, max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_and_infinity_name_the_site_and_change_nothing() {
        let mut statistics = Statistics::new();
        statistics.add("layer1.0", 0, &[1.0, 2.0]).unwrap();
        let before = statistics.clone();
        let error = statistics
            .add("layer1.0", 1, &[1.0, f32::INFINITY, 2.0, f32::NAN])
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "site \"layer1.0\": 2 of 4 values are not finite, the first is inf; only finite values can be calibrated on"
        );
        assert_eq!(statistics, before);
    }

    #[test]
    fn the_moving_average_is_the_formula_in_batch_order() {
        let mut statistics = Statistics::new();
        for (batch, values) in [(7, [-8.0, 1.0]), (0, [-1.0, 2.0]), (3, [0.0, 6.0])] {
            statistics.add("site", batch, &values).unwrap();
        }
        // Batches 0, 3, 7: -1 -> 0.5 * -1 + 0.5 * 0 = -0.5 -> -4.25; 2 -> 4 -> 2.5.
        assert_eq!(statistics.moving_average(0.5), (-4.25, 2.5));
        assert_eq!(statistics.moving_average(0.0), (-8.0, 1.0));
        let nine_tenths: f64 = 0.9 * -0.9 + (1.0 - 0.9) * -8.0;
        assert_eq!(statistics.moving_average(0.9).0, nine_tenths as f32);
        assert_eq!(Statistics::new().moving_average(0.9), (0.0, 0.0));
    }

    #[test]
    fn parts_of_one_batch_unite() {
        let mut whole = Statistics::new();
        whole.add("site", 4, &[3.0, -1.0, 0.0, 9.0]).unwrap();
        let mut one = Statistics::new();
        one.add("site", 4, &[3.0, -1.0]).unwrap();
        let mut two = Statistics::new();
        two.add("site", 4, &[0.0, 9.0]).unwrap();
        two.merge(&one);
        assert_eq!(two, whole);
        assert_eq!(two.batches().collect::<Vec<_>>(), [(4, (-1.0, 9.0))]);
    }

    #[test]
    fn batches_that_do_not_belong_to_the_histogram_are_refused() {
        let mut statistics = Statistics::new();
        statistics.add("site", 0, &[-1.0, 0.5]).unwrap();
        statistics.add("site", 1, &[2.0]).unwrap();
        let of = |batches: &[(u64, (f32, f32))]| {
            Statistics::from_parts(statistics.histogram().clone(), batches.iter().copied())
        };
        let good = [(1, (2.0, 2.0)), (0, (-1.0, 0.5))];
        assert_eq!(of(&good), Ok(statistics.clone()));
        for bad in [
            &[][..],
            &good[..1],
            &[good[0], good[0], good[1]],
            &[(0, (-1.0, 3.0))],
            &[(0, (f32::NAN, 2.0))],
            &[(0, (2.0, -1.0))],
        ] {
            assert!(
                matches!(of(bad), Err(Error::HistogramPart { .. })),
                "{bad:?}"
            );
        }
        assert!(Statistics::from_parts(Histogram::new(), []).is_ok());
        assert!(Statistics::from_parts(Histogram::new(), good).is_err());
    }
}
