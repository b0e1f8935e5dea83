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

/// 2^x for |x| below 1000, to about 1e-15.
#[inline]
pub(crate) fn exp2(x: f64) -> f64 {
    // 1.5 * 2^52: rounds to an integer and leaves it in the low bits.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let shifted = x + MAGIC;
    let f = (x - (shifted - MAGIC)) * std::f64::consts::LN_2;
    let exponent = (shifted.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
    // e^f with |f| < 0.347.
    let mut series = 1.0;
    for k in (1..=14).rev() {
        series = 1.0 + series * f / k as f64;
    }
    series * f64::from_bits(((1023 + exponent) << 52) as u64)
}

/// x^p for x at least 0 and p above 0, where the result is a normal number.
#[inline]
pub(crate) fn power(x: f64, p: f64) -> f64 {
    if x == 0.0 {
        0.0
    } else {
        exp2((p * log2(x)).max(-990.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_the_standard_library() {
        for k in -4000..4000 {
            let x = 1.013_f64.powi(k);
            assert!(
                (log2(x) - x.log2()).abs() <= 4e-15 * x.log2().abs().max(1.0),
                "{x}"
            );
            let e = f64::from(k) / 41.7;
            assert!((exp2(e) / e.exp2() - 1.0).abs() < 4e-15, "{e}");
        }
        assert_eq!(
            (log2(1.0), log2(8.0), exp2(0.0), exp2(-3.0)),
            (0.0, 3.0, 1.0, 0.125)
        );
        assert!((power(0.3, 2.4) / 0.3_f64.powf(2.4) - 1.0).abs() < 1e-14);
        assert_eq!(power(0.0, 0.5), 0.0);
    }
}
