//! The exact epilogue without float64: from a 32-bit sum to a code by a 64-bit product, an addition and a shift.
//!
//! A multiplier between codes is `M = f 2^-n` with whole `f` and `n` (`epilogue.rs`). For a sum `s` with its bias and the
//! result's stored zero point `z`,
//!
//! ```text
//! code = clamp((h + c) >> (n - 32))        h = (s f) >> 32        c = 2^(n-33) + z 2^(n-32)                     (1)
//! ```
//!
//! with `n > 32` and `f` below 2^31, so with `M < 1/4`; steeper nodes have their sums shifted to the left first, and `M` is less by
//! as much. `>>` rounding down. Rounding down twice is rounding down once, so (1) is `floor(s M + 1/2) + z`: half up, which is half to
//! even wherever no `s M` lies in the middle between two integers. With `f = odd 2^k` it does so for odd multiples of
//! `2^(n-1-k)` alone, where it is as many times `odd / 2`. A channel whose sums can be one has no such form, but where
//! `odd / 2 > 255`: no code is so far from its zero point, and either neighbour is clamped to the same end. Float64, for its
//! part, makes no error where `|s M| < 2^9` ([`quant_core::FixedPoint::exact`]), and beyond both are clamped to the same end.
//!
//! An addition of codes `v M_own + (q - z_add) M_add`, with `M_own = a 2^-n` and `M_add = b 2^-n`, takes two 16-bit products of
//! each summand, `a = 2^16 a_high + a_low` and `b` likewise:
//!
//! ```text
//! low  = v a_low  + q b_low  + r_low       r = 2^(n-1) + z 2^n - z_add b = 2^16 r_high + r_low
//! high = v a_high + q b_high + r_high
//! code = clamp((high + (low >> 16)) >> (n - 16))                                                               (2)
//! ```
//!
//! which is again half up; that none of the 2^16 pairs of codes lies in the middle is tried out.
//!
//! Where a node has no such form, its epilogue stays in float64.

use quant_core::Rounding;

use crate::epilogue::{Add, Clamp, Epilogue, lengthen};

/// A node's constants.
#[derive(Clone, Debug)]
pub(crate) struct Shifted {
    /// Bits that sums are shifted to the left first.
    pub before: i32,
    /// `f` of each channel, and longer by a vector, as all of these.
    pub factor: Vec<i32>,
    /// `c`.
    pub addend: Vec<i32>,
    /// `n - 32`.
    pub shift: Vec<i32>,
    pub sum: Option<Sum>,
}

/// The constants of an addition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// The ends of `v`.
    pub first: [i32; 2],
    /// `a_low` in the lower half, `b_low` in the upper one.
    pub low: i32,
    /// `a_high` and `b_high` likewise.
    pub high: i32,
    pub low_addend: i32,
    pub high_addend: i32,
    /// `n - 16`.
    pub shift: i32,
}

/// What (1) and (2) need to know besides the epilogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// No sum with its bias is larger in magnitude.
    pub largest: f64,
    /// The stored zero point of the result.
    pub zero: i32,
    /// That of what is added.
    pub add_zero: i32,
}

/// Where (1) takes the product of two mantissas apart.
const HALF: i32 = 32;
/// Results of up to so many bits are not clamped.
const RESULT_BITS: i32 = 9;
/// The largest distance of a code from its zero point, and of the ends of `v`.
const FARTHEST: i64 = 255;

impl Shifted {
    /// The same arithmetic as `epilogue`, if it has this form in every channel.
    pub fn new(epilogue: &Epilogue, stored: Stored) -> Option<Self> {
        if epilogue.rounding != Rounding::HalfEven || epilogue.has_offset || epilogue.is_real {
            return None;
        }
        let sum = match (epilogue.add, epilogue.first) {
            (None, _) => None,
            (Some(add), Some(first)) => Some(Sum::new(add, first, stored)?),
            (Some(_), None) => return None,
        };
        let zero = if sum.is_some() { 0 } else { stored.zero };
        let channels = |before: i32| -> Option<(i32, Vec<[i32; 3]>)> {
            let multipliers = epilogue.multiplier.iter();
            let channels = multipliers.map(|&m| channel((m, before), stored.largest, zero));
            Some((before, channels.collect::<Option<_>>()?))
        };
        let (before, channels) = (0..=STEEPEST).find_map(channels)?;
        let column = |i: usize| {
            let mut column: Vec<i32> = channels.iter().map(|c| c[i]).collect();
            lengthen(&mut column);
            column
        };
        Some(Self {
            before,
            factor: column(0),
            addend: column(1),
            shift: column(2),
            sum,
        })
    }
}

/// The most bits that sums are shifted to the left: multipliers below 2^6.
const STEEPEST: i32 = 8;

/// Factor, addend and shift of a channel with the multiplier `m`, whose sums are shifted to the left by `before` bits.
fn channel((m, before): (f64, i32), largest: f64, zero: i32) -> Option<[i32; 3]> {
    let (odd, n) = whole(m)?;
    // No sum in the middle between two integers that are not clamped alike.
    let has_middle = largest >= 2f64.powi(n - 1) && odd.abs() <= 2 * FARTHEST;
    if odd != 0 && (n < 1 || has_middle) {
        return None;
    }
    // No error in float64 below the clamp.
    if n + RESULT_BITS > f64::MANTISSA_DIGITS as i32 {
        return None;
    }
    let (n, largest) = (n + before, largest * 2f64.powi(before));
    let up = (HALF + 1 - n).max(0);
    let n = n + up;
    let factor = i32::try_from(odd.checked_mul(1_i64.checked_shl(up as u32)?)?).ok()?;
    let addend = (1_i64 << (n - HALF - 1)) + (i64::from(zero) << (n - HALF));
    let high = largest * f64::from(factor).abs() / 2f64.powi(HALF);
    let end = f64::from(i32::MAX);
    if largest >= end || high + addend.abs() as f64 + 1.0 >= end {
        return None;
    }
    Some([factor, addend as i32, n - HALF])
}

impl Sum {
    fn new(add: Add, first: Clamp, stored: Stored) -> Option<Self> {
        const BITS: i32 = 16;
        let ((own, own_n), (other, other_n)) = (whole(add.own)?, whole(add.other)?);
        let n = own_n.max(other_n).max(BITS + 1);
        if n >= 2 * BITS + 16 {
            return None;
        }
        let up = |odd: i64, by: i32| {
            let factor = odd.checked_mul(1_i64.checked_shl(by as u32)?)?;
            // Two signed halves.
            let low = i64::from(factor as i16);
            let high = i16::try_from((factor - low) >> BITS).ok()?;
            Some((factor, low as i16, high))
        };
        let (a, a_low, a_high) = up(own, n - own_n)?;
        let (b, b_low, b_high) = up(other, n - other_n)?;
        let [zero, add_zero] = [stored.zero, stored.add_zero].map(i64::from);
        let first = [first.low as i32, first.high as i32];
        let rest = (1_i64 << (n - 1)) + (zero << n) - add_zero * b;
        let (low_addend, high_addend) = (rest & 0xffff, rest >> BITS);
        // What is added to it stays below 2^25.
        if high_addend.abs() >= 1 << 30 {
            return None;
        }
        let middle = 1_i64 << (n - 1);
        let is_middle = |v: i32, q: i64| {
            let sum = i64::from(v) * a + (q - add_zero) * b;
            sum.rem_euclid(2 * middle) == middle
        };
        if first.iter().any(|&end| i64::from(end).abs() > FARTHEST)
            || (first[0]..=first[1]).any(|v| (0..=255).any(|q| is_middle(v, q)))
        {
            return None;
        }
        let pair = |own: i16, other: i16| i32::from(own) & 0xffff | i32::from(other) << BITS;
        Some(Self {
            first,
            low: pair(a_low, b_low),
            high: pair(a_high, b_high),
            low_addend: low_addend as i32,
            high_addend: high_addend as i32,
            shift: n - BITS,
        })
    }
}

/// `(f, n)` with `value = f 2^-n` and `f` odd, or 0.
fn whole(value: f64) -> Option<(i64, i32)> {
    if value == 0.0 {
        return Some((0, 0));
    }
    if !value.is_normal() {
        return None;
    }
    const FRACTION: i32 = f64::MANTISSA_DIGITS as i32 - 1;
    let bits = value.to_bits();
    let exponent = (bits >> FRACTION & 0x7ff) as i32;
    let mantissa = (bits & ((1 << FRACTION) - 1) | 1 << FRACTION) as i64;
    let zeros = mantissa.trailing_zeros() as i32;
    let odd = mantissa >> zeros;
    let n = 1023 + FRACTION - exponent - zeros;
    Some((if value < 0.0 { -odd } else { odd }, n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epilogue::align;

    impl Shifted {
        /// (1), and (2) with the stored code added.
        fn single(&self, s: i32, channel: usize, q: i32, ends: [i32; 2]) -> i32 {
            let h = (i64::from(s << self.before) * i64::from(self.factor[channel])) >> 32;
            let v = (h as i32 + self.addend[channel]) >> self.shift[channel];
            let Some(sum) = self.sum else {
                return v.clamp(ends[0], ends[1]);
            };
            let v = v.clamp(sum.first[0], sum.first[1]);
            let products = |pair: i32| v * i32::from(pair as i16) + q * (pair >> 16);
            let low = products(sum.low) + sum.low_addend;
            let high = products(sum.high) + sum.high_addend;
            ((high + (low >> 16)) >> sum.shift).clamp(ends[0], ends[1])
        }
    }

    fn epilogue(multiplier: f64, add: Option<(Add, Clamp)>, last: Clamp) -> Epilogue {
        Epilogue {
            bias: vec![0.0; 17],
            multiplier: vec![multiplier; 17],
            offset: vec![0.0; 17],
            has_offset: false,
            first: add.map(|add| add.1),
            add: add.map(|add| add.0),
            last: Some(last),
            is_real: false,
            ends: last,
            rounding: Rounding::HalfEven,
        }
    }

    fn fixed(m: f64) -> f64 {
        quant_core::FixedPoint::exact(m).unwrap().value()
    }

    /// Multipliers of every magnitude, with mantissas at both ends and between.
    fn multipliers() -> impl Iterator<Item = f64> {
        let mantissas = [0.500_000_000_3, 0.512_345_678_9, 0.7, 0.999_999_999_7];
        (-6..31).flat_map(move |k| mantissas.map(|m| fixed(m * 2f64.powi(-k))))
    }

    /// Every code's first and last sum: between them both functions stand still, because both rise with the sum.
    fn edges(largest: i32, code: impl Fn(i32) -> i32) -> Vec<i32> {
        let mut edges = vec![-largest, largest];
        for wanted in code(-largest)..code(largest) {
            let (mut low, mut high) = (-i64::from(largest), i64::from(largest));
            while high - low > 1 {
                let middle = (low + high).div_euclid(2);
                match code(middle as i32) > wanted {
                    true => high = middle,
                    false => low = middle,
                }
            }
            edges.extend([low as i32, high as i32]);
        }
        edges
    }

    #[test]
    fn every_sum_has_the_code_that_float64_gives_it() {
        let mut forms = 0;
        // Those with few digits have sums in the middle, too, all of which are clamped.
        let few = [(511, 17), (513, 12), (1189, 17), (875, 20), (18_087, 25)];
        let few = few.map(|(odd, n)| f64::from(odd) * 2f64.powi(-n));
        for m in multipliers().chain(few).flat_map(|m| [m, -m]) {
            for (largest, zero) in [(70_000, 3), (5_000_000, 128), (1 << 30, 255)] {
                let stored = Stored {
                    largest: f64::from(largest),
                    zero,
                    add_zero: 0,
                };
                let last = Clamp {
                    low: f64::from(-zero),
                    high: f64::from(255 - zero),
                };
                let epilogue = epilogue(m, None, last);
                let Some(shifted) = Shifted::new(&epilogue, stored) else {
                    continue;
                };
                forms += 1;
                let sign = m.signum() as i32;
                let exact = |s: i32| epilogue.single((sign * s).into(), 0, 0.0) as i32 + zero;
                let own = |s: i32| shifted.single(sign * s, 0, 0, [0, 255]);
                for s in edges(largest, exact).into_iter().chain(edges(largest, own)) {
                    assert_eq!(own(s), exact(s), "{s} times {m:e}, zero {zero}");
                }
            }
        }
        // Steep multipliers of large sums and flat ones of small sums have none.
        assert!(forms > 400, "{forms}");
    }

    #[test]
    fn every_pair_of_summands_has_the_code_that_float64_gives_it() {
        let scales = [0.731_234_567, 0.500_001, 0.031_415_926, 1.0, 1.914_213_5];
        let first = Clamp {
            low: -100.0,
            high: 155.0,
        };
        let last = Clamp {
            low: -7.0,
            high: 200.0,
        };
        let stored = Stored {
            largest: 100_000.0,
            zero: 10,
            add_zero: 77,
        };
        for (own, other) in scales.into_iter().flat_map(|a| scales.map(|b| (a, b))) {
            // The first rounding takes every value in between.
            let epilogue = epilogue(fixed(0.0031), Some((align(own, other), first)), last);
            let shifted = Shifted::new(&epilogue, stored).unwrap();
            for s in (-40_000..60_000).step_by(319) {
                for q in 0..256 {
                    let exact = epilogue.single(s.into(), 0, (q - 77).into()) as i32 + 10;
                    assert_eq!(shifted.single(s, 0, q, [3, 210]), exact, "{s} {q}");
                }
            }
        }
    }

    #[test]
    fn what_lies_in_the_middle_between_two_codes_has_no_such_form() {
        let stored = Stored {
            largest: 1000.0,
            zero: 0,
            add_zero: 0,
        };
        let last = Clamp {
            low: 0.0,
            high: 255.0,
        };
        // 2^-9 times 256; 2^-11 times 1024, which no sum is.
        let form = |m: f64, add| Shifted::new(&epilogue(m, add, last), stored);
        assert!(form(2f64.powi(-9), None).is_none());
        assert!(form(2f64.powi(-11), None).is_some());
        // 509 halves are a code's distance from its zero point, 511 halves none.
        assert!(form(509.0 * 2f64.powi(-9), None).is_none());
        assert!(form(511.0 * 2f64.powi(-9), None).is_some());
        let add = |own: f64| {
            let other = 1.0;
            Some((Add { own, other }, last))
        };
        assert!(form(fixed(0.003), add(0.5)).is_none());
        assert!(form(fixed(0.003), add(1.0)).is_some());
    }

    #[test]
    fn a_float_is_an_odd_number_and_a_power_of_two() {
        for value in [1.0, -0.75, 3e-7, 123_456.0, f64::MIN_POSITIVE] {
            let (odd, n) = whole(value).unwrap();
            assert!(odd % 2 != 0);
            assert_eq!(odd as f64 * 2f64.powi(-n), value);
        }
        assert_eq!(whole(0.0), Some((0, 0)));
        assert!(whole(f64::NAN).is_none() && whole(f64::INFINITY).is_none());
    }
}
