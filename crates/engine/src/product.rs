//! Products of matrices of float32, by the tile of the convolutions (`kernel/outer.rs`):
//!
//! ```text
//! to[i, j] = sum_k a[i, k] b[k, j]                                                                         (1)
//! ```
//!
//! Each sum is made by one thread, in the order of k: the same bits for any number of threads.

use rayon::prelude::*;

use crate::buffer::Buffer;
use crate::kernel::{Isa, Outer, float32};
use crate::planar::to_channels_last;

/// Rows of a that one thread takes at a time.
const ROWS: usize = 48;

/// Equation (1) for `a` `[rows][inner]` and `b` `[inner][columns]`: `[rows][columns]`. Panics where a slice is too short.
pub fn product(a: &[f32], b: &[f32], [rows, inner, columns]: [usize; 3]) -> Vec<f32> {
    let (a, b) = (&a[..rows * inner], &b[..inner * columns]);
    let mut to = vec![0.0; rows * columns];
    if to.is_empty() || inner == 0 {
        return to;
    }
    let kernels = &float32(Isa::best()).kernels;
    let outer = |rows: usize| {
        let starts = (0..rows).map(|row| (row * inner) as u32);
        Outer::new(kernels, starts.collect(), inner, columns)
    };
    let whole = outer(ROWS);
    let panels: Vec<_> = whole.panels().collect();
    // Each panel `[k][its columns]`, filled up to whole vectors with zeros.
    let mut packed = Buffer::new(inner * whole.filled());
    for panel in &panels {
        let real = panel.start..panel.end.min(columns);
        let to = &mut packed.as_mut()[panel.start * inner..];
        let lines = to.chunks_exact_mut(panel.len());
        for (line, b) in lines.zip(b.chunks_exact(columns)) {
            line[..real.len()].copy_from_slice(&b[real.clone()]);
        }
    }
    let blocks = to.par_chunks_mut(ROWS * columns);
    let blocks = blocks.zip(a.par_chunks(ROWS * inner));
    blocks.for_each(|(to, a)| {
        let rows = to.len() / columns;
        let outer = outer(rows);
        for panel in &panels {
            let b = &packed.as_slice()[panel.start * inner..][..panel.len() * inner];
            let mut sums = Buffer::new(rows * panel.len());
            outer.add_panel(panel.len(), 0, (a, b), sums.as_mut(), true);
            let real = panel.start..panel.end.min(columns);
            let lines = to.chunks_exact_mut(columns);
            for (line, sums) in lines.zip(sums.as_slice().chunks_exact(panel.len())) {
                line[real.clone()].copy_from_slice(&sums[..real.len()]);
            }
        }
    });
    to
}

/// The transpose of `a`, `[rows][columns]`. Panics where it is too short.
pub fn transposed(a: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let a = &a[..rows * columns];
    let mut to = vec![0.0; a.len()];
    if to.is_empty() {
        return to;
    }
    let strips = to.par_chunks_mut(ROWS * rows).enumerate();
    strips.for_each(|(strip, to)| {
        let from = (&a[strip * ROWS..], columns);
        let pixels = to.len() / rows;
        to_channels_last(from, (to, rows), rows, pixels);
    });
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::uniform;

    fn values(seed: u64, count: usize) -> Vec<f32> {
        (0..count).map(|i| uniform(seed, i as u64) - 0.5).collect()
    }

    /// Every width of a panel, rows and inner lengths about the sizes of blocks.
    const SHAPES: [[usize; 3]; 7] = [
        [1, 1, 1],
        [47, 9, 3],
        [48, 128, 16],
        [49, 129, 17],
        [100, 5, 64],
        [7, 300, 33],
        [0, 4, 2],
    ];

    #[test]
    fn products_are_those_of_float64() {
        for [rows, inner, columns] in SHAPES {
            let (a, b) = (values(1, rows * inner), values(2, inner * columns));
            let made = product(&a, &b, [rows, inner, columns]);
            assert_eq!(made.len(), rows * columns);
            for (at, made) in made.into_iter().enumerate() {
                let (i, j) = (at / columns, at % columns);
                let terms =
                    (0..inner).map(|k| f64::from(a[i * inner + k]) * f64::from(b[k * columns + j]));
                let expected: f64 = terms.sum();
                assert!((f64::from(made) - expected).abs() < 1e-5, "{rows} {inner}");
            }
        }
    }

    #[test]
    fn a_transpose_has_rows_for_columns() {
        for [rows, columns, _] in SHAPES {
            let a = values(3, rows * columns);
            let made = transposed(&a, [rows, columns]);
            for (at, made) in made.iter().enumerate() {
                assert_eq!(*made, a[at % rows * columns + at / rows]);
            }
        }
    }

    #[test]
    fn any_number_of_threads_makes_the_same_bits() {
        let (a, b) = (values(1, 150 * 200), values(2, 200 * 40));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| product(&a, &b, [150, 200, 40]))
        };
        let one = with(1);
        assert!(with(2) == one && with(3) == one);
    }
}
