//! Calibration: statistics depend on the values alone, and what is estimated from a histogram is what the values would have given.

use proptest::prelude::*;
use quant_core::{
    ActivationRange, ActivationScheme, Bits, CodeRange, Granularity, Histogram, Mapping, QParams,
    RangeMethod, Reason, Rounding, Scheme, Statistics, Values, compare, fit_activation, parameters,
    shrunk_activation, uniform,
};

fn of(batches: &[(u64, &[f32])]) -> Statistics {
    let mut statistics = Statistics::new();
    for (batch, values) in batches {
        statistics.add("site", *batch, values).unwrap();
    }
    statistics
}

fn scheme(bits: u32, mapping: Mapping, range: ActivationRange) -> ActivationScheme {
    let bits = Bits::new(bits).unwrap();
    // Narrow codes do not exist at 1 bit.
    let codes = if bits == Bits::MIN {
        CodeRange::Full
    } else {
        CodeRange::Narrow
    };
    ActivationScheme::new(bits, mapping, codes, range, Rounding::HalfEven).unwrap()
}

/// The parameters that the same choices give to the values themselves, as if they were weights.
fn of_values(x: &[f32], scheme: &ActivationScheme) -> QParams {
    let range = RangeMethod::named(scheme.range().name(), scheme.range().parameter()).unwrap();
    let scheme = Scheme::new(
        scheme.bits(),
        scheme.mapping(),
        scheme.codes(),
        Granularity::Tensor,
        range,
        scheme.rounding(),
    )
    .unwrap();
    parameters(&Values::new("x", x, &[x.len()]).unwrap(), &scheme)[0]
}

fn squared_error(x: &[f32], q: &QParams) -> f64 {
    let y: Vec<f32> = x
        .iter()
        .map(|&x| q.fake_quant(x, Rounding::HalfEven, 0))
        .collect();
    compare(x, &y).mse
}

const N: u64 = 100_000;

fn exponential(i: u64) -> f64 {
    -(1.0 - f64::from(uniform(11, i))).ln()
}

/// Box and Muller's transform of two uniform draws.
fn gaussian() -> Vec<f32> {
    (0..N)
        .map(|i| {
            let angle = std::f64::consts::TAU * f64::from(uniform(12, i));
            ((2.0 * exponential(i)).sqrt() * angle.cos()) as f32
        })
        .collect()
}

fn relu(x: &[f32]) -> Vec<f32> {
    x.iter().map(|x| x.max(0.0)).collect()
}

/// Unit variance.
fn laplacian() -> Vec<f32> {
    (0..N)
        .map(|i| (exponential(2 * i) - exponential(2 * i + 1)) / std::f64::consts::SQRT_2)
        .map(|x| x as f32)
        .collect()
}

fn samples() -> [(&'static str, Vec<f32>); 3] {
    [
        ("Gaussian", gaussian()),
        ("half Gaussian", relu(&gaussian())),
        ("Laplacian", laplacian()),
    ]
}

/// Anything finite, with numbers of very different size next to each other.
fn values() -> impl Strategy<Value = Vec<f32>> {
    let bits = any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |v| v.is_finite());
    let one = prop_oneof![
        6 => -3.0_f32..3.0,
        2 => bits,
        2 => Just(0.0),
        1 => Just(-0.0),
        1 => Just(f32::MAX),
        1 => Just(-1e-45),
        1 => (-160_i32..128, any::<bool>()).prop_map(|(e, negative)| {
            2f32.powi(e.max(-149)) * if negative { -1.0 } else { 1.0 }
        }),
    ];
    prop::collection::vec(one, 0..60)
}

fn activation_range() -> impl Strategy<Value = ActivationRange> {
    prop_oneof![
        Just(ActivationRange::MinMax),
        (0.0_f64..1.0).prop_map(|momentum| ActivationRange::MovingAverage { momentum }),
        (50.1_f64..=100.0).prop_map(ActivationRange::Percentile),
        prop_oneof![Just(1.0), Just(2.0), 0.5_f64..5.0]
            .prop_map(|exponent| ActivationRange::Mse { exponent }),
        Just(ActivationRange::Entropy),
        Just(ActivationRange::OutputMse),
    ]
}

/// Takes statistics apart and puts them together again, as a saved table does.
fn rebuilt(s: &Statistics) -> Result<Statistics, quant_core::Error> {
    let h = s.histogram();
    let bins: Vec<(i32, u64)> = h.bins().map(|bin| (bin.index, bin.count)).collect();
    let histogram = Histogram::from_parts(h.exponent(), h.zeros(), h.range(), bins)?;
    Statistics::from_parts(histogram, s.batches())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_order_of_values_and_any_split_into_parts_gives_the_same_bits(
        x in values(), seed in any::<u64>(), parts in 1_usize..6,
    ) {
        let whole = of(&[(3, &x)]);
        let mut shuffled = x.clone();
        for i in (1..shuffled.len()).rev() {
            let j = (uniform(seed, i as u64) * (i + 1) as f32) as usize;
            shuffled.swap(i, j.min(i));
        }
        let mut merged = Statistics::new();
        for part in shuffled.chunks(x.len().div_ceil(parts).max(1)) {
            merged.merge(&of(&[(3, part)]));
        }
        prop_assert_eq!(&merged, &whole);
        let mut one_by_one = Statistics::new();
        for value in &shuffled {
            one_by_one.add("site", 3, std::slice::from_ref(value)).unwrap();
        }
        prop_assert_eq!(&one_by_one, &whole);
    }

    #[test]
    fn merging_is_commutative_and_associative(a in values(), b in values(), c in values()) {
        let [a, b, c] = [(0, &a), (1, &b), (0, &c)].map(|(batch, x)| of(&[(batch, x)]));
        let merge = |x: &Statistics, y: &Statistics| {
            let mut out = x.clone();
            out.merge(y);
            out
        };
        prop_assert_eq!(merge(&a, &b), merge(&b, &a));
        prop_assert_eq!(merge(&merge(&a, &b), &c), merge(&a, &merge(&b, &c)));
        prop_assert_eq!(&merge(&a, &Statistics::new()), &a);
    }

    #[test]
    fn every_value_is_counted_once_and_lies_in_its_bin(x in values()) {
        let s = of(&[(0, &x)]);
        let bins: Vec<_> = s.histogram().bins().collect();
        prop_assert_eq!(s.histogram().zeros(), x.iter().filter(|x| **x == 0.0).count() as u64);
        for bin in &bins {
            let inside = x.iter().map(|&x| f64::from(x)).filter(|&x| match bin.index {
                0.. => x != 0.0 && bin.low <= x && (x < bin.high || x == bin.high && bin.index == bins[bins.len() - 1].index),
                _ => x != 0.0 && x <= bin.high && (x > bin.low || x == bin.low && bin.index == bins[0].index),
            });
            prop_assert_eq!(inside.count() as u64, bin.count, "{:?}", bin);
        }
        prop_assert_eq!(bins.iter().map(|b| b.count).sum::<u64>() + s.histogram().zeros(), x.len() as u64);
    }

    #[test]
    fn a_mirrored_sample_has_a_mirrored_histogram(x in values()) {
        let mirrored: Vec<f32> = x.iter().map(|x| -x).collect();
        let bins = |x: &[f32]| -> Vec<(i32, u64)> {
            of(&[(0, x)]).histogram().bins().map(|b| (b.index, b.count)).collect()
        };
        let mut back: Vec<_> = bins(&mirrored).into_iter().map(|(i, c)| (-1 - i, c)).collect();
        back.reverse();
        prop_assert_eq!(bins(&x), back);
    }

    #[test]
    fn parts_put_together_again_are_the_same_statistics(a in values(), b in values()) {
        let s = of(&[(8, &a), (2, &b)]);
        prop_assert_eq!(rebuilt(&s), Ok(s));
    }

    #[test]
    fn parameters_are_finite_and_represent_zero_exactly_whatever_was_seen(
        a in values(), b in values(), bits in 1_u32..=16,
        mapping in prop::sample::select(&Mapping::ALL[..]), range in activation_range(),
    ) {
        let s = of(&[(0, &a), (1, &b)]);
        let Ok(q) = fit_activation(&s, &scheme(bits, mapping, range)) else {
            return Ok(());
        };
        prop_assert!(q.scale >= f32::MIN_POSITIVE && q.lowest().is_finite() && q.highest().is_finite());
        prop_assert!(q.quant_min <= q.zero_point && q.zero_point <= q.quant_max);
        prop_assert_eq!(q.fake_quant(0.0, Rounding::HalfEven, 0), 0.0);
        prop_assert!((q.quant_max - q.quant_min) < 1 << bits);
        if mapping != Mapping::Affine {
            prop_assert_eq!(q.zero_point, 0);
            prop_assert_eq!(q.quant_min == 0, s.range().unwrap().0 >= 0.0);
        }
        if mapping == Mapping::PowerOfTwo {
            prop_assert_eq!(q.scale.to_bits() << 9, 0, "{} is no power of two", q.scale);
        }
        // No estimate asks for more than the values span: up to the rounding of the zero point, and of a power of two.
        let whole = fit_activation(&s, &scheme(bits, mapping, ActivationRange::MinMax)).unwrap();
        prop_assert!(q.scale <= whole.scale, "{:?} {:?}", q, whole);
    }

    #[test]
    fn minmax_is_that_of_the_values(x in values(), bits in 1_u32..=16, mapping in prop::sample::select(&Mapping::ALL[..])) {
        prop_assume!(!x.is_empty() && x.iter().any(|x| *x < 0.0));
        let scheme = scheme(bits, mapping, ActivationRange::MinMax);
        let expected = of_values(&x, &scheme);
        match fit_activation(&of(&[(0, &x)]), &scheme) {
            Ok(found) => prop_assert_eq!(found, expected),
            Err(_) => prop_assert!(expected.is_float()),
        }
    }
}

#[test]
fn a_range_that_is_not_shrunk_is_the_whole_one_and_a_shrunk_one_that_of_smaller_values() {
    let x = [-2.0, 0.25, 1.0, 6.0];
    let halves = x.map(|x| x / 2.0);
    for mapping in Mapping::ALL {
        let scheme = scheme(4, mapping, ActivationRange::MinMax);
        let whole = |x: &[f32]| fit_activation(&of(&[(0, x)]), &scheme).ok();
        let shrunk = |factor| shrunk_activation(&of(&[(0, &x)]), &scheme, factor);
        assert_eq!(shrunk(1.0), whole(&x), "{mapping}");
        assert_eq!(shrunk(0.5), whole(&halves), "{mapping}");
        assert_eq!(shrunk_activation(&of(&[(0, &[0.0])]), &scheme, 1.0), None);
        assert_eq!(shrunk_activation(&Statistics::new(), &scheme, 1.0), None);
    }
}

#[test]
fn a_percentile_of_the_histogram_is_within_a_bin_of_that_of_the_values() {
    for (name, x) in samples() {
        let s = of(&[(0, &x)]);
        let width = s.histogram().width();
        for percent in [60.0, 99.0, 99.9, 99.99, 99.999, 100.0] {
            for mapping in [Mapping::Affine, Mapping::Symmetric] {
                let scheme = scheme(8, mapping, ActivationRange::Percentile(percent));
                let (found, expected) =
                    (fit_activation(&s, &scheme).unwrap(), of_values(&x, &scheme));
                let span = |q: &QParams| match (mapping, name) {
                    // Without a sign: the values as weights have signed codes and the histogram's have not.
                    (Mapping::Symmetric, "half Gaussian") => f64::from(q.highest()),
                    _ => f64::from(q.scale) * f64::from(q.quant_max - q.quant_min),
                };
                assert!(
                    (span(&found) - span(&expected)).abs() <= 2.0 * width,
                    "{name} {mapping} {percent}: {found:?} {expected:?}"
                );
            }
        }
    }
}

#[test]
fn a_search_on_the_histogram_loses_as_little_as_one_on_the_values() {
    for (name, x) in samples() {
        let s = of(&[(0, &x)]);
        for bits in [2, 4, 6, 8, 10] {
            for mapping in Mapping::ALL {
                let scheme = scheme(bits, mapping, ActivationRange::Mse { exponent: 2.0 });
                let found = fit_activation(&s, &scheme).unwrap();
                let expected = if found.quant_min == 0 && mapping == Mapping::Symmetric {
                    // Codes without a sign over [0, T] are those of an affine range that begins at 0.
                    of_values(&x, &self::scheme(bits, Mapping::Affine, scheme.range()))
                } else {
                    of_values(&x, &scheme)
                };
                if mapping == Mapping::PowerOfTwo && found.quant_min == 0 {
                    let best = (-14..4)
                        .map(|e| QParams {
                            scale: 2f32.powi(e),
                            ..found
                        })
                        .min_by(|a, b| squared_error(&x, a).total_cmp(&squared_error(&x, b)));
                    assert_eq!(found, best.unwrap(), "{name} {bits}");
                    continue;
                }
                // The error is flat around its least: two neighbours of the search's grid may change places, 1/320 of the range apart.
                let (least, ours) = (squared_error(&x, &expected), squared_error(&x, &found));
                assert!(
                    ours < 1.002 * least,
                    "{name} {bits} {mapping}: {ours} {least}"
                );
            }
        }
    }
}

#[test]
fn the_step_of_least_error_on_a_gaussian_is_the_published_one() {
    // Step and SQNR in dB of the mid-rise quantizer; an affine grid, whose zero is a level, comes close to it from 4 bits on.
    let published = [
        (4, 0.3352, 19.38),
        (5, 0.1881, 24.57),
        (6, 0.1041, 29.83),
        (7, 0.0569, 35.17),
        (8, 0.0308, 40.57),
    ];
    let x = gaussian();
    let s = of(&[(0, &x)]);
    for (bits, step, sqnr) in published {
        let range = ActivationRange::Mse { exponent: 2.0 };
        let q = fit_activation(&s, &scheme(bits, Mapping::Affine, range)).unwrap();
        let found = f64::from(q.scale);
        assert!(
            (found / step - 1.0).abs() < 0.03,
            "{bits}: {found}, not {step}"
        );
        let found = -10.0 * squared_error(&x, &q).log10();
        assert!(
            (found - sqnr).abs() < 0.15,
            "{bits}: {found} dB, not {sqnr}"
        );
    }
}

#[test]
fn entropy_cuts_an_outlier_of_one_sided_data_and_keeps_an_even_range() {
    let mut x = relu(&gaussian());
    x.push(40.0);
    let even: Vec<f32> = (0..N).map(|i| uniform(2, i)).collect();
    for mapping in Mapping::ALL {
        let scheme = scheme(8, mapping, ActivationRange::Entropy);
        let cut = fit_activation(&of(&[(0, &x)]), &scheme).unwrap();
        assert_eq!((cut.quant_min, cut.zero_point), (0, 0));
        assert!(cut.highest() > 3.0 && cut.highest() < 10.0, "{cut:?}");
        let kept = fit_activation(&of(&[(0, &even)]), &scheme).unwrap();
        assert!(kept.highest() > 0.95, "{kept:?}");
        // Zeros are left out: as many more as one likes change nothing.
        let mut sparse = x.clone();
        sparse.extend(vec![0.0; 1_000_000]);
        assert_eq!(fit_activation(&of(&[(0, &sparse)]), &scheme), Ok(cut));
    }
}

#[test]
fn a_moving_average_gives_the_range_of_the_formula() {
    let s = of(&[(1, &[-2.0, 8.0]), (0, &[-1.0, 4.0]), (2, &[0.0, 1.0])]);
    let range = ActivationRange::named("moving_average", Some(0.75)).unwrap();
    // -1, -1.25, -0.9375 and 4, 5, 4.
    let affine = fit_activation(&s, &scheme(8, Mapping::Affine, range)).unwrap();
    assert_eq!(affine.scale, 4.9375 / 255.0);
    assert_eq!(affine.zero_point, 48);
    let symmetric = fit_activation(&s, &scheme(8, Mapping::Symmetric, range)).unwrap();
    assert_eq!(symmetric.scale, 4.0 / 127.0);
    // An average that is all zero although the values are not: minimum and maximum.
    let last_is_dead = of(&[(0, &[1.0, 2.0]), (1, &[0.0])]);
    let last = ActivationRange::named("moving_average", Some(0.0)).unwrap();
    let q = fit_activation(&last_is_dead, &scheme(8, Mapping::Affine, last)).unwrap();
    assert_eq!(q.scale, 2.0 / 255.0);
}

#[test]
fn sites_that_share_a_scale_are_fitted_as_one() {
    let (a, b) = ([(0, &[-1.0_f32, 3.0][..])], [(0, &[-4.0_f32, 0.5][..])]);
    let mut both = of(&a);
    both.merge(&of(&b));
    let average = ActivationRange::named("moving_average", None).unwrap();
    for range in [ActivationRange::MinMax, average] {
        let q = fit_activation(&both, &scheme(3, Mapping::Affine, range)).unwrap();
        assert_eq!((q.scale, q.zero_point), (1.0, 4));
    }
}

#[test]
fn a_site_that_was_never_negative_uses_every_code() {
    let s = of(&[(0, &[0.0, 2.0, 25.5])]);
    for mapping in Mapping::ALL {
        let q = fit_activation(&s, &scheme(8, mapping, ActivationRange::MinMax)).unwrap();
        assert_eq!((q.quant_min, q.quant_max, q.zero_point), (0, 255, 0));
        let expected = if mapping == Mapping::PowerOfTwo {
            0.125
        } else {
            0.1
        };
        assert_eq!(q.scale, expected);
    }
    let signed = of(&[(0, &[-1e-6, 2.0, 25.4])]);
    let q = fit_activation(
        &signed,
        &scheme(8, Mapping::Symmetric, ActivationRange::MinMax),
    )
    .unwrap();
    assert_eq!((q.quant_min, q.quant_max, q.scale), (-127, 127, 0.2));
}

#[test]
fn every_degenerate_site_has_the_documented_outcome() {
    let every = ["minmax", "moving_average", "percentile", "mse", "entropy"];
    for (name, mapping) in every.iter().flat_map(|n| Mapping::ALL.map(|m| (n, m))) {
        let scheme = scheme(8, mapping, name.parse().unwrap());
        let fit = |x: &[f32]| fit_activation(&of(&[(0, x)]), &scheme);
        assert_eq!(fit(&[]), Err(Reason::Unseen));
        let dead = QParams {
            scale: 1.0,
            zero_point: 0,
            quant_min: 0,
            quant_max: 255,
        };
        for zeros in [&[0.0, -0.0][..], &[-0.0], &[0.0; 9]] {
            assert_eq!(fit(zeros), Ok(dead), "{scheme}");
        }
        assert_eq!(dead.fake_quant(0.0, Rounding::HalfEven, 0), 0.0);
        assert_eq!(
            fit(&[1e-45, -1e-40]),
            Err(Reason::ScaleUnderflow),
            "{scheme}"
        );
        if mapping == Mapping::Affine {
            assert_eq!(fit(&[f32::MAX, f32::MIN]), Err(Reason::ScaleOverflow));
        }
        for single in [&[3.25_f32][..], &[-3.25], &[3.25; 9]] {
            let q = fit(single).unwrap();
            let back = q.fake_quant(single[0], Rounding::HalfEven, 0);
            assert!(
                (back - single[0]).abs() <= q.scale / 2.0,
                "{scheme}: {back}"
            );
        }
        let mut x: Vec<f32> = (0..2000).map(|i| uniform(4, i) + 0.001).collect();
        x.push(1e6);
        let q = fit(&x).unwrap();
        let cuts = matches!(*name, "mse" | "entropy" | "percentile");
        assert!(
            q.highest()
                <= 1.1e6
                    * if mapping == Mapping::PowerOfTwo {
                        2.0
                    } else {
                        1.0
                    }
        );
        assert!(cuts || q.highest() >= 1e6, "{scheme}: {q:?}");
    }
}
