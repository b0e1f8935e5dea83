//! Buffers that are used again, kept by thread.
//!
//! A training step makes the same tensors as the one before it. Left to the allocator, those above some hundred KiB come from
//! the operating system each time, and writing to them for the first time costs more than the operation that does.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Values that a thread keeps at the most: 256 MiB, what a step of ResNet-20 with 128 images at 32 pixels leaves behind.
const KEPT: usize = 64 << 20;
/// Smaller buffers are the allocator's business.
const SMALLEST: usize = 16 << 10;

#[derive(Default)]
struct Pool {
    by_len: BTreeMap<usize, Vec<Vec<f32>>>,
    kept: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// A buffer of `len` values, whatever they are.
pub fn take(len: usize) -> Vec<f32> {
    let found = POOL.with_borrow_mut(|pool| {
        let found = pool.by_len.get_mut(&len)?.pop()?;
        pool.kept -= len;
        Some(found)
    });
    found.unwrap_or_else(|| vec![0.0; len])
}

/// Gives a buffer back.
pub fn give(buffer: Vec<f32>) {
    let len = buffer.len();
    if len < SMALLEST {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.kept + len > KEPT {
            // Shapes have changed, or many tensors were given back at once: what is kept is of no use any more.
            *pool = Pool::default();
        }
        pool.kept += len;
        pool.by_len.entry(len).or_default().push(buffer);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_by_its_length_and_the_pool_does_not_grow_without_end() {
        let mut buffer = take(SMALLEST);
        buffer[7] = 1.5;
        let place = buffer.as_ptr();
        give(buffer);
        assert_eq!(take(SMALLEST + 1).len(), SMALLEST + 1);
        let again = take(SMALLEST);
        assert_eq!((again.as_ptr(), again[7]), (place, 1.5));
        for _ in 0..2 * KEPT / (4 << 20) {
            give(vec![0.0; 4 << 20]);
        }
        assert!(POOL.with_borrow(|pool| pool.kept) <= KEPT);
        give(vec![0.0; SMALLEST - 1]);
        assert!(POOL.with_borrow(|pool| !pool.by_len.contains_key(&(SMALLEST - 1))));
        POOL.with_borrow_mut(|pool| *pool = Pool::default());
    }
}
