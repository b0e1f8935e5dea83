//! How far a count may be trusted, and whether two counts on the same images differ.
//!
//! Wilson's score interval for k of n, p = k/n, z the 97.5 % point of the normal distribution (Wilson 1927):
//!
//! ```text
//! (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)                        (1)
//! ```
//!
//! McNemar's exact test: of the b + c images that exactly one of two networks gets right, b would be binomial with
//! probability 1/2 if the networks were equally good (McNemar 1947), so that
//!
//! ```text
//! p = min(1, 2 sum_{i <= min(b,c)} C(b+c, i) / 2^(b+c))                            (2)
//! ```
//!
//! Both use only the four operations and the square root, which IEEE 754 rounds the same on every machine; logarithms
//! are not, and tables must come out the same everywhere. The sum in (2) is therefore built from the ratios of its terms
//! with the power of two kept apart.

/// 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959963984540054;

/// The 95 % interval of a proportion `k / n`, equation (1), within 0..=1. `n = 0` gives the whole 0..=1.
pub fn wilson(k: u64, n: u64) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let (k_f, n_f) = (k.min(n) as f64, n as f64);
    let p = k_f / n_f;
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n_f);
    let half = Z * (p * (1.0 - p) / n_f + z2 / (4.0 * n_f * n_f)).sqrt();
    let scale = 1.0 + z2 / n_f;
    // At the ends the exact value is 0 or 1; the subtraction leaves a rounding error.
    let low = if k == 0 {
        0.0
    } else {
        ((centre - half) / scale).max(0.0)
    };
    let high = if k >= n {
        1.0
    } else {
        ((centre + half) / scale).min(1.0)
    };
    (low, high)
}

/// McNemar's exact two-sided p, equation (2), for `b` and `c` discordant images. Smaller than the smallest f64: 0.
pub fn mcnemar(b: u64, c: u64) -> f64 {
    let big = 2f64.powi(512);
    let (n, k) = (b + c, b.min(c));
    let (mut sum, mut term) = (0.0f64, 1.0f64);
    // The value is sum * 2^exponent.
    let mut exponent = 1 - n as i64;
    for i in 0..=k {
        sum += term;
        term *= (n - i) as f64 / (i + 1) as f64;
        if sum > big {
            (sum, term, exponent) = (sum / big, term / big, exponent + 512);
        }
    }
    while exponent < 0 && sum > 0.0 {
        let step = (-exponent).min(512);
        sum /= 2f64.powi(step as i32);
        exponent += step;
    }
    // Positive only without a discordant image, where the sum is one term: 2 * 1.
    (sum * 2f64.powi(exponent as i32)).min(1.0)
}

/// A p as tables show it: three decimals, below 0.001 one digit after the point and an exponent.
pub(crate) fn p_text(p: f64) -> String {
    match p {
        p if p >= 0.9995 => "1".into(),
        p if p >= 0.001 => format!("{p:.3}"),
        p if p >= 1e-300 => format!("{p:.1e}"),
        _ => "<1e-300".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_statsmodels() {
        // statsmodels.stats.proportion.proportion_confint(k, n, 0.05, "wilson")
        for (k, n, low, high) in [
            (9173, 10000, 0.911740121686, 0.922539393274),
            (1000, 10000, 0.094272830171, 0.106034368526),
            (0, 10, 0.0, 0.277532799863),
            (10, 10, 0.722467200137, 1.0),
            (94, 134, 0.619279207367, 0.772475207176),
            (1, 1, 0.206549314377, 1.0),
            (25000, 50000, 0.495617555644, 0.504382444356),
        ] {
            let (l, h) = wilson(k, n);
            assert!(
                (l - low).abs() < 1e-12 && (h - high).abs() < 1e-12,
                "{k}/{n}: {l} {h}"
            );
        }
        assert_eq!(wilson(0, 0), (0.0, 1.0));
    }

    #[test]
    fn the_test_is_that_of_scipy() {
        // scipy.stats.binomtest(min(b, c), b + c, 0.5).pvalue
        for (b, c, p) in [
            (1, 0, 1.0),
            (5, 5, 1.0),
            (10, 3, 0.09228515625),
            (40, 61, 0.046044066929342785),
            (123, 456, 6.1990917057476645e-46),
            (500, 500, 1.0),
            (0, 20, 1.9073486328125e-06),
        ] {
            let ours = mcnemar(b, c);
            assert!(
                (ours / p - 1.0).abs() < 1e-10,
                "{b} {c}: {ours} and not {p}"
            );
            assert_eq!(ours, mcnemar(c, b));
        }
        assert_eq!(mcnemar(0, 0), 1.0);
    }

    #[test]
    fn small_sums_are_exact_and_large_ones_do_not_overflow() {
        // 2 (1 + 5) / 2^5, and 2 / 2^1001, which is a normal f64.
        assert_eq!(mcnemar(1, 4), 0.375);
        assert_eq!(mcnemar(0, 1001), 2f64.powi(-1000));
        for (b, c) in [(0, 2000), (8200, 30), (25000, 3000), (45000, 10)] {
            assert_eq!(mcnemar(b, c), 0.0);
        }
        let even = mcnemar(25000, 25001);
        assert!((even - 1.0).abs() < 1e-9, "{even}");
        let lopsided = mcnemar(24500, 25500);
        // Normal approximation with continuity correction: 2 Phi(-999 / sqrt(50000)) = 7.9e-6.
        assert!((lopsided / 7.9e-6 - 1.0).abs() < 0.02, "{lopsided}");
    }

    #[test]
    fn a_p_is_printed_with_few_digits() {
        let texts = [1.0, 0.99951, 0.5, 0.0123, 0.00099, 6.199e-46, 1e-301, 0.0].map(p_text);
        assert_eq!(
            texts,
            [
                "1", "1", "0.500", "0.012", "9.9e-4", "6.2e-46", "<1e-300", "<1e-300"
            ]
        );
    }
}
