//! Transposition of float32, eight by eight in registers (AVX, which every processor with AVX2 has).
//!
//! ```text
//! to[b to_step + j to_row + i] = from[b from_step + i from_row + j]      i, j below 8, for blocks b
//! ```
//!
//! Three rounds of shuffles: neighbours within pairs of rows, pairs within fours, fours within eights. Elsewhere the caller does
//! it in plain Rust, which moves no more than four floats at once.

/// A block's side.
pub(crate) const SIDE: usize = 8;

/// One of the two matrices: where a block's next row is, and where the next block.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub row: usize,
    pub step: usize,
}

impl Strides {
    /// Elements from the first to behind the last.
    fn reach(self, blocks: usize) -> usize {
        match blocks {
            0 => 0,
            _ => (blocks - 1) * self.step + (SIDE - 1) * self.row + SIDE,
        }
    }
}

/// Transposes so many blocks, if the processor can; otherwise does nothing and says so. Panics where a slice is too short.
pub(crate) fn transpose_blocks(
    (from, from_strides): (&[f32], Strides),
    (to, to_strides): (&mut [f32], Strides),
    blocks: usize,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        assert!(from.len() >= from_strides.reach(blocks));
        assert!(to.len() >= to_strides.reach(blocks));
        // SAFETY: the processor has AVX, and the slices reach as far as was just compared.
        unsafe {
            let (from, to) = (from.as_ptr(), to.as_mut_ptr());
            avx::transpose_blocks((from, from_strides), (to, to_strides), blocks);
        }
        return true;
    }
    let _ = (from, from_strides, to, to_strides, blocks);
    false
}

#[cfg(target_arch = "x86_64")]
mod avx {
    use std::arch::x86_64::*;

    use super::{SIDE, Strides};

    /// See the module's header.
    ///
    /// # Safety
    /// The processor has AVX, and both pointers are good for [`Strides::reach`] elements.
    #[target_feature(enable = "avx")]
    pub unsafe fn transpose_blocks(
        (from, from_strides): (*const f32, Strides),
        (to, to_strides): (*mut f32, Strides),
        blocks: usize,
    ) {
        for block in 0..blocks {
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(block * from_strides.step);
                let mut rows = [_mm256_setzero_ps(); SIDE];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = _mm256_loadu_ps(from.add(i * from_strides.row));
                }
                let to = to.add(block * to_strides.step);
                for (j, column) in transposed(rows).into_iter().enumerate() {
                    _mm256_storeu_ps(to.add(j * to_strides.row), column);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx")]
    fn transposed(rows: [__m256; SIDE]) -> [__m256; SIDE] {
        let [a, b, c, d, e, f, g, h] = rows;
        let pairs = |x, y| (_mm256_unpacklo_ps(x, y), _mm256_unpackhi_ps(x, y));
        let ((ab0, ab1), (cd0, cd1)) = (pairs(a, b), pairs(c, d));
        let ((ef0, ef1), (gh0, gh1)) = (pairs(e, f), pairs(g, h));
        let fours = |x, y| {
            (
                _mm256_shuffle_ps::<0x44>(x, y),
                _mm256_shuffle_ps::<0xee>(x, y),
            )
        };
        let ((p0, p1), (p2, p3)) = (fours(ab0, cd0), fours(ab1, cd1));
        let ((q0, q1), (q2, q3)) = (fours(ef0, gh0), fours(ef1, gh1));
        let low = |x, y| _mm256_permute2f128_ps::<0x20>(x, y);
        let high = |x, y| _mm256_permute2f128_ps::<0x31>(x, y);
        [
            low(p0, q0),
            low(p1, q1),
            low(p2, q2),
            low(p3, q3),
            high(p0, q0),
            high(p1, q1),
            high(p2, q2),
            high(p3, q3),
        ]
    }
}
