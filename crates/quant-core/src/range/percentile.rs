//! Percentiles of a group. The pth percentile of n sorted values lies at rank (n - 1) * p / 100, counted from 0; between two ranks
//! it is interpolated linearly (numpy's default, Hyndman and Fan's definition 7), in float64, then rounded to float32.
//!
//! `percentile` is two-sided for an affine range, which cuts (100 - p) % off *each* end, and one-sided on |x| for a signed range,
//! which cuts (100 - p) % off in all.

/// `(P_(100-p), P_p)` of the values.
pub(crate) fn two_sided(group: &[f32], percent: f64) -> (f32, f32) {
    let mut values = group.to_vec();
    (
        percentile(&mut values, 100.0 - percent),
        percentile(&mut values, percent),
    )
}

/// `P_p` of the magnitudes.
pub(crate) fn of_magnitude(group: &[f32], percent: f64) -> f32 {
    let mut magnitudes: Vec<f32> = group.iter().map(|x| x.abs()).collect();
    percentile(&mut magnitudes, percent)
}

/// The percentile; puts `values` into another order. Selection, not sorting: linear time. 0 of an empty slice.
fn percentile(values: &mut [f32], percent: f64) -> f32 {
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let rank = last as f64 * percent / 100.0;
    let below = (rank.floor() as usize).min(last);
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f32::total_cmp);
    let high = above.iter().copied().min_by(f32::total_cmp).unwrap_or(low);
    let fraction = rank - below as f64;
    (f64::from(low) + fraction * (f64::from(high) - f64::from(low))) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_ranks_the_percentile_is_interpolated() {
        let v = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (percent, expected) in [
            (0.0, 1.0),
            (25.0, 2.0),
            (50.0, 3.0),
            (60.0, 3.4),
            (97.5, 4.9),
            (100.0, 5.0),
        ] {
            assert!(
                (percentile(&mut v.to_vec(), percent) - expected).abs() < 1e-6,
                "{percent}"
            );
        }
        assert_eq!(percentile(&mut [7.0], 99.0), 7.0);
    }

    #[test]
    fn an_affine_range_loses_both_tails_and_a_signed_one_its_largest_magnitudes() {
        let v: Vec<f32> = (-100..=100).map(|k| k as f32).collect();
        assert_eq!(two_sided(&v, 95.0), (-90.0, 90.0));
        assert_eq!(of_magnitude(&v, 95.0), 95.0);
        assert_eq!(two_sided(&v, 100.0), (-100.0, 100.0));
    }
}
