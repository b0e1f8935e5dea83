//! What must hold for every scheme of 1 to 16 bits on every tensor.

use proptest::prelude::*;
use quant_core::{
    Bits, CodeRange, Granularity, Mapping, Outcome, RangeMethod, Rounding, Scheme, Values, compare,
    parameters, quantize,
};

/// Weights of a layer: a bell of some magnitude, sometimes with outliers, zeros or an offset.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![
        8 => (-1.0_f32..1.0, -1.0_f32..1.0, -1.0_f32..1.0).prop_map(|(a, b, c)| a + b + c),
        1 => Just(0.0),
        1 => -12.0_f32..12.0,
    ];
    (
        prop::collection::vec(one, 1..150),
        -20_i32..12,
        prop_oneof![4 => Just(0.0_f32), 1 => -4.0_f32..4.0],
    )
        .prop_map(|(w, exponent, offset)| {
            w.into_iter()
                .map(|v| (v + offset) * 2f32.powi(exponent))
                .collect()
        })
}

/// Anything finite: huge, subnormal, both zeros.
fn anything() -> impl Strategy<Value = Vec<f32>> {
    let bits = any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |v| v.is_finite());
    let one = prop_oneof![4 => bits, 1 => Just(0.0), 1 => Just(-0.0), 1 => Just(f32::MAX), 1 => Just(1e-45), 1 => -1.0_f32..1.0];
    prop::collection::vec(one, 1..40)
}

fn bits() -> impl Strategy<Value = Bits> {
    (1_u32..=16).prop_map(|bits| Bits::new(bits).unwrap())
}

fn range() -> impl Strategy<Value = RangeMethod> {
    prop_oneof![
        Just(RangeMethod::MinMax),
        (51.0_f64..=100.0).prop_map(RangeMethod::Percentile),
        prop_oneof![Just(2.0), 0.5_f64..5.0].prop_map(|exponent| RangeMethod::Mse { exponent }),
        Just(RangeMethod::Entropy),
        Just(RangeMethod::Gaussian),
        Just(RangeMethod::Laplacian),
    ]
}

fn rounding() -> impl Strategy<Value = Rounding> {
    prop_oneof![
        Just(Rounding::HalfEven),
        Just(Rounding::HalfAway),
        Just(Rounding::Floor),
        any::<u64>().prop_map(|seed| Rounding::Stochastic { seed }),
    ]
}

fn granularity() -> impl Strategy<Value = Granularity> {
    let group = (1_usize..20).prop_map(|size| Granularity::named("group", Some(size)).unwrap());
    prop_oneof![Just(Granularity::Tensor), Just(Granularity::Channel), group]
}

/// Any scheme that can be made, `linear` among them.
fn scheme() -> impl Strategy<Value = Scheme> {
    let mapping = prop::sample::select(&Mapping::ALL[..]);
    let codes = prop::sample::select(&CodeRange::ALL[..]);
    let ordinary = (bits(), mapping, codes, granularity(), range(), rounding()).prop_map(
        |(bits, mapping, codes, granularity, range, rounding)| {
            // Narrow codes do not exist at 1 bit; full ones do.
            let codes = if bits == Bits::MIN {
                CodeRange::Full
            } else {
                codes
            };
            Scheme::new(bits, mapping, codes, granularity, range, rounding).unwrap()
        },
    );
    let linear = (bits(), rounding())
        .prop_map(|(bits, rounding)| Scheme::linear(bits).with_rounding(rounding));
    prop_oneof![5 => ordinary, 1 => linear]
}

/// A shape of one, two or three axes for `n` values.
fn shape(n: usize) -> Vec<usize> {
    match (n.is_multiple_of(6), n.is_multiple_of(2)) {
        (true, _) => vec![n / 6, 3, 2],
        (false, true) => vec![2, n / 2],
        (false, false) => vec![n],
    }
}

fn with_granularity(s: &Scheme, granularity: Granularity) -> Scheme {
    Scheme::new(
        s.bits(),
        s.mapping(),
        s.codes(),
        granularity,
        s.range(),
        s.rounding(),
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn codes_are_within_bounds_and_values_are_what_they_stand_for(w in weights(), s in scheme()) {
        let shape = shape(w.len());
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        let (low, high) = s.quant_bounds();
        let mut saturated = 0;
        for (g, range) in out.layout.groups().enumerate() {
            let q = out.params[g];
            for i in range {
                if let Outcome::Float(_) = out.outcomes[g] {
                    prop_assert_eq!(out.values[i].to_bits(), w[i].to_bits());
                } else {
                    prop_assert!((low..=high).contains(&out.codes[i]));
                    prop_assert_eq!(out.values[i], q.dequantize(out.codes[i]));
                    // The element's value depends on its group's parameters and its own index alone.
                    prop_assert_eq!(out.codes[i], q.quantize(w[i], s.rounding(), i as u64));
                    saturated += usize::from(q.saturates(w[i], s.rounding(), i as u64));
                }
            }
        }
        prop_assert_eq!(out.saturated, saturated);
    }

    #[test]
    fn zero_is_exact_and_error_stays_within_half_a_step(w in weights(), s in scheme()) {
        let shape = shape(w.len());
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        for (g, range) in out.layout.groups().enumerate() {
            let q = out.params[g];
            if q.is_float() {
                continue;
            }
            if !s.is_linear() {
                prop_assert_eq!(q.fake_quant(0.0, s.rounding(), 0).to_bits(), 0);
                prop_assert!((q.quant_min..=q.quant_max).contains(&q.zero_point));
            }
            for i in range {
                let (x, y, step) = (f64::from(w[i]), f64::from(out.values[i]), f64::from(q.scale));
                // What float32 loses in x / scale and in equation (2).
                let slack = 4.0 * f64::from(f32::EPSILON) * (x.abs() + step * f64::from(q.zero_point.abs()));
                let (below, above) = match s.rounding() {
                    Rounding::HalfEven | Rounding::HalfAway => (0.5, 0.5),
                    Rounding::Floor => (1.0, 0.0),
                    Rounding::Stochastic { .. } => (1.0, 1.0),
                };
                let inside = x >= f64::from(q.lowest()) && x <= f64::from(q.highest());
                if inside {
                    prop_assert!(y - x <= above * step + slack && x - y <= below * step + slack, "{} -> {} step {}", x, y, step);
                } else {
                    let nearest = if x < y { q.lowest() } else { q.highest() };
                    prop_assert!((y - f64::from(nearest)).abs() <= step + slack);
                }
            }
        }
    }

    #[test]
    fn minmax_clips_nothing_by_more_than_half_a_step(w in weights(), s in scheme()) {
        let range = RangeMethod::MinMax;
        let s = Scheme::new(s.bits(), s.mapping(), s.codes(), s.granularity(), range, Rounding::HalfEven).unwrap();
        // At 1 bit the full codes have none for positive numbers.
        prop_assume!(s.mapping() == Mapping::Affine || s.bits() > Bits::MIN);
        let shape = shape(w.len());
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        for (i, (x, y)) in w.iter().zip(&out.values).enumerate() {
            let q = out.params[out.layout.group_of(i)];
            let slack = 4.0 * f32::EPSILON * (x.abs() + q.scale * q.zero_point.abs() as f32);
            prop_assert!((x - y).abs() <= 0.5 * q.scale + slack, "{} -> {} {:?}", x, y, q);
            if s.mapping() == Mapping::PowerOfTwo || (s.mapping() == Mapping::Symmetric && s.codes() == CodeRange::Narrow) {
                prop_assert!(!q.saturates(*x, s.rounding(), 0));
            }
        }
    }

    #[test]
    fn quantizing_twice_is_quantizing_once(w in weights(), s in scheme()) {
        prop_assume!(matches!(s.rounding(), Rounding::HalfEven | Rounding::HalfAway));
        let shape = shape(w.len());
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        for (i, &y) in out.values.iter().enumerate() {
            let q = out.params[out.layout.group_of(i)];
            // Past 2^22 a quotient has no fraction left to round away (`linear` far from 0).
            if q.zero_point.abs() < 1 << 21 {
                prop_assert_eq!(q.fake_quant(y, s.rounding(), i as u64), y);
            }
        }
    }

    #[test]
    fn a_larger_number_never_gets_a_smaller_one(w in weights(), s in scheme()) {
        prop_assume!(!matches!(s.rounding(), Rounding::Stochastic { .. }));
        let Some(q) = parameters(&Values::new("w", &w, &[w.len()]).unwrap(), &with_tensor(&s)).first().copied() else { return Ok(()) };
        let mut sorted = w.clone();
        sorted.sort_by(f32::total_cmp);
        let y: Vec<f32> = sorted.iter().map(|&x| q.fake_quant(x, s.rounding(), 0)).collect();
        prop_assert!(y.is_sorted());
    }

    #[test]
    fn one_channel_is_a_tensor_and_one_group_is_a_channel(w in weights(), s in scheme()) {
        prop_assume!(!s.is_linear());
        let n = w.len();
        let group = Granularity::named("group", Some(n)).unwrap();
        let run = |granularity, shape: &[usize]| quantize(&Values::new("w", &w, shape).unwrap(), &with_granularity(&s, granularity));
        let (tensor, channel, one_group) = (run(Granularity::Tensor, &[1, n]), run(Granularity::Channel, &[1, n]), run(group, &[1, n]));
        prop_assert_eq!(&tensor.values, &channel.values);
        prop_assert_eq!(&tensor.codes, &channel.codes);
        prop_assert_eq!(&tensor.params, &channel.params);
        prop_assert_eq!(&one_group.values, &channel.values);
        prop_assert_eq!(&one_group.params, &channel.params);
        let rows = shape(n);
        let group = Granularity::named("group", Some(n / rows[0])).unwrap();
        prop_assert_eq!(run(group, &rows).params, run(Granularity::Channel, &rows).params);
    }

    #[test]
    fn a_channel_does_not_see_its_neighbours(w in weights(), s in scheme()) {
        prop_assume!(!s.is_linear() && !matches!(s.rounding(), Rounding::Stochastic { .. }));
        let s = with_granularity(&s, Granularity::Channel);
        let shape = shape(w.len());
        let width = w.len() / shape[0];
        let whole = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        for (channel, row) in w.chunks(width).enumerate() {
            let alone = quantize(&Values::new("row", row, &[1, width]).unwrap(), &s);
            prop_assert_eq!(&alone.values[..], &whole.values[channel * width..][..width]);
        }
    }

    #[test]
    fn linear_is_the_formula_of_the_original(w in weights(), bits in bits()) {
        let (mut lo, mut hi) = (w[0], w[0]);
        for &v in &w {
            if v < lo { lo = v }
            if v > hi { hi = v }
        }
        let top = (2_i32.pow(bits.get()) - 1) as f32;
        let s = (hi - lo) / top;
        let z = (-lo / s).round_ties_even();
        prop_assume!(s == 0.0 || z.abs() < 2e9);
        let out = quantize(&Values::new("w", &w, &[w.len()]).unwrap(), &Scheme::linear(bits));
        for (&x, y) in w.iter().zip(out.values) {
            let expected = if s == 0.0 { x } else { s * (((x / s).round_ties_even() + z).clamp(0.0, top) - z) };
            prop_assert_eq!(y, expected);
        }
    }

    #[test]
    fn ordinary_minmax_is_the_formula_of_the_reference(w in weights(), bits in bits(), affine in any::<bool>()) {
        let mapping = if affine { Mapping::Affine } else { Mapping::Symmetric };
        prop_assume!(affine || bits > Bits::MIN);
        let shape = shape(w.len());
        let s = Scheme::new(bits, mapping, CodeRange::Narrow, Granularity::Channel, RangeMethod::MinMax, Rounding::HalfEven).unwrap();
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        let width = w.len() / shape[0];
        for (row, values) in w.chunks(width).zip(out.values.chunks(width)) {
            let lo = row.iter().copied().fold(0.0, f32::min);
            let hi = row.iter().copied().fold(0.0, f32::max);
            let top = 2_i32.pow(bits.get()) as f32 - 1.0;
            let half = 2_i32.pow(bits.get() - 1) as f32 - 1.0;
            for (&x, &y) in row.iter().zip(values) {
                let expected = if lo == hi {
                    x
                } else if affine {
                    let s = (hi - lo) / top;
                    let z = (-lo / s).round_ties_even();
                    s * (((x / s).round_ties_even() + z).clamp(0.0, top) - z)
                } else {
                    let s = hi.max(-lo) / half;
                    s * (x / s).round_ties_even().clamp(-half, half)
                };
                prop_assert_eq!(y, expected);
            }
        }
    }

    #[test]
    fn the_mse_range_is_never_worse_than_the_whole_range(w in weights(), bits in bits(), mapping in prop::sample::select(&Mapping::ALL[..])) {
        let run = |range| {
            let s = Scheme::new(bits, mapping, CodeRange::Full, Granularity::Tensor, range, Rounding::HalfEven).unwrap();
            compare(&w, &quantize(&Values::new("w", &w, &[w.len()]).unwrap(), &s).values).mse
        };
        let (searched, whole) = (run(RangeMethod::Mse { exponent: 2.0 }), run(RangeMethod::MinMax));
        prop_assert!(searched <= whole * (1.0 + 1e-5), "{} above {}", searched, whole);
    }

    #[test]
    fn no_estimated_range_is_wider_than_the_values(w in weights(), s in scheme()) {
        let values = Values::new("w", &w, &[w.len()]).unwrap();
        let of = |range| {
            let s = Scheme::new(s.bits(), Mapping::Symmetric, CodeRange::Full, Granularity::Tensor, range, s.rounding()).unwrap();
            parameters(&values, &s)[0].scale
        };
        prop_assert!(of(s.range()) <= of(RangeMethod::MinMax));
    }

    #[test]
    fn any_finite_input_has_a_finite_outcome(w in anything(), s in scheme()) {
        let shape = shape(w.len());
        let out = quantize(&Values::new("w", &w, &shape).unwrap(), &s);
        prop_assert!(out.values.iter().all(|v| v.is_finite()));
        for (q, outcome) in out.params.iter().zip(&out.outcomes) {
            match outcome {
                Outcome::Float(_) => prop_assert_eq!(q.scale, 0.0),
                Outcome::Quantized { .. } => prop_assert!(q.scale > 0.0 && q.scale.is_finite()),
            }
        }
        prop_assert_eq!(out.params, parameters(&Values::new("w", &w, &shape).unwrap(), &s));
    }

    #[test]
    fn stochastic_rounding_is_reproducible_and_unbiased(x in -0.99_f32..0.99, seed in any::<u64>(), bits in 2_u32..=16) {
        let n = 4096;
        let mut w = vec![x; n];
        w[0] = 1.0;
        let s = Scheme::new(Bits::new(bits).unwrap(), Mapping::Symmetric, CodeRange::Narrow, Granularity::Tensor, RangeMethod::MinMax, Rounding::Stochastic { seed }).unwrap();
        let values = Values::new("w", &w, &[n]).unwrap();
        let out = quantize(&values, &s);
        prop_assert_eq!(&out, &quantize(&values, &s));
        let mean = out.values[1..].iter().map(|&y| f64::from(y)).sum::<f64>() / (n - 1) as f64;
        // Six standard errors of a coin of width `scale`: 2e-9 per case.
        let tolerance = 6.0 * 0.5 * f64::from(out.params[0].scale) / (n as f64).sqrt();
        prop_assert!((mean - f64::from(x)).abs() <= tolerance, "{} instead of {}", mean, x);
    }
}

fn with_tensor(s: &Scheme) -> Scheme {
    if s.is_linear() {
        *s
    } else {
        with_granularity(s, Granularity::Tensor)
    }
}

#[test]
fn another_seed_draws_other_codes() {
    let w: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
    let values = Values::new("w", &w, &[1000]).unwrap();
    let codes = |seed| {
        let s = Scheme::linear(Bits::new(3).unwrap()).with_rounding(Rounding::Stochastic { seed });
        quantize(&values, &s).codes
    };
    let differing = codes(1)
        .iter()
        .zip(codes(2))
        .filter(|(a, b)| **a != *b)
        .count();
    assert!(differing > 200 && differing < 800, "{differing}");
}
