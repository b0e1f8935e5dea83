//! The published SQNR of optimal uniform quantizers, reached by whole schemes on large deterministic samples.

use quant_core::{
    Bits, CodeRange, Granularity, Mapping, RangeMethod, Rounding, Scheme, Values, compare, quantize,
};

/// SQNR in dB at 2 to 8 bits: Gaussian, Laplacian, uniform.
const SQNR: [(u32, f64, f64, f64); 7] = [
    (2, 9.25, 7.07, 12.04),
    (3, 14.27, 11.44, 18.06),
    (4, 19.38, 15.96, 24.08),
    (5, 24.57, 20.60, 30.10),
    (6, 29.83, 25.36, 36.12),
    (7, 35.17, 30.23, 42.14),
    (8, 40.57, 35.21, 48.16),
];

const N: usize = 400_000;

/// The values at the middle of N equal slices of a distribution, given by its quantile function; in a stride that mixes them.
fn sample(quantile: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..N)
        .map(|i| quantile((((i * 7919) % N) as f64 + 0.5) / N as f64) as f32)
        .collect()
}

/// By bisection of the distribution function, whose error function is a Simpson integral; slow and plain.
fn gaussian() -> Vec<f32> {
    // Cumulated midpoint integral of the density on a fine grid from -8, inverted by walking along it.
    let step = 1e-5;
    let (mut x, mut mass) = (-8.0_f64, 0.0);
    let mut sorted = Vec::with_capacity(N);
    while sorted.len() < N {
        let density = (-(x + step / 2.0).powi(2) / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let wanted = (sorted.len() as f64 + 0.5) / N as f64;
        if mass + density * step >= wanted {
            sorted.push((x + (wanted - mass) / density) as f32);
        } else {
            mass += density * step;
            x += step;
        }
    }
    (0..N).map(|i| sorted[(i * 7919) % N]).collect()
}

fn laplacian() -> Vec<f32> {
    sample(|p| if p < 0.5 { (2.0 * p).ln() } else { -(2.0 * (1.0 - p)).ln() } / std::f64::consts::SQRT_2)
}

fn sqnr(x: &[f32], bits: u32, mapping: Mapping, codes: CodeRange, range: RangeMethod) -> f64 {
    let bits = Bits::new(bits).unwrap();
    let scheme = Scheme::new(
        bits,
        mapping,
        codes,
        Granularity::Tensor,
        range,
        Rounding::HalfEven,
    )
    .unwrap();
    compare(
        x,
        &quantize(&Values::new("x", x, &[x.len()]).unwrap(), &scheme).values,
    )
    .sqnr_db
    .unwrap()
}

#[test]
fn optimal_ranges_reach_the_published_sqnr() {
    for (x, range, column) in [
        (gaussian(), RangeMethod::Gaussian, 0),
        (laplacian(), RangeMethod::Laplacian, 1),
    ] {
        for row in SQNR {
            let published = [row.1, row.2][column];
            // Zero is a level here and is none in the published quantizer: at few bits that costs some dB (or, for a Laplacian, gains
            // some), at many it costs nothing.
            let tolerance = match row.0 {
                2 => 1.1,
                3 => 0.5,
                // The sample's tails end where the distributions' go on.
                _ => 0.15,
            };
            for (mapping, codes) in [
                (Mapping::Affine, CodeRange::Narrow),
                (Mapping::Symmetric, CodeRange::Full),
            ] {
                let found = sqnr(&x, row.0, mapping, codes, range);
                assert!(
                    (found - published).abs() < tolerance,
                    "{range} {mapping} {}: {found} dB, not {published}",
                    row.0
                );
            }
        }
    }
}

#[test]
fn an_mse_search_does_as_well_as_the_density_it_does_not_know() {
    for (x, range) in [
        (gaussian(), RangeMethod::Gaussian),
        (laplacian(), RangeMethod::Laplacian),
    ] {
        for bits in 2..=8 {
            let of = |range| sqnr(&x, bits, Mapping::Symmetric, CodeRange::Narrow, range);
            let (known, searched) = (of(range), of(RangeMethod::Mse { exponent: 2.0 }));
            assert!(
                (known - searched).abs() < 0.02,
                "{range} {bits}: {known} and {searched} dB"
            );
        }
    }
}

#[test]
fn a_uniform_distribution_gains_six_db_a_bit() {
    // 2^b cells of equal width whose middles are the levels: the ends lie half a cell inside the range of the values.
    for (bits, _, _, published) in SQNR {
        let cells = 2f64.powi(bits as i32);
        let x = sample(|p| (p - 0.5) * 12f64.sqrt());
        let half_cell = 3f64.sqrt() / cells;
        // `linear` takes its range as found, so the levels are found on the middles and applied to all.
        let middles: Vec<f32> = (0..cells as usize)
            .map(|i| (-(3f64.sqrt()) + half_cell * (2 * i + 1) as f64) as f32)
            .collect();
        let values = Values::new("levels", &middles, &[middles.len()]).unwrap();
        let q = quantize(&values, &Scheme::linear(Bits::new(bits).unwrap())).params[0];
        // The zero point is an integer and the middles are not: shift the values by what that moves the levels.
        let shift = q.lowest() - middles[0];
        let x: Vec<f32> = x.iter().map(|v| v + shift).collect();
        let y: Vec<f32> = x
            .iter()
            .map(|&v| q.fake_quant(v, Rounding::HalfEven, 0))
            .collect();
        let c = compare(&x, &y);
        let found = -10.0 * c.mse.log10();
        assert!(
            (found - published).abs() < 0.006,
            "{bits}: {found} dB, not {published}"
        );
    }
}
