//! log2 and powers from additions, multiplications and divisions alone. The standard library's call the platform's own, which may
//! differ in the last digit, and a range search that compares sums of them could then choose another range on another machine.

/// log2 of a positive normal `x`, to about 1e-15 relative to max(1, |log2 x|).
#[inline]
pub(crate) fn log2(x: f64) -> f64 {
    // x = m * 2^e with m in [1/sqrt(2), sqrt(2)).
    let offset = x
        .to_bits()
        .wrapping_sub(std::f64::consts::FRAC_1_SQRT_2.to_bits());
    let exponent = (offset as i64) >> 52;
    let m = f64::from_bits(x.to_bits().wrapping_sub((exponent << 52) as u64));
    // ln m = 2 atanh(t) with |t| < 0.1716; the next term of the series is below 1e-17.
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let mut series = 1.0 / 21.0;
    for k in (0..10).rev() {
        series = series * t2 + 1.0 / (2 * k + 1) as f64;
    }
    exponent as f64 + 2.0 * std::f64::consts::LOG2_E * t * series
}

/// The natural logarithm of a positive normal `x`, as good as [`exp`].
pub fn ln(x: f64) -> f64 {
    log2(x) * std::f64::consts::LN_2
}

/// x^p for x at least 0 and p from -16 to 16, to about 1e-6 relative, between 2^-126 and 2^127; branch-free, so that loops vectorize.
#[inline]
pub fn power_f32(x: f32, p: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    // As in `log2` above, with a series that ends where float32 does.
    let x = if x > 1e-30 { x } else { 1e-30 };
    let x = if x < 1e30 { x } else { 1e30 };
    let exponent = (x.to_bits() as i32 - std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let m = f32::from_bits((x.to_bits() as i32 - (exponent << 23)) as u32);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0))));
    let y = p * (exponent as f32 + 2.0 * std::f32::consts::LOG2_E * t * series);
    // 2^y = 2^k e^f: 1.5 * 2^23 rounds y to the integer k and leaves it in the low bits; |f| < 0.347.
    let y = if y > -126.0 { y } else { -126.0 };
    let y = if y < 127.0 { y } else { 127.0 };
    let shifted = y + MAGIC;
    let f = (y - (shifted - MAGIC)) * std::f32::consts::LN_2;
    let series = 1.0
        + f * (1.0
            + f * (0.5
                + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let exponent = shifted.to_bits() as i32 - MAGIC.to_bits() as i32;
    series * f32::from_bits(((127 + exponent) << 23) as u32)
}

/// x^p for x at least 0 and p above 0, to about 1e-14 relative, between 2^-1022 and 2^1023; an x below 2^-1022 counts as 0.
pub(crate) fn power(x: f64, p: f64) -> f64 {
    if x < f64::MIN_POSITIVE {
        return 0.0;
    }
    exp2(p * log2(x))
}

/// e^x, to about 1e-14 relative, between 2^-1022 and 2^1023; a NaN stays one.
pub fn exp(x: f64) -> f64 {
    exp2(x * std::f64::consts::LOG2_E)
}

/// 2^y, as [`exp`].
fn exp2(y: f64) -> f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let y = y.clamp(-1022.0, 1023.0);
    // 1.5 * 2^52 rounds y to the integer k; |f| <= 0.3466, and the next term of the series is below 1e-17.
    let k = (y + MAGIC) - MAGIC;
    let f = (y - k) * std::f64::consts::LN_2;
    let mut series = 1.0;
    for n in (1..=14).rev() {
        series = 1.0 + series * f / f64::from(n);
    }
    series * f64::from_bits(((1023 + k as i64) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_float32_power_is_good_to_a_millionth() {
        for k in 1..4000 {
            let x = k as f32 / 1000.0;
            for p in [0.5, 1.5, 2.4, 3.0, 4.7, -1.3] {
                let expected = f64::from(x).powf(f64::from(p));
                assert!(
                    (f64::from(power_f32(x, p)) / expected - 1.0).abs() < 2e-6,
                    "{x}^{p}"
                );
            }
        }
        assert!(power_f32(0.0, 2.4) < 1e-37);
        assert!(power_f32(f32::INFINITY, 16.0) > 1e38);
    }

    #[test]
    fn the_float64_power_is_good_to_fourteen_digits() {
        for k in 1..4000 {
            let x = f64::from(k) / 100.0;
            for p in [0.5_f64, 2.0, 3.4, 17.0] {
                let found = power(x, p);
                assert!((found / x.powf(p) - 1.0).abs() < 2e-14, "{x}^{p}: {found}");
            }
        }
        assert_eq!(
            (power(0.0, 2.4), power(1.0, 3.3), power(2.0, 5.0)),
            (0.0, 1.0, 32.0)
        );
        assert!(power(f64::MAX, 17.0).is_finite());
    }

    #[test]
    fn the_exponential_agrees_with_the_standard_library() {
        for k in -7000..7000 {
            let x = f64::from(k) / 10.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-13, "{x}");
        }
        for k in 1..4000 {
            let x = f64::from(k) / 100.0;
            assert!((ln(x) - x.ln()).abs() < 1e-14, "{x}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f64::NAN).is_nan() && exp(1e9).is_finite());
    }

    #[test]
    fn log2_agrees_with_the_standard_library() {
        for k in -4000..4000 {
            let x = 1.013_f64.powi(k);
            assert!(
                (log2(x) - x.log2()).abs() <= 4e-15 * x.log2().abs().max(1.0),
                "{x}"
            );
        }
        assert_eq!((log2(1.0), log2(8.0)), (0.0, 3.0));
    }
}
