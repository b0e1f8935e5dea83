//! Sums of products over points, which is what the least-squares problem of a layer is made of:
//!
//! ```text
//! xx[i, j] = sum_p x[i, p] x[j, p]        xy[i, o] = sum_p x[i, p] y[o, p]                             (1)
//! ```
//!
//! The points of one call are summed in float32 by the tile of the convolutions (`kernel/outer.rs`), the calls in float64, in
//! their order. Of the symmetric xx the lower half alone is computed, a panel of columns by one thread: the same bits for any
//! number of threads.

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::kernel::{Isa, Outer, float32};
use crate::planar::to_channels_last;

/// Equation (1), while points are coming in.
pub struct Moments {
    isa: Isa,
    rows: usize,
    others: usize,
    panels: Vec<Panel>,
    points: usize,
}

/// Some columns of xx or of xy.
struct Panel {
    /// Whether they are columns of xy.
    is_other: bool,
    /// The first of them, and how many there are, filled up to whole vectors.
    start: usize,
    width: usize,
    /// The rows from this one on: of xx those above are known by symmetry.
    from: usize,
    /// `[row][column]`.
    sums: Vec<f64>,
}

/// The sums of equation (1), row by row.
pub struct Products {
    /// `[rows][rows]`, symmetric.
    pub xx: Vec<f64>,
    /// `[others][rows]`: the transpose of xy.
    pub yx: Vec<f64>,
    /// How many points were summed.
    pub points: usize,
}

impl Moments {
    /// Nothing yet, of `rows` values x and `others` values y for each point.
    pub fn new(rows: usize, others: usize) -> Self {
        let isa = Isa::best();
        let outer = |count| Outer::new(&float32(isa).kernels, vec![0; rows], 1, count);
        let panels = |count: usize, is_other: bool| {
            let panels: Vec<_> = outer(count).panels().collect();
            panels.into_iter().map(move |panel| {
                let from = if is_other { 0 } else { panel.start };
                Panel {
                    is_other,
                    start: panel.start,
                    width: panel.len(),
                    from,
                    sums: vec![0.0; (rows - from) * panel.len()],
                }
            })
        };
        Self {
            isa,
            rows,
            others,
            panels: panels(rows, false).chain(panels(others, true)).collect(),
            points: 0,
        }
    }

    /// Adds `points` points: `x` is `[rows][points]`, `y` `[others][points]`. Some thousand at a time: they are summed in
    /// float32. Panics where a slice is too short.
    pub fn add(&mut self, x: &[f32], y: &[f32], points: usize) {
        let (rows, others) = (self.rows, self.others);
        assert!(x.len() >= rows * points && y.len() >= others * points);
        if points == 0 {
            return;
        }
        let starts = (0..rows).map(|row| (row * points) as u32).collect();
        let outer = Outer::new(&float32(self.isa).kernels, starts, points, rows);
        self.points += points;
        self.panels.par_iter_mut().for_each(|panel| {
            let (from, count) = if panel.is_other {
                (y, others)
            } else {
                (x, rows)
            };
            let mut columns = Buffer::new(points * panel.width);
            let real = panel.width.min(count - panel.start);
            let from = &from[panel.start * points..];
            to_channels_last(
                (from, points),
                (columns.as_mut(), panel.width),
                real,
                points,
            );
            let mut sums = Buffer::new((rows - panel.from) * panel.width);
            let factors = (x, columns.as_slice());
            outer.add_panel(panel.width, panel.from, factors, sums.as_mut(), true);
            for (total, sum) in panel.sums.iter_mut().zip(sums.as_slice()) {
                *total += f64::from(*sum);
            }
        });
    }

    /// The sums.
    pub fn finish(self) -> Products {
        let rows = self.rows;
        let mut xx = vec![0.0; rows * rows];
        let mut yx = vec![0.0; self.others * rows];
        for panel in &self.panels {
            for (row, sums) in (panel.from..rows).zip(panel.sums.chunks_exact(panel.width)) {
                for (column, &sum) in (panel.start..).zip(sums) {
                    match panel.is_other {
                        true if column < self.others => yx[column * rows + row] = sum,
                        false if column <= row => {
                            xx[row * rows + column] = sum;
                            xx[column * rows + row] = sum;
                        }
                        _ => {}
                    }
                }
            }
        }
        Products {
            xx,
            yx,
            points: self.points,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::uniform;

    fn values(seed: u64, count: usize) -> Vec<f32> {
        let value = |i| uniform(seed, i as u64) - 0.3;
        (0..count).map(value).collect()
    }

    fn products(rows: usize, others: usize, calls: &[usize]) -> Products {
        let mut moments = Moments::new(rows, others);
        for (call, &points) in calls.iter().enumerate() {
            let x = values(2 * call as u64, rows * points);
            let y = values(2 * call as u64 + 1, others * points);
            moments.add(&x, &y, points);
        }
        moments.finish()
    }

    #[test]
    fn sums_are_those_of_float64_for_every_width_and_number_of_points() {
        for (rows, others, calls) in [
            (1, 1, &[1][..]),
            (9, 1, &[130, 0, 7]),
            (27, 16, &[300]),
            (33, 5, &[128, 129]),
            (70, 40, &[5, 1]),
        ] {
            let made = products(rows, others, calls);
            let mut xx = vec![0.0; rows * rows];
            let mut yx = vec![0.0; others * rows];
            for (call, &points) in calls.iter().enumerate() {
                let x = values(2 * call as u64, rows * points);
                let y = values(2 * call as u64 + 1, others * points);
                let dot = |a: &[f32], i: usize, b: &[f32], j: usize| -> f64 {
                    let row = |v: &[f32], i: usize| v[i * points..(i + 1) * points].to_vec();
                    let pairs = row(a, i).into_iter().zip(row(b, j));
                    pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
                };
                for i in 0..rows {
                    (0..rows).for_each(|j| xx[i * rows + j] += dot(&x, i, &x, j));
                    (0..others).for_each(|o| yx[o * rows + i] += dot(&y, o, &x, i));
                }
            }
            let points: usize = calls.iter().sum();
            assert_eq!(made.points, points);
            let close = |a: &[f64], b: &[f64]| {
                let mut pairs = a.iter().zip(b);
                a.len() == b.len() && pairs.all(|(a, b)| (a - b).abs() < 1e-6 * points as f64)
            };
            assert!(
                close(&made.xx, &xx) && close(&made.yx, &yx),
                "{rows} {others}"
            );
        }
    }

    #[test]
    fn any_number_of_threads_makes_the_same_bits() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let made = pool.unwrap().install(|| products(75, 20, &[500, 300]));
            (made.xx, made.yx)
        };
        let one = with(1);
        assert!(with(2) == one && with(3) == one);
    }
}
