//! The Cholesky factor of a symmetric positive definite matrix, and systems solved by it, in float64 and in one order of operations.
//!
//! `A = L L'` by columns of blocks (Golub and Van Loan, Matrix Computations, section 4.2.5): the block's own factor, the panel below
//! it, and the rest less the panel's products. Rows of the rest are independent: any number of threads makes the same bits.

use rayon::prelude::*;

/// Columns of a block.
const BLOCK: usize = 48;

/// Right-hand sides that are solved for together.
const TOGETHER: usize = 16;

/// L, row by row; what lies above the diagonal means nothing.
#[derive(Clone)]
pub(super) struct Cholesky {
    n: usize,
    l: Vec<f64>,
}

impl Cholesky {
    /// The factor of `a`, `[n][n]`, of which the lower half is read; none where it is not positive definite.
    pub fn new(mut a: Vec<f64>, n: usize) -> Option<Self> {
        for start in (0..n).step_by(BLOCK) {
            let end = n.min(start + BLOCK);
            for j in start..end {
                let (above, rest) = a.split_at_mut(j * n);
                let row = &mut rest[..n];
                for k in start..j {
                    let sum = dot(&row[start..k], &above[k * n + start..k * n + k]);
                    row[k] = (row[k] - sum) / above[k * n + k];
                }
                let pivot = row[j] - dot(&row[start..j], &row[start..j]);
                if !(pivot.is_finite() && pivot > 0.0) {
                    return None;
                }
                row[j] = pivot.sqrt();
            }
            let (done, below) = a.split_at_mut(end * n);
            let block = &done[start * n..];
            below.par_chunks_exact_mut(n).for_each(|row| {
                for k in start..end {
                    let l = &block[(k - start) * n..][..n];
                    let sum = dot(&row[start..k], &l[start..k]);
                    row[k] = (row[k] - sum) / l[k];
                }
            });
            // The panel transposed, so that the products run along rows.
            let width = end - start;
            let rest = n - end;
            let mut panel = vec![0.0; width * rest];
            for (i, row) in below.chunks_exact(n).enumerate() {
                for k in 0..width {
                    panel[k * rest + i] = row[start + k];
                }
            }
            below
                .par_chunks_exact_mut(n)
                .enumerate()
                .for_each(|(i, row)| {
                    let (factors, own) = row.split_at_mut(end);
                    let factors = &factors[start..];
                    let own = &mut own[..=i];
                    // Four at a time: the row is then read and written a quarter as often.
                    for (k, f) in factors.chunks(4).enumerate() {
                        let lines = &panel[4 * k * rest..];
                        match *f {
                            [a, b, c, d] => {
                                let (la, lb) = (&lines[..=i], &lines[rest..][..=i]);
                                let (lc, ld) = (&lines[2 * rest..][..=i], &lines[3 * rest..][..=i]);
                                for j in 0..own.len() {
                                    own[j] -= a * la[j] + b * lb[j] + (c * lc[j] + d * ld[j]);
                                }
                            }
                            _ => {
                                for (f, line) in f.iter().zip(lines.chunks(rest)) {
                                    own.iter_mut().zip(line).for_each(|(x, l)| *x -= f * l);
                                }
                            }
                        }
                    }
                });
        }
        Some(Self { n, l: a })
    }

    /// Row i of L, up to the diagonal.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.l[i * self.n..][..=i]
    }

    /// Puts x with `A x = b` in the place of every b, `[any][n]`. Some of them go through L together, so that it is read less often.
    pub fn solve(&self, b: &mut [f64]) {
        b.par_chunks_mut(TOGETHER * self.n).for_each(|some| {
            for i in 0..self.n {
                let row = self.row(i);
                for b in some.chunks_exact_mut(self.n) {
                    b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
                }
            }
            for i in (0..self.n).rev() {
                let row = self.row(i);
                for b in some.chunks_exact_mut(self.n) {
                    let x = b[i] / row[i];
                    b[i] = x;
                    b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= x * l);
                }
            }
        });
    }
}

/// The sum of products, in four chains that are added in one order.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (fours, others) = (a.chunks_exact(4), b.chunks_exact(4));
    let rest = fours.remainder().iter().zip(others.remainder());
    let rest: f64 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in fours.zip(others) {
        for i in 0..4 {
            sums[i] += a[i] * b[i];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use quant_core::uniform;

    /// B'B + I.
    fn positive(n: usize) -> Vec<f64> {
        let b: Vec<f64> = (0..n * n)
            .map(|i| f64::from(uniform(3, i as u64)) - 0.5)
            .collect();
        let at = |i: usize, j: usize| {
            let sum: f64 = (0..n).map(|k| b[k * n + i] * b[k * n + j]).sum();
            sum + f64::from(u8::from(i == j))
        };
        (0..n * n).map(|k| at(k / n, k % n)).collect()
    }

    #[test]
    fn the_factor_times_itself_is_the_matrix_and_systems_are_solved() {
        for n in [1, 5, 47, 48, 49, 130] {
            let a = positive(n);
            let l = Cholesky::new(a.clone(), n).unwrap();
            for i in 0..n {
                for j in 0..=i {
                    let made = dot(&l.row(i)[..=j], &l.row(j)[..=j]);
                    assert!((made - a[i * n + j]).abs() < 1e-9, "{n}");
                }
            }
            let x: Vec<f64> = (0..n).map(|i| i as f64 / n as f64 - 0.3).collect();
            let mut b: Vec<f64> = (0..n).map(|i| dot(&a[i * n..][..n], &x)).collect();
            l.solve(&mut b);
            assert!(b.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "{n}");
        }
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(Cholesky::new(vec![0.0], 1).is_none());
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
    }

    #[test]
    fn any_number_of_threads_makes_the_same_factor() {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap()
                .install(|| Cholesky::new(positive(200), 200).unwrap().l)
        };
        let one = with(1);
        assert!(with(2) == one && with(3) == one);
    }
}
