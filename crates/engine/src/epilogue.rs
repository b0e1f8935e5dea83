//! From a sum to the code of a result: the one description behind float and integer execution.
//!
//! With s the scales of the codes involved (1 for a real value), `u` the scale of [`Node::inner`] or else of the result,
//! and `r` rounding to an integer, a convolution's sum over `(q - zero_point) * weight` becomes
//!
//! ```text
//! v = (sum + bias[c]) * M[c] + offset[c]        M[c] = s_in * scale[c] / u      offset[c] = shift[c] / u
//! v = clamp(r(v))                               where the result, or the summand, has codes
//! v = v * M_own + (q_add - zero_point) * M_add  M_own = u / s_out               M_add = s_add / s_out
//! v = clamp(r(v))                               where something is added and the result has codes
//! ```
//!
//! and the result's code is `v + zero_point`. A clipping is the ends of the last clamp. A pool's mean is the first line
//! with `M = s_in / (count * s_out)`, a product with `M = s_in s_other / s_out`, an addition of its own the third and fourth (Jacob et al. 2018, sections 2.2 to 2.4
//! and A.2).
//!
//! Every M between codes is rounded beforehand to the form that [`Multiplier`] says. All of it is computed in float64,
//! which makes no error for fixed-point multipliers wherever the clamp leaves the code alone (see [`FixedPoint::exact`]; an
//! addition's two multipliers are multiples of the same power of two): the integers are those of a chip that multiplies
//! and shifts.

use quant_core::{FixedPoint, Rounding};

use crate::error::Error;
use crate::graph::{Clip, Code, Node, Op, code_error, ends};
use crate::kernel::VECTOR;
use crate::pool::Counts;
use crate::shape::Shape;

/// What the real multipliers are rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Multiplier {
    /// 31 bits and a shift.
    Fixed,
    /// The nearest power of two: a shift alone.
    PowerOfTwo,
    /// Not at all.
    Float,
}

quant_core::words!(Multiplier, "multiplier": Fixed = "fixed", PowerOfTwo = "power_of_two", Float = "float");

/// The lines of the module's header for every channel; `kernel/doubles.rs` computes them.
#[derive(Clone, Debug)]
pub(crate) struct Epilogue {
    pub bias: Vec<f64>,
    pub multiplier: Vec<f64>,
    pub offset: Vec<f64>,
    /// Whether an offset is not 0.
    pub has_offset: bool,
    /// Of the first summand.
    pub first: Option<Clamp>,
    pub add: Option<Add>,
    /// Of the result.
    pub last: Option<Clamp>,
    /// Whether the result has no codes.
    pub is_real: bool,
    /// For a real result: the ends of its clipping.
    pub ends: Clamp,
    pub rounding: Rounding,
}

/// The smallest and the largest `q - zero_point`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clamp {
    pub low: f64,
    pub high: f64,
}

/// What both summands are multiplied by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Add {
    pub own: f64,
    pub other: f64,
}

/// What a node and its neighbours look like to an epilogue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub node: &'a Node,
    /// Codes of what it reads.
    pub input: Option<Code>,
    /// Codes of the first of its other operands.
    pub other: Option<Code>,
    /// Codes of what it adds.
    pub add: Option<Code>,
    /// The shape of what it reads.
    pub shape: Shape,
    pub channels: usize,
}

/// The codes around a node all of whose values have some, for arithmetic that rounds a summand before it is added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coded {
    pub input: Code,
    /// Of the operation's own result: of the summand where something is added, else of the node's.
    pub own: Code,
    pub output: Code,
    /// Of what is added.
    pub add: Option<Code>,
    /// The ends of `q - zero_point` of the operation's own result; absent for an addition of its own, whose input has codes already.
    pub first: Option<[i32; 2]>,
    /// Those of the sum.
    pub last: [i32; 2],
}

impl Surroundings<'_> {
    /// # Errors
    /// [`Error::Code`] for a value without codes.
    pub fn coded(&self) -> Result<Coded, Error> {
        let node = self.node;
        let (input, output) = (self.must(self.input)?, self.must(node.code)?);
        let add = node.add.as_ref().map(|_| self.must(self.add)).transpose()?;
        let last = clamped(output, node.clip);
        let (own, first) = match (add, &node.op) {
            (None, _) => (output, Some(last)),
            (Some(_), Op::Identity) => (input, None),
            (Some(_), _) => {
                let own = self.must(node.inner)?;
                (own, Some(clamped(own, None)))
            }
        };
        Ok(Coded {
            input,
            own,
            output,
            add,
            first,
            last,
        })
    }

    /// # Errors
    /// [`Error::Code`] where there is none.
    pub fn must(&self, code: Option<Code>) -> Result<Code, Error> {
        code.ok_or_else(|| code_error(&self.node.name, "a value without codes".into()))
    }
}

/// The smallest and the largest `q - zero_point`, behind a clipping if there is one.
fn clamped(code: Code, clip: Option<Clip>) -> [i32; 2] {
    ends(code, clip).map(|q| q - code.zero_point)
}

/// Makes a constant for each channel so long that whole vectors can be read: what lies behind the last channel is never seen, except
/// that a node without channels of its own has one constant for all lanes.
pub(crate) fn lengthen<T: Copy>(values: &mut Vec<T>) {
    if let Some(&last) = values.last() {
        values.resize(values.len() + VECTOR, last);
    }
}

fn scale_of(code: Option<Code>) -> f64 {
    code.map_or(1.0, |code| f64::from(code.scale))
}

impl Epilogue {
    /// The epilogue of a node. With `strict`, a multiplier that has no form is an error; without, it stays as it is.
    ///
    /// # Errors
    /// [`Error::Code`] naming the node and the multiplier.
    pub fn new(
        around: Surroundings<'_>,
        multiplier: Multiplier,
        rounding: Rounding,
        strict: bool,
    ) -> Result<Self, Error> {
        let Surroundings { node, channels, .. } = around;
        // From real numbers and to them the multiplier stays real too.
        let form = |value: f64, from: Option<Code>, to: Option<Code>| match from.and(to) {
            Some(_) => round_multiplier(&node.name, value, multiplier, strict),
            None => Ok(value),
        };
        let (mut input, output) = (scale_of(around.input), scale_of(node.code));
        let mut from = around.input;
        if let Op::Multiply = node.op {
            input *= scale_of(around.other);
            from = from.and(around.other);
        }
        // Codes of these go through tables, or stay.
        if matches!(
            node.op,
            Op::Function(_) | Op::Concat | Op::Gather(_) | Op::ClipEach(_)
        ) {
            from = None;
        }
        // The unit of the first line: identities have no first line of their own.
        let adds = node.add.is_some() && !matches!(node.op, Op::Identity);
        let first = if adds {
            node.inner.or(node.code)
        } else {
            node.code
        };
        let unit = scale_of(first);
        let per_channel = |values: Option<&Vec<f32>>, absent: f32| -> Vec<f64> {
            match values {
                Some(values) => values.iter().map(|&v| f64::from(v)).collect(),
                None => vec![f64::from(absent); channels],
            }
        };
        let (mut bias, scale, shift) = match &node.op {
            Op::Conv(conv) => (
                match &conv.bias {
                    Some(bias) => bias.iter().map(|&b| f64::from(b)).collect(),
                    None => vec![0.0; channels],
                },
                per_channel(conv.scale.as_ref(), 1.0),
                per_channel(conv.shift.as_ref(), 0.0),
            ),
            Op::AvgPool { window, counted } => {
                let counts = Counts::new(window, *counted, around.shape).distinct;
                let shares = counts.iter().map(|&count| 1.0 / count as f64);
                (
                    vec![0.0; counts.len()],
                    shares.collect(),
                    vec![0.0; counts.len()],
                )
            }
            _ => (vec![0.0], vec![1.0], vec![0.0]),
        };
        let mut multipliers = scale
            .iter()
            .map(|scale| form(input * scale / unit, from, first))
            .collect::<Result<Vec<_>, _>>()?;
        let mut offset: Vec<f64> = shift.iter().map(|shift| shift / unit).collect();
        let add = match node.add {
            None => None,
            Some(_) => {
                let other = scale_of(around.add) / output;
                let other = form(other, around.add, node.code)?;
                let summand = if adds { node.inner } else { around.input };
                let own = match summand {
                    // In units of the result already.
                    None if adds => 1.0,
                    _ => form(scale_of(summand) / output, summand, node.code)?,
                };
                let coded = summand.and(around.add).and(node.code).is_some();
                Some(match multiplier {
                    Multiplier::Fixed if coded => align(own, other),
                    _ => Add { own, other },
                })
            }
        };
        if let (Op::Identity, Some(_)) = (&node.op, add) {
            multipliers = vec![1.0];
        }
        let clamp = |code: Code, clip: Option<Clip>| {
            let [low, high] = clamped(code, clip).map(f64::from);
            Clamp { low, high }
        };
        let real = node.clip.unwrap_or(Clip::NONE);
        let result = node.code.map(|code| clamp(code, node.clip));
        let first = node.inner.map(|code| clamp(code, None));
        for values in [&mut bias, &mut multipliers, &mut offset] {
            lengthen(values);
        }
        Ok(Self {
            bias,
            multiplier: multipliers,
            has_offset: offset.iter().any(|&x| x != 0.0),
            offset,
            first,
            add,
            last: result,
            is_real: node.code.is_none(),
            ends: Clamp {
                low: real.low.into(),
                high: real.high.into(),
            },
            rounding,
        })
    }

    /// A bound of what the result can be before its clamp, for sums of up to `sum` and codes of 8 bits.
    pub fn largest(&self, sum: f64) -> f64 {
        let steepest = self.multiplier.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        match self.add {
            None => sum * steepest,
            Some(add) => 256.0 * (add.own.abs() + add.other.abs()),
        }
    }

    /// Whether `channels` channels can be read a whole vector at a time.
    pub fn covers(&self, channels: usize) -> bool {
        self.bias.len() >= channels + VECTOR
    }
}

/// Makes the smaller multiplier of an addition a multiple of the larger one's unit, so that the sum of both products is
/// exact.
pub(crate) fn align(own: f64, other: f64) -> Add {
    let Some(largest) = FixedPoint::exact(own.abs().max(other.abs())) else {
        return Add { own, other };
    };
    let unit = 2f64.powi(-largest.shift());
    Add {
        own: (own / unit).round() * unit,
        other: (other / unit).round() * unit,
    }
}

/// `value` in the form asked for; a negative one (a BatchNorm factor) by its magnitude.
fn round_multiplier(
    node: &str,
    value: f64,
    multiplier: Multiplier,
    strict: bool,
) -> Result<f64, Error> {
    let form = match multiplier {
        Multiplier::Float => return Ok(value),
        Multiplier::Fixed => FixedPoint::exact(value.abs()),
        Multiplier::PowerOfTwo => FixedPoint::power_of_two(value.abs()),
    };
    match form {
        Some(form) => Ok(form.value().copysign(value)),
        None if strict => Err(no_form(node, value)),
        None => Ok(value),
    }
}

/// A multiplier that fixed point cannot hold.
pub(crate) fn no_form(node: &str, multiplier: f64) -> Error {
    let detail = format!("the multiplier {multiplier:e} does not fit 31 bits and a shift");
    code_error(node, detail)
}
