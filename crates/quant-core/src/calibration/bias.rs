//! Biases of integer arithmetic: int32 codes in the scale of the sums they are added to (Jacob et al. 2018, equation 11).
//!
//! ```text
//! q = clamp(round(b / (s_w * s_x)), -2^30, 2^30)      half to even, in float64; zero point 0
//! ```
//!
//! |b - q s| is at most s / 2 where nothing was clamped. Half of what 32 bits hold is left to the products, which 255 * 127 * 33,000
//! weights do not fill. A quotient past its half occurs with tiny scales (a channel whose weights are nearly zero); it is
//! clamped and reported, never wrapped.

/// The largest code of a bias, in magnitude.
pub const LARGEST_BIAS: i32 = 1 << 30;

/// The int32 codes of a bias.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BiasCodes {
    /// One for each bias.
    pub codes: Vec<i32>,
    /// Where the code is not the rounded quotient: past [`LARGEST_BIAS`] (the code is the nearer end) or not a number (the
    /// code is 0).
    pub overflowed: Vec<usize>,
}

/// The codes of `bias` for sums of scale `sum_scale` = s_w * s_x, one for each output channel or one for all. A channel without a
/// scale of its own when there are several is reported as overflowed, as one with scale 0 or NaN is.
pub fn bias_codes(bias: &[f32], sum_scale: &[f64]) -> BiasCodes {
    let mut out = BiasCodes::default();
    for (channel, &b) in bias.iter().enumerate() {
        let scale = match sum_scale {
            [one] => *one,
            many => many.get(channel).copied().unwrap_or(f64::NAN),
        };
        let quotient = (f64::from(b) / scale).round_ties_even();
        // The cast saturates and turns NaN into 0.
        out.codes
            .push((quotient as i32).clamp(-LARGEST_BIAS, LARGEST_BIAS));
        if quotient.is_nan() || quotient.abs() > f64::from(LARGEST_BIAS) {
            out.overflowed.push(channel);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_even_code() {
        let codes = bias_codes(&[0.5, 1.5, 2.5, -0.5, -1.5, 1.2, 0.0, -0.0], &[1.0]).codes;
        assert_eq!(codes, [0, 2, 2, 0, -2, 1, 0, 0]);
    }

    #[test]
    fn each_channel_has_its_own_scale() {
        let out = bias_codes(&[1.0, 1.0, -3.0], &[1e-3, 0.25, 3e-9]);
        assert_eq!(out.codes, [1000, 4, -1_000_000_000]);
        assert!(out.overflowed.is_empty());
    }

    #[test]
    fn past_its_half_of_32_bits_the_code_is_an_end_and_is_reported() {
        let top = f64::from(LARGEST_BIAS);
        let bias = [1.0, -1.0, 1.0, -1.0, 1.0, 1.0];
        let scale = [
            1.0 / top,
            1.0 / top,
            1.0 / (top + 1.0),
            1e-300,
            0.0,
            f64::NAN,
        ];
        let out = bias_codes(&bias, &scale);
        assert_eq!(
            out.codes,
            [1, -1, 1, -1, 1, 0].map(|sign| sign * LARGEST_BIAS)
        );
        assert_eq!(out.overflowed, [2, 3, 4, 5]);
        assert_eq!(bias_codes(&[1.0; 3], &[1.0, 1.0]).overflowed, [2]);
    }
}
