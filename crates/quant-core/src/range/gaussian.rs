//! The step of the uniform quantizer that loses least on a Gaussian or a Laplacian of the group's deviation.
//!
//! For a density f of unit variance and levels y_i = c_i * D with thresholds half way between, the mean squared error
//! sum_i int_cell_i (x - y_i)^2 f(x) dx is least where sum_i c_i int_cell_i (x - y_i) f(x) dx = 0 (the thresholds drop out, their two
//! neighbours being equally far). The tables hold the root D for 1 to 16 bits, found by bisection with Gauss-Legendre quadrature
//! inside the cells and the closed tail outside; a test integrates the error and finds no better step.
//! The levels depend on the codes, hence three tables a density:
//!
//! | codes | c_i |
//! |---|---|
//! | affine | odd multiples of 1/2, 2^b of them (mid-rise); the classic table of Max (1960), with zero_point rounded afterwards |
//! | narrow | -(2^(b-1) - 1) ..= 2^(b-1) - 1 |
//! | full | -2^(b-1) ..= 2^(b-1) - 1 |
//!
//! The deviation: Gaussian, the root mean square; Laplacian, sqrt(2) times the mean magnitude (its maximum likelihood estimate); about
//! the mean for an affine range, about 0 for a signed one. Affine: [lo, hi] = mean -+ D * deviation * (2^b - 1) / 2; symmetric: scale =
//! D * deviation. A range never reaches past the values of the group.

use std::f64::consts::SQRT_2;

use crate::{Bits, CodeRange, Scheme};

/// The shape that the values are taken to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Density {
    Gaussian,
    Laplacian,
}

/// The range of an affine group.
pub(crate) fn affine(group: &[f32], density: Density, bits: Bits) -> (f32, f32) {
    let mean = mean_of(group, |x| x);
    let reach = step(density, Levels::MidRise, bits)
        * deviation(group, density, mean)
        * f64::from(bits.steps())
        / 2.0;
    ((mean - reach) as f32, (mean + reach) as f32)
}

/// The scale of a signed group.
pub(crate) fn signed(group: &[f32], density: Density, scheme: &Scheme) -> f32 {
    let levels = match scheme.codes() {
        CodeRange::Narrow => Levels::Narrow,
        CodeRange::Full => Levels::Full,
    };
    (step(density, levels, scheme.bits()) * deviation(group, density, 0.0)) as f32
}

/// Where the levels lie, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Levels {
    MidRise,
    Narrow,
    Full,
}

/// The optimal step for unit variance.
fn step(density: Density, levels: Levels, bits: Bits) -> f64 {
    let table = match (density, levels) {
        (Density::Gaussian, Levels::MidRise) => &GAUSSIAN_MID_RISE,
        (Density::Gaussian, Levels::Narrow) => &GAUSSIAN_NARROW,
        (Density::Gaussian, Levels::Full) => &GAUSSIAN_FULL,
        (Density::Laplacian, Levels::MidRise) => &LAPLACIAN_MID_RISE,
        (Density::Laplacian, Levels::Narrow) => &LAPLACIAN_NARROW,
        (Density::Laplacian, Levels::Full) => &LAPLACIAN_FULL,
    };
    table[bits.get() as usize - 1]
}

fn deviation(group: &[f32], density: Density, center: f64) -> f64 {
    match density {
        Density::Gaussian => mean_of(group, |x| (x - center) * (x - center)).sqrt(),
        Density::Laplacian => mean_of(group, |x| (x - center).abs()) * SQRT_2,
    }
}

/// The mean of a function of the values: eight interleaved sums, added in order.
fn mean_of(group: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0_f64; 8];
    let (eights, rest) = group.as_chunks::<8>();
    for eight in eights {
        for lane in 0..8 {
            sums[lane] += f(f64::from(eight[lane]));
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f(f64::from(x));
    }
    sums.iter().sum::<f64>() / group.len().max(1) as f64
}

#[rustfmt::skip]
const GAUSSIAN_MID_RISE: [f64; 16] = [
    1.595_769_122, 0.995_686_686_1, 0.586_019_441_6, 0.335_200_612_2,
    0.188_138_790_3, 0.104_063_009_5, 0.056_867_672_37, 0.030_762_387_58,
    0.016_498_958_77, 0.008_785_464_579, 0.004_649_841_839, 0.002_448_411_083,
    0.001_283_620_739, 0.000_670_451_793, 0.000_349_059_385_9, 0.000_181_223_569_8,
];

// Narrow codes do not exist at 1 bit.
#[rustfmt::skip]
const GAUSSIAN_NARROW: [f64; 16] = [
    0.0, 1.224_006_362, 0.650_769_703_8, 0.353_411_315_6,
    0.193_248_524_4, 0.105_487_586_1, 0.057_261_280_71, 0.030_870_086_05,
    0.016_528_152_83, 0.008_793_311_937, 0.004_651_935_788, 0.002_448_966_319,
    0.001_283_767_178, 0.000_670_490_238_7, 0.000_349_069_439_7, 0.000_181_226_190_1,
];

#[rustfmt::skip]
const GAUSSIAN_FULL: [f64; 16] = [
    1.224_006_362, 1.048_385_262, 0.601_824_226_7, 0.338_607_935_6,
    0.188_792_223, 0.104_179_447, 0.056_887_344_58, 0.030_765_578_53,
    0.016_499_460_02, 0.008_785_541_314, 0.004_649_853_337, 0.002_448_412_778,
    0.001_283_620_985, 0.000_670_451_828_2, 0.000_349_059_391_1, 0.000_181_223_570_5,
];

#[rustfmt::skip]
const LAPLACIAN_MID_RISE: [f64; 16] = [
    SQRT_2, 1.087_392_689, 0.730_933_182_7, 0.460_995_364_3,
    0.279_988_547_4, 0.165_680_725, 0.096_098_920_69, 0.054_844_338_29,
    0.030_882_770_81, 0.017_195_519_44, 0.009_483_906_186, 0.005_188_558_482,
    0.002_818_991_809, 0.001_522_429_658, 0.000_817_923_787_7, 0.000_437_419_859,
];

// Narrow codes do not exist at 1 bit.
#[rustfmt::skip]
const LAPLACIAN_NARROW: [f64; 16] = [
    0.0, SQRT_2, 0.821_752_559_6, 0.486_884_963_3,
    0.287_464_238_7, 0.167_848_639_9, 0.096_725_864_65, 0.055_024_332_1,
    0.030_933_962_27, 0.017_209_934_28, 0.009_487_926_382, 0.005_189_669_817,
    0.002_819_296_6, 0.001_522_512_665, 0.000_817_946_254_7, 0.000_437_425_907,
];

#[rustfmt::skip]
const LAPLACIAN_FULL: [f64; 16] = [
    SQRT_2, 1.214_126_47, 0.762_452_471_2, 0.467_646_970_9,
    0.281_276_281_5, 0.165_915_254_1, 0.096_139_654_02, 0.054_851_146_67,
    0.030_883_873_47, 0.017_195_693_4, 0.009_483_933_04, 0.005_188_562_548,
    0.002_818_992_414, 0.001_522_429_747, 0.000_817_923_800_8, 0.000_437_419_860_9,
];

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Density; 2] = [Density::Gaussian, Density::Laplacian];

    /// Bits, then step and SQNR in dB of the mid-rise quantizer: Gaussian, Laplacian (published figures, four digits).
    #[allow(clippy::approx_constant)] // figures of a table, not the constants they happen to round
    const ANCHORS: [(u32, [(f64, f64); 2]); 8] = [
        (1, [(1.5958, 4.40), (1.4142, 3.01)]),
        (2, [(0.9957, 9.25), (1.0874, 7.07)]),
        (3, [(0.5860, 14.27), (0.7309, 11.44)]),
        (4, [(0.3352, 19.38), (0.4610, 15.96)]),
        (5, [(0.1881, 24.57), (0.2800, 20.60)]),
        (6, [(0.1041, 29.83), (0.1657, 25.36)]),
        (7, [(0.0569, 35.17), (0.0961, 30.23)]),
        (8, [(0.0308, 40.57), (0.0548, 35.21)]),
    ];

    fn pdf(density: Density, x: f64) -> f64 {
        match density {
            Density::Gaussian => (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt(),
            Density::Laplacian => (-SQRT_2 * x.abs()).exp() / SQRT_2,
        }
    }

    /// The mean squared error of levels `low..=high` (in steps) for unit variance, by Simpson's rule in pieces of a quarter step.
    fn distortion(density: Density, low: f64, high: f64, step: f64) -> f64 {
        let error = |x: f64| {
            let level = low + ((x / step - low).round()).clamp(0.0, high - low);
            (x - level * step).powi(2) * pdf(density, x)
        };
        let reach = 30.0_f64;
        // Pieces end on thresholds and levels, where the error has its kinks and its zeros.
        let piece = step / 4.0;
        let (from, to) = (
            (low * step - piece * 2.0).max(-reach),
            (high * step + piece * 2.0).min(reach),
        );
        let integrate = |from: f64, to: f64, n: usize| {
            let h = (to - from) / n as f64;
            (0..n)
                .map(|i| {
                    let a = from + i as f64 * h;
                    // A hair inside, so that a threshold belongs to the cell of its piece.
                    let e = h * 1e-9;
                    (error(a + e) + 4.0 * error(a + h / 2.0) + error(a + h - e)) * h / 6.0
                })
                .sum::<f64>()
        };
        let inside = ((to - from) / piece).round() as usize;
        integrate(-reach, from, 20_000) + integrate(from, to, inside) + integrate(to, reach, 20_000)
    }

    fn ends(levels: Levels, bits: u32) -> (f64, f64) {
        let half = 2f64.powi(bits as i32 - 1);
        match levels {
            Levels::MidRise => (0.5 - half, half - 0.5),
            Levels::Narrow => (1.0 - half, half - 1.0),
            Levels::Full => (-half, half - 1.0),
        }
    }

    #[test]
    fn mid_rise_steps_and_their_sqnr_are_the_published_ones() {
        for (bits, rows) in ANCHORS {
            for (density, (published, sqnr)) in BOTH.into_iter().zip(rows) {
                let step = step(density, Levels::MidRise, Bits::new(bits).unwrap());
                assert!(
                    (step - published).abs() <= 5.001e-5,
                    "{density:?} {bits}: {step}"
                );
                let (low, high) = ends(Levels::MidRise, bits);
                let found = -10.0 * distortion(density, low, high, step).log10();
                assert!(
                    (found - sqnr).abs() <= 0.0051,
                    "{density:?} {bits}: {found} dB"
                );
            }
        }
    }

    #[test]
    fn no_step_nearby_loses_less() {
        for density in BOTH {
            for levels in [Levels::MidRise, Levels::Narrow, Levels::Full] {
                for bits in Bits::all().skip(usize::from(levels == Levels::Narrow)) {
                    let best = step(density, levels, bits);
                    let (low, high) = ends(levels, bits.get());
                    let at = |factor: f64| distortion(density, low, high, best * factor);
                    let here = at(1.0);
                    assert!(
                        here < at(0.98) && here < at(1.02),
                        "{density:?} {levels:?} {bits}"
                    );
                }
            }
        }
    }

    #[test]
    fn deviations_are_those_of_the_density() {
        let x = [1.0, 3.0, -1.0, -3.0, 5.0, 1.0, 1.0, 1.0, 1.0];
        let mean = mean_of(&x, |x| x);
        assert_eq!(mean, 1.0);
        assert_eq!(
            deviation(&x, Density::Gaussian, mean),
            (40.0_f64 / 9.0).sqrt()
        );
        assert_eq!(deviation(&x, Density::Laplacian, mean), 12.0 / 9.0 * SQRT_2);
    }
}
