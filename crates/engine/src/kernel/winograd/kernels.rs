//! `G g G'` of kernels and `G' u G` of their gradients, in float64, some kernels side by side.

// Constant bounds, as in `tile.rs`.
#![allow(clippy::needless_range_loop)]

use super::float::{A, B};
use super::{PATCH, POINTS};

/// Kernels at a time: the widest register of float64.
const SOME: usize = 8;

/// A number of each.
type Each = [f64; SOME];

const A_A: f64 = (A * A) as f64;
const B_B: f64 = (B * B) as f64;
/// What the kernel's polynomial takes at a point: one over the product of its distances to the others. At 0, and at either sign of a and b.
const AT_0: f64 = 1.0 / (A_A * B_B);
const AT_A: f64 = 1.0 / (2.0 * A_A * (A_A - B_B));
const AT_B: f64 = 1.0 / (2.0 * B_B * (B_B - A_A));

/// Where the 3x3 kernels of a weight tensor lie.
#[derive(Clone, Copy)]
pub(crate) struct Kernels3x3<'a> {
    pub weights: &'a [f32],
    /// Distances of an output's first kernel to the next output's, and of an input's kernel to the next input's.
    pub strides: [usize; 2],
    /// Whether the last tap is the first.
    pub turned: bool,
}

impl<'a> Kernels3x3<'a> {
    /// Of `weights`, `[outputs, inputs, 3, 3]`.
    pub fn of(weights: &'a [f32], inputs: usize) -> Self {
        Self {
            weights,
            strides: [9 * inputs, 9],
            turned: false,
        }
    }

    /// Those of the convolution that takes the gradient of this one's outputs to that of its inputs: inputs and outputs change places,
    /// and taps their order.
    pub fn turned(self) -> Self {
        let [outputs, inputs] = self.strides;
        Self {
            strides: [inputs, outputs],
            turned: !self.turned,
            ..self
        }
    }
}

/// `G g G'` of the kernels of some outputs, each value rounded once.
pub(crate) struct KernelsToPoints<'a> {
    pub kernels: Kernels3x3<'a>,
    /// The first output, and how many there are.
    pub outputs: [usize; 2],
    pub inputs: usize,
    /// Outputs that there is room for.
    pub filled: usize,
    /// `[point][input][output]`.
    pub points: &'a mut [f32],
}

impl KernelsToPoints<'_> {
    #[inline(always)]
    pub fn run(self) {
        let [output, count] = self.outputs;
        let Kernels3x3 {
            weights,
            strides,
            turned,
        } = self.kernels;
        for input in 0..self.inputs {
            for first in (0..count).step_by(SOME) {
                let some = SOME.min(count - first);
                let mut taps = [[0.0; SOME]; 9];
                for each in 0..some {
                    let at = (output + first + each) * strides[0] + input * strides[1];
                    for (tap, &weight) in weights[at..][..9].iter().enumerate() {
                        taps[if turned { 8 - tap } else { tap }][each] = f64::from(weight);
                    }
                }
                let mut columns = [[[0.0; SOME]; PATCH]; 3];
                for x in 0..3 {
                    columns[x] = interpolated([&taps[x], &taps[3 + x], &taps[6 + x]]);
                }
                for y in 0..PATCH {
                    let row = interpolated([&columns[0][y], &columns[1][y], &columns[2][y]]);
                    for (x, values) in row.iter().enumerate() {
                        let at = ((y * PATCH + x) * self.inputs + input) * self.filled + first;
                        for (to, &value) in self.points[at..][..some].iter_mut().zip(values) {
                            *to = value as f32;
                        }
                    }
                }
            }
        }
    }
}

/// `G' u G` for the kernels of some outputs, each value rounded once.
pub(crate) struct PointsToKernels<'a> {
    /// `[point][input][output]`.
    pub points: &'a [f32],
    pub channels: [usize; 2],
    /// The first output.
    pub output: usize,
    /// `[output from there on][input][tap]`.
    pub kernels: &'a mut [f32],
}

impl PointsToKernels<'_> {
    #[inline(always)]
    pub fn run(self) {
        let [inputs, outputs] = self.channels;
        let count = self.kernels.len() / (9 * inputs);
        for input in 0..inputs {
            for first in (0..count).step_by(SOME) {
                let some = SOME.min(count - first);
                let mut points = [[0.0; SOME]; POINTS];
                for (point, values) in points.iter_mut().enumerate() {
                    let at = (point * inputs + input) * outputs + self.output + first;
                    for (to, &value) in values.iter_mut().zip(&self.points[at..][..some]) {
                        *to = f64::from(value);
                    }
                }
                let mut columns = [[[0.0; SOME]; 3]; PATCH];
                for x in 0..PATCH {
                    columns[x] = collected(std::array::from_fn(|y| &points[y * PATCH + x]));
                }
                for y in 0..3 {
                    let row = collected(std::array::from_fn(|x| &columns[x][y]));
                    for (x, values) in row.iter().enumerate() {
                        for (each, &value) in values[..some].iter().enumerate() {
                            let at = ((first + each) * inputs + input) * 9 + 3 * y + x;
                            self.kernels[at] = value as f32;
                        }
                    }
                }
            }
        }
    }
}

/// `G g`.
#[inline(always)]
fn interpolated([g0, g1, g2]: [&Each; 3]) -> [Each; PATCH] {
    let mut points = [[0.0; SOME]; PATCH];
    for i in 0..SOME {
        let (even_a, odd_a) = (g0[i] + A_A * g2[i], f64::from(A) * g1[i]);
        let (even_b, odd_b) = (g0[i] + B_B * g2[i], f64::from(B) * g1[i]);
        points[0][i] = g0[i] * AT_0;
        points[1][i] = (even_a + odd_a) * AT_A;
        points[2][i] = (even_a - odd_a) * AT_A;
        points[3][i] = (even_b + odd_b) * AT_B;
        points[4][i] = (even_b - odd_b) * AT_B;
        points[5][i] = g2[i];
    }
    points
}

/// `G' u`.
#[inline(always)]
fn collected(u: [&Each; PATCH]) -> [Each; 3] {
    let mut kernel = [[0.0; SOME]; 3];
    for i in 0..SOME {
        let (even_a, odd_a) = ((u[1][i] + u[2][i]) * AT_A, (u[1][i] - u[2][i]) * AT_A);
        let (even_b, odd_b) = ((u[3][i] + u[4][i]) * AT_B, (u[3][i] - u[4][i]) * AT_B);
        kernel[0][i] = u[0][i] * AT_0 + even_a + even_b;
        kernel[1][i] = f64::from(A) * odd_a + f64::from(B) * odd_b;
        kernel[2][i] = A_A * even_a + B_B * even_b + u[5][i];
    }
    kernel
}
