//! The table of degenerate input in the crate's documentation, row by row.

use quant_core::{
    Bits, CodeRange, Error, Granularity, Mapping, Outcome, Quantized, RangeMethod, Reason,
    Rounding, Scheme, Values, bits_per_value, quantize,
};

const RANGES: [RangeMethod; 6] = [
    RangeMethod::MinMax,
    RangeMethod::Percentile(99.0),
    RangeMethod::Mse { exponent: 2.0 },
    RangeMethod::Entropy,
    RangeMethod::Gaussian,
    RangeMethod::Laplacian,
];

fn scheme(bits: u32, mapping: Mapping, codes: CodeRange, range: RangeMethod) -> Scheme {
    let bits = Bits::new(bits).unwrap();
    Scheme::new(
        bits,
        mapping,
        codes,
        Granularity::Tensor,
        range,
        Rounding::HalfEven,
    )
    .unwrap()
}

/// Every ordinary scheme of 8 bits, per tensor.
fn ordinary() -> Vec<Scheme> {
    let mut all = Vec::new();
    for mapping in Mapping::ALL {
        for codes in CodeRange::ALL {
            all.extend(RANGES.map(|range| scheme(8, mapping, codes, range)));
        }
    }
    all
}

fn linear() -> Scheme {
    Scheme::linear(Bits::new(8).unwrap())
}

fn run(w: &[f32], scheme: &Scheme) -> Quantized {
    quantize(&Values::new("w", w, &[w.len()]).unwrap(), scheme)
}

fn assert_float(w: &[f32], scheme: &Scheme, reason: Reason) {
    let out = run(w, scheme);
    assert_eq!(out.outcomes, [Outcome::Float(reason)], "{scheme} {w:?}");
    assert_eq!(out.values, w);
    assert!(out.codes.iter().all(|&code| code == 0) && out.params[0].scale == 0.0);
    assert!(!out.is_quantized());
    assert_eq!(out.first_reason(), Some(reason));
    assert_eq!(bits_per_value(&out), 32.0);
}

#[test]
fn nan_and_infinity_are_errors_that_name_the_tensor() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = Values::new("layer3.1.conv2.weight", &[0.0, bad], &[2]).unwrap_err();
        assert!(matches!(error, Error::NotFinite { index: 1, .. }));
        assert!(error.to_string().contains("layer3.1.conv2.weight"));
    }
}

#[test]
fn empty_tensors_and_channels_are_errors_that_name_the_tensor() {
    for shape in [&[0][..], &[4, 0], &[0, 3, 3]] {
        let error = Values::new("fc.bias", &[], shape).unwrap_err();
        assert!(matches!(error, Error::Empty { .. }) && error.to_string().contains("fc.bias"));
    }
}

#[test]
fn an_all_zero_group_stays_in_float() {
    for scheme in ordinary().iter().chain([&linear()]) {
        assert_float(&[0.0; 9], scheme, Reason::AllZero);
        assert_float(&[0.0, -0.0], scheme, Reason::AllZero);
        assert_float(&[0.0], scheme, Reason::AllZero);
    }
}

#[test]
fn a_constant_is_quantized_unless_the_range_is_taken_as_found() {
    for c in [0.3, -0.3, 1e-20, -7e20] {
        for w in [&[c; 9][..], &[c]] {
            assert_float(w, &linear(), Reason::Constant);
            for scheme in ordinary() {
                let out = run(w, &scheme);
                assert!(out.is_quantized(), "{scheme} {c}");
                // A power of two leaves c somewhere inside a step; the full codes' bound lies half a step past the last code.
                let tolerance = if scheme.mapping() == Mapping::Affine {
                    1e-6 * c.abs()
                } else {
                    out.params[0].scale
                };
                for y in out.values {
                    assert!((y - c).abs() <= tolerance, "{scheme}: {c} became {y}");
                }
            }
        }
    }
}

#[test]
fn a_one_sided_range_is_widened_to_zero_unless_taken_as_found() {
    let w = [2.0, 3.0, 5.0];
    let minus = w.map(|v: f32| -v);
    for scheme in ordinary()
        .into_iter()
        .filter(|s| s.mapping() == Mapping::Affine)
    {
        let (up, down) = (run(&w, &scheme).params[0], run(&minus, &scheme).params[0]);
        assert_eq!((up.zero_point, down.zero_point), (0, 255), "{scheme}");
        // Widened, not moved: the far end stays where the values are.
        assert!(
            up.highest() > 4.9 && down.lowest() < -4.9,
            "{scheme} {up:?} {down:?}"
        );
    }
    let q = run(&w, &linear()).params[0];
    assert_eq!(q.zero_point, -170);
    assert!((q.lowest() - 2.0).abs() < 1e-6 && (q.highest() - 5.0).abs() < 1e-6);
    assert_eq!(run(&minus, &linear()).params[0].zero_point, 425);
}

#[test]
fn a_scale_that_underflows_leaves_the_group_in_float() {
    let smallest = f32::from_bits(1);
    for w in [[smallest, -smallest], [1e-39, -1e-40]] {
        for scheme in ordinary() {
            assert_float(&w, &scheme, Reason::ScaleUnderflow);
        }
    }
    assert_float(
        &[smallest, 2.0 * smallest],
        &linear(),
        Reason::ScaleUnderflow,
    );
    // A subnormal scale is still a number, and the preset follows its formula.
    let out = run(&[1e-39, -1e-39], &linear());
    assert!(out.is_quantized() && out.params[0].scale < f32::MIN_POSITIVE);
    assert!((out.values[0] - 1e-39).abs() < 1e-41);
}

#[test]
fn a_range_past_float32_leaves_the_group_in_float() {
    assert_float(&[f32::MAX, f32::MIN], &linear(), Reason::ScaleOverflow);
    for range in RANGES {
        let affine = scheme(8, Mapping::Affine, CodeRange::Narrow, range);
        assert_float(&[f32::MAX, f32::MIN], &affine, Reason::ScaleOverflow);
    }
    // Rounded up to a power of two the last code lies past float32; half a step more on the negative side as well.
    let shift = scheme(
        2,
        Mapping::PowerOfTwo,
        CodeRange::Narrow,
        RangeMethod::MinMax,
    );
    assert_float(&[f32::MAX, 0.0], &shift, Reason::ScaleOverflow);
    let full = scheme(2, Mapping::Symmetric, CodeRange::Full, RangeMethod::MinMax);
    assert_float(&[f32::MAX, 0.0], &full, Reason::ScaleOverflow);
    let narrow = scheme(
        2,
        Mapping::Symmetric,
        CodeRange::Narrow,
        RangeMethod::MinMax,
    );
    assert_eq!(run(&[f32::MAX, 0.0], &narrow).values, [f32::MAX, 0.0]);
}

#[test]
fn a_zero_point_past_32_bits_leaves_the_group_in_float() {
    let next = f32::from_bits(1.0_f32.to_bits() + 1);
    assert_float(
        &[1.0, next],
        &Scheme::linear(Bits::MAX),
        Reason::ZeroPointOverflow,
    );
    assert!(run(&[1.0, next], &Scheme::linear(Bits::MIN)).is_quantized());
}

#[test]
fn an_empty_estimate_falls_back_to_minimum_and_maximum() {
    let mut w = [0.0; 100];
    (w[3], w[50]) = (1.0, -0.5);
    for mapping in Mapping::ALL {
        let of = |range| run(&w, &scheme(8, mapping, CodeRange::Narrow, range)).params[0];
        assert_eq!(of(RangeMethod::Percentile(60.0)), of(RangeMethod::MinMax));
    }
}

#[test]
fn an_estimated_range_never_reaches_past_the_values() {
    let w = [-1.0, 1.0, -1.0, 0.5, 1.0];
    for range in [RangeMethod::Gaussian, RangeMethod::Laplacian] {
        for bits in [8, 16] {
            let of = |range| {
                run(
                    &w,
                    &scheme(bits, Mapping::Symmetric, CodeRange::Narrow, range),
                )
                .params[0]
            };
            assert_eq!(of(range), of(RangeMethod::MinMax));
        }
    }
}

#[test]
fn one_bit_full_codes_keep_the_negative_side() {
    let signed = scheme(
        1,
        Mapping::Symmetric,
        CodeRange::Full,
        RangeMethod::Gaussian,
    );
    let out = run(&[-1.0, -1.2, 1.0, 0.9, 0.1], &signed);
    assert_eq!(out.codes, [-1, -1, 0, 0, 0]);
}
