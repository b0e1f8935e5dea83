//! Functions of one number, applied element by element.
//!
//! A value with codes goes through a table: for each code q of the input, the code nearest to `f(scale (q - zero_point))`. Simulation and
//! integers read the same table, so they agree. Exponentials are [`quant_core::exp`], the same on every machine.

use quant_core::exp;

/// A function, named as ONNX names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// max(0, min(1, alpha x + beta)).
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// x / (1 + e^-x); Swish.
    Silu,
    /// x max(0, min(1, x / 6 + 1/2)) (Howard et al. 2019, section 5.2).
    HardSwish,
    /// x, and alpha x below 0.
    LeakyRelu {
        /// The slope below 0.
        alpha: f32,
    },
    /// x, and alpha (e^x - 1) below 0.
    Elu {
        /// Minus the limit.
        alpha: f32,
    },
    /// (e^x - e^-x) / (e^x + e^-x).
    Tanh,
}

impl Function {
    /// Its value at `x`; a NaN stays one.
    pub fn at(self, x: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Self::Sigmoid => sigmoid(wide) as f32,
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Silu => (wide * sigmoid(wide)) as f32,
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::LeakyRelu { alpha } if x < 0.0 => alpha * x,
            Self::Elu { alpha } if x < 0.0 => (f64::from(alpha) * (exp(wide) - 1.0)) as f32,
            Self::LeakyRelu { .. } | Self::Elu { .. } => x,
            Self::Tanh => (2.0 * sigmoid(2.0 * wide) - 1.0) as f32,
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_values_at_the_ends_and_between() {
        let silu = Function::Silu;
        assert_eq!(
            (silu.at(0.0), silu.at(-200.0), silu.at(200.0)),
            (0.0, 0.0, 200.0)
        );
        assert!((silu.at(1.0) - 0.731_058_6).abs() < 1e-7);
        let hard = Function::HardSwish;
        assert_eq!(
            [-4.0, -3.0, 0.0, 3.0, 4.0].map(|x| hard.at(x)),
            [0.0, 0.0, 0.0, 3.0, 4.0]
        );
        let leaky = Function::LeakyRelu { alpha: 0.25 };
        assert_eq!([-2.0, 0.0, 2.0].map(|x| leaky.at(x)), [-0.5, 0.0, 2.0]);
        assert!((Function::Tanh.at(0.5) - 0.5_f32.tanh()).abs() < 1e-7);
        assert!((Function::Elu { alpha: 1.0 }.at(-1.0) + 0.632_120_56).abs() < 1e-7);
        let gate = Function::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        };
        assert_eq!([-3.0, 0.0, 3.0].map(|x| gate.at(x)), [0.0, 0.5, 1.0]);
        for function in [Function::Sigmoid, silu, hard, leaky, Function::Tanh, gate] {
            assert!(function.at(f32::NAN).is_nan(), "{function:?}");
        }
    }
}
