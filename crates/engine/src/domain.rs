//! The three kinds of numbers that a program can compute with, and what each does at the edges of a convolution: how a
//! value enters and leaves, what the border holds, what pools and additions do.

use quant_core::Rounding;

use crate::epilogue::{Epilogue, Multiplier, Surroundings};
use crate::error::Error;
use crate::gemmlowp::Gemmlowp;
use crate::graph::{Clip, Code, Conv, Node, Op, code_error, ends};
use crate::kernel::{
    Accumulator, Added, Algorithm, Arithmetic, Convolution, Convolve, Float32, Geometry, Integer,
    IntegerPost, Isa, Kernels, Kernels3x3, Maps, Post, Rule, RuleArithmetic, Simulated,
    SimulatedPost, VECTOR, Winograd, fits_winograd, float32, integer, simulated,
};
use crate::ort::OnnxRuntime;
use crate::pool::Counts;
use crate::shape::Shape;
use crate::shifted::{Shifted, Stored};

/// How sums become codes in integer execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Requantize {
    /// One rounding of the scaled sum: half to even, half away from zero, or down.
    Once(Rounding),
    /// gemmlowp's and TensorFlow Lite's: two roundings, half away from zero; fixed-point multipliers.
    Gemmlowp,
    /// ONNX Runtime's: one rounding half to even, scaled in float32.
    OnnxRuntime,
}

/// The arithmetic of integer execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IntegerArithmetic {
    /// How scaled sums are rounded.
    pub requantize: Requantize,
    /// What they are scaled by.
    pub multiplier: Multiplier,
    /// How products are summed.
    pub accumulator: Accumulator,
}

impl Default for IntegerArithmetic {
    /// The exact one, whose codes are those of the simulation: one rounding, half to even, 31-bit multipliers, exact sums.
    fn default() -> Self {
        Self {
            requantize: Requantize::Once(Rounding::HalfEven),
            multiplier: Multiplier::Fixed,
            accumulator: Accumulator::Wide,
        }
    }
}

/// What a program computes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct By {
    /// The processor has it.
    pub isa: Isa,
    /// That of real numbers.
    pub algorithm: Algorithm,
    /// That of whole numbers.
    pub arithmetic: IntegerArithmetic,
}

/// A convolution by its definition.
fn by_definition<D: Domain>(
    by: &By,
    geometry: Geometry,
    weights: &[Vec<D::Weight>],
    maps: Maps<'_>,
) -> Box<dyn Convolve<D>> {
    Box::new(Convolution::new(D::kernels(by), geometry, weights, maps))
}

/// A kind of numbers.
pub(crate) trait Domain: Arithmetic {
    /// What a node does with its sums.
    type Finish: Send + Sync;

    fn kernels(by: &By) -> &'static Kernels<Self>;
    /// Whether Winograd's algorithm is for these numbers.
    fn has_winograd(by: &By) -> bool {
        let _ = by;
        false
    }
    /// What a convolution between such shapes may be computed by: its input's border is made for that.
    fn algorithm(by: &By, conv: &Conv, from: Shape, to: Shape) -> Algorithm {
        let fits = conv.groups == 1 && fits_winograd(&conv.window, from, to);
        match Self::has_winograd(by) && fits {
            true => Algorithm::Winograd,
            false => Algorithm::Direct,
        }
    }
    /// A convolution by the algorithm that [`Domain::algorithm`] named, or by its definition.
    fn convolution(
        by: &By,
        algorithm: Algorithm,
        geometry: Geometry,
        weights: &[Vec<Self::Weight>],
        maps: Maps<'_>,
    ) -> Box<dyn Convolve<Self>> {
        debug_assert_eq!(algorithm, Algorithm::Direct);
        by_definition(by, geometry, weights, maps)
    }
    /// # Errors
    /// [`Error::Code`] where the node cannot be computed in these numbers.
    fn finish(
        around: Surroundings<'_>,
        arithmetic: IntegerArithmetic,
    ) -> Result<Self::Finish, Error>;
    /// Weights whose sum is the convolution's.
    fn weights(around: Surroundings<'_>, conv: &Conv) -> Result<Vec<Vec<Self::Weight>>, Error>;
    fn post<'a>(finish: &'a Self::Finish, add: Added<'a, Self::In>) -> Self::Post<'a>;

    /// What stands for the number 0 in a value with these codes.
    fn zero(code: Option<Code>) -> Self::In;
    /// A real number on its way in.
    fn enter(code: Option<Code>, x: f32) -> Self::In;
    /// The real number that a stored one stands for.
    fn leave(code: Option<Code>, x: Self::In) -> f32;
    /// The code `q` of a stored number.
    fn code(code: Code, x: Self::In) -> i32;

    /// The larger one; a NaN wins.
    fn larger(x: Self::In, y: Self::In) -> Self::In;
    /// `sum + x - zero`, `zero` being [`Domain::zero`].
    fn accumulate(sum: Self::Sum, x: Self::In, zero: Self::In) -> Self::Sum;
    /// `(x - zero) (y - zero')`.
    fn product(x: (Self::In, Self::In), y: (Self::In, Self::In)) -> Self::Sum;
    /// A result from its sum: the mean of a window of the `index`-th of its sizes, or a product.
    fn result(finish: &Self::Finish, sum: Self::Sum, index: usize) -> Self::In;
    /// An identity's results, from as many values of its input (whose zero is given) and of what it adds: the same whatever the channel.
    fn combine(
        finish: &Self::Finish,
        input: (&[Self::In], Self::In),
        added: Option<&[Self::In]>,
        out: &mut [Self::In],
    );
}

/// [`Float32`]'s part of a node.
pub(crate) struct FloatFinish {
    scale: Vec<f32>,
    shift: Vec<f32>,
    clip: Clip,
    /// What sums are divided by: how many pixels a window has.
    counts: Vec<f32>,
}

impl Domain for Float32 {
    type Finish = FloatFinish;

    fn kernels(by: &By) -> &'static Kernels<Self> {
        &float32(by.isa).kernels
    }

    fn has_winograd(by: &By) -> bool {
        by.algorithm == Algorithm::Winograd
    }

    fn convolution(
        by: &By,
        algorithm: Algorithm,
        geometry: Geometry,
        weights: &[Vec<f32>],
        maps: Maps<'_>,
    ) -> Box<dyn Convolve<Self>> {
        match (algorithm, weights) {
            (Algorithm::Winograd, [weights]) => {
                let taps = Kernels3x3::of(weights, geometry.inputs);
                Box::new(Winograd::new(float32(by.isa), taps, geometry.window, maps))
            }
            _ => by_definition(by, geometry, weights, maps),
        }
    }

    fn finish(around: Surroundings<'_>, _: IntegerArithmetic) -> Result<FloatFinish, Error> {
        let filled = |values: Option<&Vec<f32>>, absent: f32| {
            let mut values = values.cloned().unwrap_or_default();
            values.resize(around.channels + VECTOR, absent);
            values
        };
        let (mut scale, mut shift, mut counts) = (None, None, vec![1.0]);
        let folded;
        match &around.node.op {
            Op::Conv(conv) => {
                scale = conv.scale.as_ref();
                shift = conv.shift.as_ref();
                if let Some(bias) = &conv.bias {
                    folded = with_bias(conv, bias);
                    shift = Some(&folded);
                }
            }
            Op::AvgPool { window, counted } => {
                let all = Counts::new(window, *counted, around.shape).distinct;
                counts = all.iter().map(|&count| count as f32).collect();
            }
            _ => {}
        }
        Ok(FloatFinish {
            scale: filled(scale, 1.0),
            shift: filled(shift, 0.0),
            clip: around.node.clip.unwrap_or(Clip::NONE),
            counts,
        })
    }

    fn weights(_: Surroundings<'_>, conv: &Conv) -> Result<Vec<Vec<f32>>, Error> {
        Ok(vec![conv.weight.clone()])
    }

    fn post<'a>(finish: &'a FloatFinish, add: Added<'a, f32>) -> Post<'a> {
        Post {
            scale: &finish.scale,
            shift: &finish.shift,
            add,
            clip: finish.clip,
        }
    }

    fn zero(_: Option<Code>) -> f32 {
        0.0
    }

    fn enter(_: Option<Code>, x: f32) -> f32 {
        x
    }

    fn leave(_: Option<Code>, x: f32) -> f32 {
        x
    }

    fn code(code: Code, x: f32) -> i32 {
        code.quantize(x, Rounding::HalfEven, 0)
    }

    fn larger(x: f32, y: f32) -> f32 {
        larger(x, y)
    }

    fn accumulate(sum: f32, x: f32, _: f32) -> f32 {
        sum + x
    }

    fn product((x, _): (f32, f32), (y, _): (f32, f32)) -> f32 {
        x * y
    }

    fn result(finish: &FloatFinish, sum: f32, index: usize) -> f32 {
        sum / finish.counts[index]
    }

    fn combine(
        finish: &FloatFinish,
        (own, _): (&[f32], f32),
        added: Option<&[f32]>,
        out: &mut [f32],
    ) {
        // One pass without a branch, which compiles to vectors.
        match added {
            Some(added) => {
                for ((out, own), added) in out.iter_mut().zip(own).zip(added) {
                    *out = finish.clip.of(own + added);
                }
            }
            None => {
                for (out, &own) in out.iter_mut().zip(own) {
                    *out = finish.clip.of(own);
                }
            }
        }
    }
}

/// Shifts with an int32 bias in them, for a graph whose activations are real.
fn with_bias(conv: &Conv, bias: &[i32]) -> Vec<f32> {
    let part = |values: &Option<Vec<f32>>, c: usize, absent: f32| {
        values.as_ref().map_or(absent, |values| values[c])
    };
    let each = bias.iter().enumerate();
    each.map(|(c, &b)| b as f32 * part(&conv.scale, c, 1.0) + part(&conv.shift, c, 0.0))
        .collect()
}

fn larger(x: f32, y: f32) -> f32 {
    if y > x || y.is_nan() { y } else { x }
}

impl Domain for Simulated {
    type Finish = Epilogue;

    fn kernels(by: &By) -> &'static Kernels<Self> {
        simulated(by.isa)
    }

    /// Always with the exact arithmetic: what other arithmetic does to the codes is seen by comparing with this.
    fn finish(around: Surroundings<'_>, _: IntegerArithmetic) -> Result<Epilogue, Error> {
        Epilogue::new(around, Multiplier::Fixed, Rounding::HalfEven, false)
    }

    fn weights(_: Surroundings<'_>, conv: &Conv) -> Result<Vec<Vec<f32>>, Error> {
        Ok(vec![conv.weight.clone()])
    }

    fn post<'a>(epilogue: &'a Epilogue, add: Added<'a, f32>) -> SimulatedPost<'a> {
        SimulatedPost { epilogue, add }
    }

    fn zero(_: Option<Code>) -> f32 {
        0.0
    }

    fn enter(code: Option<Code>, x: f32) -> f32 {
        match code {
            Some(code) => steps(code, x),
            None => x,
        }
    }

    fn leave(code: Option<Code>, x: f32) -> f32 {
        // What was rounded to -0 is code 0.
        code.map_or(x, |code| code.scale * (x + 0.0))
    }

    fn code(code: Code, x: f32) -> i32 {
        x as i32 + code.zero_point
    }

    fn larger(x: f32, y: f32) -> f32 {
        larger(x, y)
    }

    fn accumulate(sum: f64, x: f32, _: f32) -> f64 {
        sum + f64::from(x)
    }

    fn product((x, _): (f32, f32), (y, _): (f32, f32)) -> f64 {
        f64::from(x) * f64::from(y)
    }

    fn result(epilogue: &Epilogue, sum: f64, index: usize) -> f32 {
        epilogue.single(sum, index, 0.0) as f32
    }

    fn combine(
        epilogue: &Epilogue,
        (own, _): (&[f32], f32),
        added: Option<&[f32]>,
        out: &mut [f32],
    ) {
        epilogue.each((own, f64::from), (added, f64::from), out, |v| v as f32);
    }
}

impl Domain for Integer {
    type Finish = Rule;

    fn kernels(by: &By) -> &'static Kernels<Self> {
        integer(by.isa, by.arithmetic.accumulator)
    }

    fn has_winograd(by: &By) -> bool {
        // Which products are paired with saturation is a matter of the definition alone.
        by.arithmetic.accumulator == Accumulator::Wide && Winograd::<Integer>::has_functions(by.isa)
    }

    fn convolution(
        by: &By,
        algorithm: Algorithm,
        geometry: Geometry,
        weights: &[Vec<i8>],
        maps: Maps<'_>,
    ) -> Box<dyn Convolve<Self>> {
        let winograd = match algorithm {
            Algorithm::Winograd => Winograd::whole(by.isa, weights, geometry.window, maps),
            Algorithm::Direct => None,
        };
        match winograd {
            Some(winograd) => Box::new(winograd),
            None => by_definition(by, geometry, weights, maps),
        }
    }

    fn finish(around: Surroundings<'_>, arithmetic: IntegerArithmetic) -> Result<Rule, Error> {
        let node = around.node;
        let name = node.name.as_str();
        let input_zero = stored_zero(name, around.input)?;
        let zero = stored_zero(name, node.code)?;
        let add_zero = match around.add {
            Some(code) => stored_zero(name, Some(code))?,
            None if node.add.is_some() => stored_zero(name, None)?,
            None => 0,
        };
        if node.add.is_some() && node.inner.is_none() && !matches!(node.op, Op::Identity) {
            return Err(code_error(
                name,
                "integers add codes: give the first summand some (shortcut = shared or rescale)"
                    .into(),
            ));
        }
        let mut bias = vec![0; around.channels + VECTOR];
        let mut largest = 0.0_f64;
        if let Op::Conv(conv) = &node.op {
            if conv.shift.is_some() {
                return Err(code_error(
                    name,
                    "integers add an int32 bias; this one is real (bias = int32, bn = folded)"
                        .into(),
                ));
            }
            let each = conv.weight.len() / conv.outputs;
            for (c, weights) in conv.weight.chunks_exact(each).enumerate() {
                let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                let magnitude: f64 = weights.iter().map(|&w| f64::from(w.abs())).sum();
                let own = conv.bias.as_ref().map_or(0, |bias| bias[c]);
                let bound = 255.0 * magnitude + f64::from(own).abs();
                if bound >= f64::from(i32::MAX) {
                    return Err(code_error(
                        name,
                        format!("sums of channel {c} could pass 32 bits"),
                    ));
                }
                largest = largest.max(bound);
                // The input's zero point adds the same to every sum. Sums may wrap around on the way; whole ones fit.
                bias[c] = own.wrapping_sub((f64::from(input_zero) * sum) as i64 as i32);
            }
        }
        let [low, high] = stored_ends(node);
        let mut fits = false;
        let mut shifted = None;
        let arithmetic = match (arithmetic.requantize, arithmetic.multiplier) {
            (Requantize::Once(Rounding::Stochastic { .. }), _) => {
                return Err(Error::Arithmetic {
                    detail: "integers are rounded half_even, half_away or floor, not stochastic"
                        .into(),
                });
            }
            (Requantize::Once(rounding), multiplier) => {
                let epilogue = Epilogue::new(around, multiplier, rounding, true)?;
                fits = rounding == Rounding::HalfEven && epilogue.largest(largest) < LARGEST_SUM;
                if let Op::Conv(_) = &node.op {
                    let stored = Stored {
                        largest,
                        zero,
                        add_zero,
                    };
                    shifted = Shifted::new(&epilogue, stored);
                }
                RuleArithmetic::Once(epilogue)
            }
            (Requantize::Gemmlowp, Multiplier::Fixed) => {
                RuleArithmetic::Gemmlowp(Gemmlowp::new(around)?)
            }
            (Requantize::OnnxRuntime, Multiplier::Float) => {
                let stored = |code: Code| code.zero_point - base(code);
                RuleArithmetic::OnnxRuntime(OnnxRuntime::new(around, stored)?)
            }
            (Requantize::OnnxRuntime, _) => {
                return Err(Error::Arithmetic {
                    detail: "ONNX Runtime's rounding goes with float multipliers".into(),
                });
            }
            (Requantize::Gemmlowp, _) => {
                return Err(Error::Arithmetic {
                    detail: "gemmlowp's rounding goes with fixed-point multipliers".into(),
                });
            }
        };
        Ok(Rule {
            arithmetic,
            bias,
            fits,
            shifted,
            low,
            high,
            zero,
            add_zero,
        })
    }

    /// In two parts where `q - zero_point` of affine weights passes 8 bits, or three, 255 being 127 + 127 + 1.
    fn weights(around: Surroundings<'_>, conv: &Conv) -> Result<Vec<Vec<i8>>, Error> {
        whole_weights(&around.node.name, conv)?;
        let near = |w: f32| w.clamp(i8::MIN.into(), i8::MAX.into());
        let mut rest = conv.weight.clone();
        let mut parts = Vec::new();
        while parts.is_empty() || rest.iter().any(|&w| w != 0.0) {
            parts.push(rest.iter().map(|&w| near(w) as i8).collect());
            rest.iter_mut().for_each(|w| *w -= near(*w));
        }
        Ok(parts)
    }

    fn post<'a>(rule: &'a Rule, add: Added<'a, u8>) -> IntegerPost<'a> {
        IntegerPost { rule, add }
    }

    fn zero(code: Option<Code>) -> u8 {
        code.map_or(0, |code| (code.zero_point - base(code)) as u8)
    }

    fn enter(code: Option<Code>, x: f32) -> u8 {
        code.map_or(0, |code| {
            // The steps are the last bits of the sum: a conversion that looks for NaN would not compile to vectors.
            let steps = (SHIFTER + clamped(code, x)).to_bits() as i32 - SHIFTER.to_bits() as i32;
            (steps + code.zero_point - base(code)) as u8
        })
    }

    fn leave(code: Option<Code>, x: u8) -> f32 {
        code.map_or(0.0, |code| code.dequantize(i32::from(x) + base(code)))
    }

    fn code(code: Code, x: u8) -> i32 {
        i32::from(x) + base(code)
    }

    fn larger(x: u8, y: u8) -> u8 {
        x.max(y)
    }

    fn accumulate(sum: i32, x: u8, zero: u8) -> i32 {
        sum + i32::from(x) - i32::from(zero)
    }

    fn product((x, zero): (u8, u8), (y, other_zero): (u8, u8)) -> i32 {
        (i32::from(x) - i32::from(zero)) * (i32::from(y) - i32::from(other_zero))
    }

    fn result(rule: &Rule, sum: i32, index: usize) -> u8 {
        rule.single(sum, index, None)
    }

    fn combine(rule: &Rule, input: (&[u8], u8), added: Option<&[u8]>, out: &mut [u8]) {
        rule.combine(input, added, out);
    }
}

/// 1.5 * 2^23: adding and subtracting it rounds a number of less than 2^22 half to even.
const SHIFTER: f32 = 12_582_912.0;

/// `q - zero_point` of the code of `x`, as `quant-core` has it, in a form that compiles to vectors.
#[inline(always)]
fn steps(code: Code, x: f32) -> f32 {
    (clamped(code, x) + SHIFTER) - SHIFTER
}

/// What is rounded to `q - zero_point`, far below 2^22; the lowest for NaN.
#[inline(always)]
fn clamped(code: Code, x: f32) -> f32 {
    let [low, high] = [code.quant_min, code.quant_max].map(|q| (q - code.zero_point) as f32);
    let v = x / code.scale;
    let v = if v > low { v } else { low };
    if v < high { v } else { high }
}

/// Scaled sums below it can be clamped as 32-bit integers, zero point and all.
const LARGEST_SUM: f64 = (1 << 30) as f64;

/// What is subtracted from a code to store it in a u8.
fn base(code: Code) -> i32 {
    if code.quant_min < 0 {
        i8::MIN.into()
    } else {
        0
    }
}

/// The smallest and the largest stored code of what a node makes.
fn stored_ends(node: &Node) -> [i32; 2] {
    node.code
        .map_or([0; 2], |code| ends(code, node.clip).map(|q| q - base(code)))
}

/// Weights of an integer convolution are whole numbers that two codes of 8 bits can differ by.
///
/// # Errors
/// [`Error::Code`] with the first that is none.
pub(crate) fn whole_weights(node: &str, conv: &Conv) -> Result<(), Error> {
    let whole = |w: f32| w.fract() == 0.0 && (-255.0..=255.0).contains(&w);
    match conv.weight.iter().find(|&&w| !whole(w)) {
        None => Ok(()),
        Some(wrong) => Err(code_error(
            node,
            format!(
                "weight {wrong} is no code of up to 8 bits: integers need quantized weights of 1 to 8 bits"
            ),
        )),
    }
}

/// The stored zero point of a value that integers can hold.
pub(crate) fn stored_zero(node: &str, code: Option<Code>) -> Result<i32, Error> {
    let code = code.ok_or_else(|| {
        code_error(
            node,
            "integer execution needs codes for every value; this one reads or makes real numbers"
                .into(),
        )
    })?;
    let stored = [code.quant_min, code.quant_max].map(|q| q - base(code));
    if stored.iter().all(|q| (0..=255).contains(q)) {
        return Ok(code.zero_point - base(code));
    }
    Err(code_error(
        node,
        format!(
            "codes {} to {}: integer kernels hold 8 bits, so activations.bits must be 1 to 8",
            code.quant_min, code.quant_max
        ),
    ))
}
