//! Integers alone: activations u8, weights i8, sums i32.
//!
//! A code is stored as `u = q - base` with `base` -128 for codes that fit i8 and 0 for codes that fit u8, so that one
//! kind of kernel serves both. A convolution sums `u * w`; what the zero point adds to that is the same for every pixel,
//! because the border holds zero points too, and is taken out through the bias:
//!
//! ```text
//! sum (u - z) * w = sum u * w - z * sum w
//! ```
//!
//! The accumulator is exact, or ([`Accumulator::Saturating16`]) adds the products of neighbouring pairs of inputs in 16 bits
//! with saturation first, as AVX2's `vpmaddubsw` does. Pairs are counted within each run of neighbouring inputs, filled up
//! to fours, the same for every instruction set.

use std::marker::PhantomData;

use crate::epilogue::Epilogue;
use crate::gemmlowp::Gemmlowp;
use crate::kernel::doubles::Doubles;
use crate::kernel::tile::{
    Added, DepthwiseFn, PanelFn, Rows, added_covers, finish_each, place, prefetch_added, unrolled,
};
use crate::kernel::{Arithmetic, At, Isa, Kernels, Lanes, VECTOR};
use crate::ort::OnnxRuntime;
use crate::shifted::{Shifted, Sum};

/// u8 times i8, summed in i32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer;

/// How products are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accumulator {
    /// In 32 bits, exactly.
    Wide,
    /// In pairs in 16 bits with saturation, then in 32 bits.
    Saturating16,
}

quant_core::words!(Accumulator, "accumulator": Wide = "int32", Saturating16 = "saturating16");

/// The epilogue's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntegerPost<'a> {
    pub rule: &'a Rule,
    pub add: Added<'a, u8>,
}

/// How sums become codes.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub arithmetic: RuleArithmetic,
    /// What sums begin at, per channel: the bias without what the input's zero point adds to the sum; longer by a vector.
    pub bias: Vec<i32>,
    /// Whether no scaled sum comes near the ends of 32 bits, so that it can be clamped as an integer.
    pub fits: bool,
    /// The same arithmetic in 32-bit registers, where it has that form.
    pub shifted: Option<Shifted>,
    /// The result's smallest and largest stored code, behind a ReLU if there is one.
    pub low: i32,
    pub high: i32,
    /// The stored form of the result's zero point, and of the added value's.
    pub zero: i32,
    pub add_zero: i32,
}

/// One rounding, gemmlowp's two, or ONNX Runtime's in float32.
#[derive(Clone, Debug)]
pub(crate) enum RuleArithmetic {
    Once(Epilogue),
    Gemmlowp(Gemmlowp),
    OnnxRuntime(OnnxRuntime),
}

/// Steps of four products in one chunk: as many bytes as a chunk of floats.
const CHUNK: usize = 288;
/// Inputs that one multiplication takes.
const STEP: usize = 4;
/// Taps that one multiplication of a depthwise convolution takes. None of its products is next to another in [`Accumulator`]'s sense, and
/// one alone fits 16 bits: with saturation and without, the sums are the same.
const TAPS: usize = 2;

impl Arithmetic for Integer {
    type In = u8;
    type Weight = i8;
    type Sum = i32;
    type Post<'a> = IntegerPost<'a>;

    fn adds(post: &IntegerPost<'_>) -> bool {
        post.add.is_some()
    }

    fn covers(post: &IntegerPost<'_>, pixels: usize, channels: usize) -> bool {
        let (covers, adds) = match &post.rule.arithmetic {
            RuleArithmetic::Once(epilogue) => (epilogue.covers(channels), epilogue.add.is_some()),
            RuleArithmetic::Gemmlowp(gemmlowp) => (gemmlowp.covers(channels), gemmlowp.adds()),
            RuleArithmetic::OnnxRuntime(ort) => (ort.covers(channels), ort.adds()),
        };
        let long = |values: &Vec<i32>| values.len() >= channels + VECTOR;
        let shifted = post.rule.shifted.as_ref().is_none_or(|shifted| {
            let Shifted {
                factor,
                addend,
                shift,
                sum,
                ..
            } = shifted;
            [factor, addend, shift].into_iter().all(long) && sum.is_some() == adds
        });
        long(&post.rule.bias)
            && covers
            && shifted
            && adds == post.add.is_some()
            && added_covers(post.add, pixels, channels)
    }
}

impl Rule {
    /// The stored code of one result; `sum` has its bias.
    pub fn single(&self, sum: i32, channel: usize, other: Option<u8>) -> u8 {
        let other = other.map(|u| i32::from(u) - self.add_zero);
        let value = match &self.arithmetic {
            RuleArithmetic::Once(epilogue) => {
                epilogue.single(sum.into(), channel, other.unwrap_or(0).into()) as i32
            }
            RuleArithmetic::Gemmlowp(gemmlowp) => gemmlowp.apply(sum, channel, other),
            RuleArithmetic::OnnxRuntime(ort) => ort.apply(sum, channel, other),
        };
        (value + self.zero) as u8
    }

    /// The stored codes of an identity's results, from those of its input (whose zero is given) and of what it adds.
    pub fn combine(&self, (own, zero): (&[u8], u8), added: Option<&[u8]>, out: &mut [u8]) {
        let zero = i32::from(zero);
        match &self.arithmetic {
            RuleArithmetic::Once(epilogue) => epilogue.each(
                (own, |u| f64::from(i32::from(u) - zero)),
                (added, |u| f64::from(i32::from(u) - self.add_zero)),
                out,
                |v| (v as i32 + self.zero) as u8,
            ),
            RuleArithmetic::Gemmlowp(_) | RuleArithmetic::OnnxRuntime(_) => {
                for (i, (out, &u)) in out.iter_mut().zip(own).enumerate() {
                    *out = self.single(i32::from(u) - zero, 0, added.map(|added| added[i]));
                }
            }
        }
    }

    /// The rarer rule, apart from the code that runs every time.
    #[inline(never)]
    fn each(&self, sums: &[i32], channel: usize, others: Option<&[u8]>, out: &mut [u8]) {
        for (i, (&sum, out)) in sums.iter().zip(out).enumerate() {
            *out = self.single(sum, channel + i, others.map(|others| others[i]));
        }
    }
}

/// The registers of an instruction set that hold integers.
///
/// # Safety
/// As for [`Lanes`].
pub(super) trait Integers: Copy + Sized + 'static {
    /// `LANES` times an i32.
    type Register: Copy;
    /// `LANES` times four weights or inputs.
    type Fours: Copy;
    /// `LANES` times two weights or inputs.
    type Pairs: Copy;
    const LANES: usize;

    unsafe fn zero() -> Self::Register;
    unsafe fn load(from: *const i32) -> Self::Register;
    unsafe fn store(to: *mut i32, x: Self::Register);
    /// The same in every lane.
    unsafe fn splat(x: i32) -> Self::Register;
    /// `LANES` bytes, each extended to a lane with zeros.
    unsafe fn extend_unsigned(from: *const u8) -> Self::Register;
    /// Weights, four for each lane.
    unsafe fn weight_fours(from: *const i8) -> Self::Fours;
    /// Four inputs, the same in every lane.
    unsafe fn input_fours(from: *const u8) -> Self::Fours;
    /// In each lane, to `sums` the four products of inputs `u` and weights `w`.
    unsafe fn dot_fours(sums: Self::Register, u: Self::Fours, w: Self::Fours) -> Self::Register;
    /// Weights, two for each lane.
    unsafe fn weight_pairs(from: *const i8) -> Self::Pairs;
    /// For each lane an input from `first` and one from `last`.
    unsafe fn input_pairs(first: *const u8, last: *const u8) -> Self::Pairs;
    /// In each lane, to `sums` the two products of inputs `u` and weights `w`, exactly.
    unsafe fn dot_pairs(sums: Self::Register, u: Self::Pairs, w: Self::Pairs) -> Self::Register;

    /// As many doubles as a register has lanes.
    type Wide: Doubles;
    unsafe fn widen(x: Self::Register) -> <Self::Wide as Doubles>::D;
    /// Each rounded to the nearest integer, half to even.
    unsafe fn narrow(x: <Self::Wide as Doubles>::D) -> Self::Register;
    /// `x + y` modulo 2^32, lane by lane.
    unsafe fn add(x: Self::Register, y: Self::Register) -> Self::Register;
    /// `min(max(x, low), high)`, lane by lane.
    unsafe fn clamp(x: Self::Register, low: Self::Register, high: Self::Register)
    -> Self::Register;
    /// The lowest byte of each lane.
    unsafe fn store_bytes(to: *mut u8, x: Self::Register);

    /// Whether the functions below are for use; elsewhere epilogues are in doubles.
    const SHIFTS: bool;
    /// `x << by`, lane by lane.
    #[inline(always)]
    unsafe fn shift_left(x: Self::Register, by: i32) -> Self::Register {
        // SAFETY: an array as long as the widest register.
        unsafe { Self::load(array::<Self>(x).map(|x| x << by).as_ptr()) }
    }
    /// Equation (1) of `shifted.rs` before the clamp, for sums shifted already.
    #[inline(always)]
    unsafe fn scaled(sums: Self::Register, by: &Constants<Self>) -> Self::Register {
        // SAFETY: arrays as long as the widest register.
        unsafe {
            let mut lanes = array::<Self>(sums);
            let [factor, addend, shift] =
                [by.factor, by.addend, by.shift].map(|x| array::<Self>(x));
            for i in 0..Self::LANES {
                let high = (i64::from(lanes[i]) * i64::from(factor[i])) >> 32;
                lanes[i] = (high as i32 + addend[i]) >> shift[i];
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// Up to `LANES` codes, as many as there are, each in a lane.
    #[inline(always)]
    unsafe fn extend_some(from: *const u8, count: usize) -> Self::Register {
        // SAFETY: `count` codes are there; no register has more lanes than the array.
        unsafe {
            if count >= Self::LANES {
                return Self::extend_unsigned(from);
            }
            let mut some = [0; VECTOR];
            from.copy_to_nonoverlapping(some.as_mut_ptr(), count);
            Self::extend_unsigned(some.as_ptr())
        }
    }
    /// Equation (2) before the clamp, for `v` between its ends and the stored codes added.
    #[inline(always)]
    unsafe fn summed(v: Self::Register, q: Self::Register, sum: &Sum) -> Self::Register {
        // SAFETY: arrays as long as the widest register.
        unsafe {
            let (mut lanes, q) = (array::<Self>(v), array::<Self>(q));
            for (v, q) in lanes.iter_mut().zip(q) {
                let products = |pair: i32| *v * i32::from(pair as i16) + q * (pair >> 16);
                let low = products(sum.low) + sum.low_addend;
                *v = (products(sum.high) + sum.high_addend + (low >> 16)) >> sum.shift;
            }
            Self::load(lanes.as_ptr())
        }
    }
    /// Codes between the ends `low` and `high`, `count` each of two pixels whose channels are in two registers.
    #[inline(always)]
    unsafe fn store_pairs(
        codes: [[Self::Register; 2]; 2],
        ends: [i32; 2],
        to: [*mut u8; 2],
        count: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..2 {
                let rest = count.min(Self::LANES);
                store_some::<Self>(codes[i][0], ends, to[i], rest);
                store_some::<Self>(codes[i][1], ends, to[i].add(rest), count - rest);
            }
        }
    }
    /// The same of four pixels whose channels are in one register.
    #[inline(always)]
    unsafe fn store_singles(
        codes: [Self::Register; 4],
        ends: [i32; 2],
        to: [*mut u8; 4],
        count: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            for i in 0..4 {
                store_some::<Self>(codes[i], ends, to[i], count);
            }
        }
    }
}

/// A register's lanes.
#[inline(always)]
unsafe fn array<I: Integers>(x: I::Register) -> [i32; VECTOR] {
    let mut lanes = [0; VECTOR];
    // SAFETY: no register is longer.
    unsafe { I::store(lanes.as_mut_ptr(), x) };
    lanes
}

/// The first `count` codes of a register.
#[inline(always)]
unsafe fn store_some<I: Integers>(codes: I::Register, ends: [i32; 2], to: *mut u8, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let lanes = array::<I>(codes);
        for (i, code) in lanes.into_iter().enumerate().take(count) {
            *to.add(i) = code.clamp(ends[0], ends[1]) as u8;
        }
    }
}

/// What [`Shifted`] has for the channels of a register.
#[derive(Clone, Copy)]
pub(super) struct Constants<I: Integers> {
    pub factor: I::Register,
    /// Each lane's next one: processors multiply every other lane.
    pub next: I::Register,
    pub addend: I::Register,
    pub shift: I::Register,
}

impl<I: Integers> Constants<I> {
    #[inline(always)]
    unsafe fn load(from: &Shifted, channel: usize) -> Self {
        // SAFETY: a whole vector behind each channel can be read (`covers`).
        unsafe {
            let factor = from.factor.as_ptr().add(channel);
            Self {
                factor: I::load(factor),
                next: I::load(factor.add(1)),
                addend: I::load(from.addend.as_ptr().add(channel)),
                shift: I::load(from.shift.as_ptr().add(channel)),
            }
        }
    }
}

/// The sums of neighbouring pixels to codes, all of them in registers.
///
/// SAFETY: as for [`Lanes::finish_rows`]; the rule has a [`Shifted`].
#[inline(always)]
unsafe fn finish_shifted<I: Integers, const ROWS: usize, const V: usize>(
    (post, shifted): (&IntegerPost<'_>, &Shifted),
    mut sums: [[I::Register; V]; ROWS],
    rows: &Rows<'_, u8>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let rule = post.rule;
        unrolled!(W < V, {
            let by = Constants::<I>::load(shifted, rows.channel + W * I::LANES);
            if shifted.before != 0 {
                unrolled!(R < ROWS, {
                    sums[R][W] = I::shift_left(sums[R][W], shifted.before);
                });
            }
            unrolled!(R < ROWS, {
                sums[R][W] = I::scaled(sums[R][W], &by);
            });
        });
        if let (Some(sum), Some((map, places))) = (&shifted.sum, post.add) {
            let [low, high] = sum.first.map(|end| I::splat(end));
            unrolled!(R < ROWS, {
                let from = map
                    .as_ptr()
                    .add(place(places, rows.pixel + R) + rows.channel);
                unrolled!(W < V, {
                    let before = W * I::LANES;
                    let q = I::extend_some(from.add(before), rows.channels - before);
                    sums[R][W] = I::summed(I::clamp(sums[R][W], low, high), q, sum);
                });
            });
        }
        let ends = [rule.low, rule.high];
        let count = rows.channels;
        if V == 2 {
            unrolled!(R < ROWS, {
                if R.is_multiple_of(2) {
                    // A last one without a neighbour is stored twice.
                    let next = if R + 1 < ROWS { R + 1 } else { R };
                    let codes = [
                        [sums[R][0], sums[R][V - 1]],
                        [sums[next][0], sums[next][V - 1]],
                    ];
                    I::store_pairs(codes, ends, [rows.out(R), rows.out(next)], count);
                }
            });
        } else {
            unrolled!(R < ROWS, {
                if R.is_multiple_of(4) {
                    let b = if R + 1 < ROWS { R + 1 } else { R };
                    let c = if R + 2 < ROWS { R + 2 } else { R };
                    let d = if R + 3 < ROWS { R + 3 } else { R };
                    let to = [rows.out(R), rows.out(b), rows.out(c), rows.out(d)];
                    unrolled!(W < V, {
                        let before = W * I::LANES;
                        let codes = [sums[R][W], sums[b][W], sums[c][W], sums[d][W]];
                        let to = to.map(|to| to.add(before));
                        I::store_singles(codes, ends, to, (count - before).min(I::LANES));
                    });
                }
            });
        }
    }
}

/// An instruction set's integer registers, put to this use.
#[derive(Clone, Copy)]
pub(super) struct Whole<I>(PhantomData<I>);

impl<I: Integers> Lanes for Whole<I> {
    type Of = Integer;
    type Acc = I::Register;
    type Factor = I::Fours;
    const LANES: usize = I::LANES;
    const STEP: usize = STEP;
    const TAPS: usize = TAPS;
    type Apart = I::Pairs;
    const WRITTEN_OUT: usize = 1;
    const AHEAD: bool = false;
    const BY_ROWS: bool = I::SHIFTS;

    // SAFETY, for all of these: they only pass on what the caller promises.
    #[inline(always)]
    unsafe fn zero() -> I::Register {
        unsafe { I::zero() }
    }
    #[inline(always)]
    unsafe fn begin(post: &IntegerPost<'_>, channel: usize) -> I::Register {
        // SAFETY: a whole vector can be read (`covers`).
        unsafe { I::load(post.rule.bias.as_ptr().add(channel)) }
    }
    #[inline(always)]
    unsafe fn resume(from: *const i32) -> I::Register {
        unsafe { I::load(from) }
    }
    #[inline(always)]
    unsafe fn pause(to: *mut i32, sums: I::Register, _: bool) {
        unsafe { I::store(to, sums) }
    }
    #[inline(always)]
    unsafe fn weights(from: *const i8) -> I::Fours {
        unsafe { I::weight_fours(from) }
    }
    #[inline(always)]
    unsafe fn weights_apart(from: *const i8) -> I::Pairs {
        unsafe { I::weight_pairs(from) }
    }
    #[inline(always)]
    unsafe fn spread(from: *const u8) -> I::Fours {
        unsafe { I::input_fours(from) }
    }
    #[inline(always)]
    unsafe fn inputs(first: *const u8, last: *const u8) -> I::Pairs {
        unsafe { I::input_pairs(first, last) }
    }
    #[inline(always)]
    unsafe fn multiply_add(sums: I::Register, a: I::Fours, b: I::Fours) -> I::Register {
        unsafe { I::dot_fours(sums, a, b) }
    }
    #[inline(always)]
    unsafe fn multiply_apart(sums: I::Register, a: I::Pairs, b: I::Pairs) -> I::Register {
        unsafe { I::dot_pairs(sums, a, b) }
    }
    #[inline(always)]
    unsafe fn is_short(post: &IntegerPost<'_>) -> bool {
        post.rule.fits && post.add.is_none()
    }
    #[inline(always)]
    unsafe fn finish_rows<const ROWS: usize, const V: usize>(
        post: &IntegerPost<'_>,
        sums: [[I::Register; V]; ROWS],
        before: *const i32,
        rows: &Rows<'_, u8>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match &post.rule.shifted {
                Some(shifted) if I::SHIFTS => {
                    finish_shifted::<I, ROWS, V>((post, shifted), sums, rows);
                }
                _ => finish_each::<Self, ROWS, V>(post, sums, before, rows),
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(post: &IntegerPost<'_>, pixel: usize, channel: usize) {
        // SAFETY: there is a place for each output pixel, and the map reaches as far (`covers`).
        unsafe { prefetch_added(post.add, pixel, channel) }
    }
    #[inline(always)]
    unsafe fn finish<const SHORT: bool>(
        post: &IntegerPost<'_>,
        sums: I::Register,
        _: *const i32,
        at: At,
        out: *mut u8,
    ) {
        // SAFETY: as above; there is room for `count` results.
        unsafe {
            let rule = post.rule;
            if let (true, RuleArithmetic::Once(epilogue)) = (SHORT, &rule.arithmetic) {
                // One rounding, 32-bit clamps, nothing added, every channel there.
                let scaled = I::Wide::multiply(
                    I::widen(sums),
                    I::Wide::load(epilogue.multiplier.as_ptr().add(at.channel)),
                );
                let codes = I::add(I::narrow(scaled), I::splat(rule.zero));
                let codes = I::clamp(codes, I::splat(rule.low), I::splat(rule.high));
                I::store_bytes(out, codes);
                return;
            }
            let added = post
                .add
                .map(|(map, places)| map.as_ptr().add(place(places, at.pixel) + at.channel));
            let whole = at.count == I::LANES;
            let epilogue = match &post.rule.arithmetic {
                RuleArithmetic::Once(epilogue) => epilogue,
                RuleArithmetic::Gemmlowp(_) | RuleArithmetic::OnnxRuntime(_) => {
                    let mut lanes = [0; VECTOR];
                    I::store(lanes.as_mut_ptr(), sums);
                    let others = added.map(|from| std::slice::from_raw_parts(from, at.count));
                    let out = std::slice::from_raw_parts_mut(out, at.count);
                    post.rule.each(&lanes[..at.count], at.channel, others, out);
                    return;
                }
            };
            let other = match added {
                Some(from) => {
                    let codes = I::extend_some(from, at.count);
                    I::widen(I::add(codes, I::splat(-post.rule.add_zero)))
                }
                None => I::Wide::splat(0.0),
            };
            let (sums, zero) = (I::widen(sums), I::splat(rule.zero));
            let codes = if rule.fits {
                let result = epilogue.apply::<I::Wide, false>(sums, at.channel, other);
                let codes = I::add(I::narrow(result), zero);
                I::clamp(codes, I::splat(rule.low), I::splat(rule.high))
            } else {
                let result = epilogue.apply::<I::Wide, true>(sums, at.channel, other);
                I::add(I::narrow(result), zero)
            };
            if whole {
                I::store_bytes(out, codes);
            } else {
                let mut some = [0; VECTOR];
                I::store_bytes(some.as_mut_ptr(), codes);
                some.as_ptr().copy_to_nonoverlapping(out, at.count);
            }
        }
    }
}

/// The functions of `isa`, which the processor must have.
pub(crate) fn integer(isa: Isa, accumulator: Accumulator) -> &'static Kernels<Integer> {
    let [wide, saturating] = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => &super::avx512::INTEGER,
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => &super::avx2::INTEGER_VNNI,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Avx2 => &super::avx2::INTEGER,
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => &super::neon::INTEGER,
        _ => &super::portable::INTEGER,
    };
    match accumulator {
        Accumulator::Wide => wide,
        Accumulator::Saturating16 => saturating,
    }
}

/// A table of functions; `panels` for one vector, two vectors, ...
pub(super) const fn kernels(
    lanes: usize,
    rows: usize,
    panels: &'static [PanelFn<Integer>],
    depthwise: DepthwiseFn<Integer>,
) -> Kernels<Integer> {
    Kernels {
        lanes,
        step: STEP,
        taps: TAPS,
        chunk: CHUNK,
        rows,
        panels,
        adding: panels,
        depthwise,
    }
}
