//! The epilogue of quantized graphs in registers of float64: the lines of `epilogue.rs`, for neighbouring channels.
//!
//! Products and sums are rounded one by one, never fused, so that every instruction set gives the same bits.

use quant_core::Rounding;

use crate::epilogue::{Clamp, Epilogue};
use crate::kernel::VECTOR;

/// Registers that together hold a double for each lane of a kernel.
///
/// # Safety
/// As for [`crate::kernel::Lanes`].
pub(crate) trait Doubles: Copy + Sized + 'static {
    type D: Copy;

    unsafe fn splat(x: f64) -> Self::D;
    unsafe fn load(from: *const f64) -> Self::D;
    unsafe fn store(to: *mut f64, x: Self::D);
    unsafe fn add(x: Self::D, y: Self::D) -> Self::D;
    unsafe fn multiply(x: Self::D, y: Self::D) -> Self::D;
    /// To the nearest integer, half to even.
    unsafe fn round(x: Self::D) -> Self::D;
    /// `max(x, floor)`; a NaN in `x` stays.
    unsafe fn at_least(x: Self::D, floor: Self::D) -> Self::D;
    /// `min(x, ceiling)`; a NaN in `x` stays.
    unsafe fn at_most(x: Self::D, ceiling: Self::D) -> Self::D;
}

/// Doubles in plain Rust.
#[derive(Clone, Copy)]
pub(crate) struct Array<const LANES: usize>;

impl<const LANES: usize> Doubles for Array<LANES> {
    type D = [f64; LANES];

    #[inline(always)]
    unsafe fn splat(x: f64) -> [f64; LANES] {
        [x; LANES]
    }
    // SAFETY, for the next two: the caller's pointers reach.
    #[inline(always)]
    unsafe fn load(from: *const f64) -> [f64; LANES] {
        unsafe { from.cast::<[f64; LANES]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f64, x: [f64; LANES]) {
        unsafe { to.cast::<[f64; LANES]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(x: [f64; LANES], y: [f64; LANES]) -> [f64; LANES] {
        std::array::from_fn(|i| x[i] + y[i])
    }
    #[inline(always)]
    unsafe fn multiply(x: [f64; LANES], y: [f64; LANES]) -> [f64; LANES] {
        std::array::from_fn(|i| x[i] * y[i])
    }
    #[inline(always)]
    unsafe fn round(x: [f64; LANES]) -> [f64; LANES] {
        x.map(half_even)
    }
    #[inline(always)]
    unsafe fn at_least(x: [f64; LANES], floor: [f64; LANES]) -> [f64; LANES] {
        std::array::from_fn(|i| if x[i] < floor[i] { floor[i] } else { x[i] })
    }
    #[inline(always)]
    unsafe fn at_most(x: [f64; LANES], ceiling: [f64; LANES]) -> [f64; LANES] {
        std::array::from_fn(|i| if x[i] > ceiling[i] { ceiling[i] } else { x[i] })
    }
}

impl Epilogue {
    /// `q - zero_point` of the result before a last rounding half to even (which changes nothing where another rule has
    /// rounded), or the real result, from sums of neighbouring channels from `channel` on, each with its bias. `other` is
    /// `q_add - zero_point`, or the real value added, and means nothing where nothing is added. Without `CLAMP` the result's
    /// own clamp is left to the caller, who does it behind the rounding.
    ///
    /// # Safety
    /// The caller is compiled for the registers, and [`Epilogue::covers`] the channels.
    #[inline(always)]
    pub unsafe fn apply<W: Doubles, const CLAMP: bool>(
        &self,
        sums: W::D,
        channel: usize,
        other: W::D,
    ) -> W::D {
        // SAFETY: whole vectors can be read (`covers`).
        unsafe {
            let at = |values: &[f64]| W::load(values.as_ptr().add(channel));
            let mut v = W::multiply(sums, at(&self.multiplier));
            if self.has_offset {
                v = W::add(v, at(&self.offset));
            }
            if let Some(add) = self.add {
                if let Some(clamp) = self.first {
                    v = W::round(self.clamp::<W>(v, clamp));
                }
                let own = W::multiply(v, W::splat(add.own));
                v = W::add(own, W::multiply(other, W::splat(add.other)));
            }
            if let (Some(clamp), true) = (self.last, CLAMP) {
                v = self.clamp::<W>(v, clamp);
            }
            if self.is_real {
                v = W::at_least(v, W::splat(self.ends.low));
                v = W::at_most(v, W::splat(self.ends.high));
            }
            v
        }
    }

    /// Between the ends, which are integers, so that the order of clamp and rounding does not matter.
    #[inline(always)]
    unsafe fn clamp<W: Doubles>(&self, v: W::D, clamp: Clamp) -> W::D {
        // SAFETY: the caller's promise.
        unsafe {
            let v = match self.rounding {
                Rounding::HalfEven => v,
                other => {
                    let mut values = [0.0; VECTOR];
                    W::store(values.as_mut_ptr(), v);
                    round_otherwise(&mut values, other);
                    W::load(values.as_ptr())
                }
            };
            W::at_most(W::at_least(v, W::splat(clamp.low)), W::splat(clamp.high))
        }
    }

    /// One result: [`Epilogue::apply`] for `channel` alone, rounded where it has codes.
    pub fn single(&self, sum: f64, channel: usize, other: f64) -> f64 {
        assert!(channel < self.bias.len());
        // SAFETY: plain arithmetic on one channel that is there.
        let [v] = unsafe { self.apply::<Array<1>, true>([sum], channel, [other]) };
        if self.is_real { v } else { half_even(v) }
    }

    /// [`Epilogue::single`] for an identity's input and what it adds, given with what makes `q - zero_point` of them.
    /// Eight at a time, in plain Rust: the compiler finds registers for them.
    pub fn each<T: Copy>(
        &self,
        (own, value): (&[T], impl Fn(T) -> f64),
        (others, other): (Option<&[T]>, impl Fn(T) -> f64),
        out: &mut [T],
        result: impl Fn(f64) -> T,
    ) {
        assert!(self.covers(1), "the constants fill a vector");
        // Not asked for where nothing is added.
        let others = others.unwrap_or(own);
        let blocks = own.as_chunks::<BLOCK>();
        let other_blocks = others.as_chunks::<BLOCK>();
        let out_blocks = out.as_chunks_mut::<BLOCK>();
        let finished = |v: f64| if self.is_real { v } else { half_even(v) };
        for ((own, others), out) in blocks.0.iter().zip(other_blocks.0).zip(out_blocks.0) {
            let others = match self.add {
                Some(_) => others.map(&other),
                None => [0.0; BLOCK],
            };
            // SAFETY: plain arithmetic; a block of the constants is there, and an identity's are the same in each lane.
            let v = unsafe { self.apply::<Array<BLOCK>, true>(own.map(&value), 0, others) };
            *out = v.map(|v| result(finished(v)));
        }
        for ((&own, &others), out) in blocks.1.iter().zip(other_blocks.1).zip(out_blocks.1) {
            *out = result(self.single(value(own), 0, other(others)));
        }
    }
}

/// Values that [`Epilogue::each`] takes at once.
const BLOCK: usize = 8;
const _: () = assert!(BLOCK <= VECTOR);

/// To the nearest integer, half to even, as [`f64::round_ties_even`], which calls the C library on processors that may
/// lack an instruction for it: a sum of 2^52 or more has no room for a fraction.
#[inline(always)]
fn half_even(x: f64) -> f64 {
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let magnitude = x.abs();
    let rounded = if magnitude < WHOLE {
        (magnitude + WHOLE) - WHOLE
    } else {
        magnitude
    };
    rounded.copysign(x)
}

/// The rarer rules, apart from the code that runs every time.
#[inline(never)]
fn round_otherwise(values: &mut [f64], rounding: Rounding) {
    for value in values {
        *value = match rounding {
            Rounding::HalfAway => value.round(),
            Rounding::Floor => value.floor(),
            Rounding::HalfEven | Rounding::Stochastic { .. } => value.round_ties_even(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_without_the_c_library_is_the_same_rounding() {
        let edges = [
            0.0,
            0.5,
            1.5,
            2.5,
            0.499_999_999_999_999_94,
            4_503_599_627_370_495.5,
            4_503_599_627_370_496.0,
            9_007_199_254_740_993.0,
            1e300,
            f64::MIN_POSITIVE,
            f64::INFINITY,
        ];
        let steps = (-4000..4000).map(|i| f64::from(i) / 16.0);
        for x in steps.chain(edges).flat_map(|x| [x, -x]) {
            assert_eq!(half_even(x).to_bits(), x.round_ties_even().to_bits(), "{x}");
        }
        assert!(half_even(f64::NAN).is_nan());
    }
}
