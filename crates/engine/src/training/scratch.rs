//! Memory for the time of a call, kept by each thread for the next: what is new is filled with zeros, which takes longer than what
//! some of these calls do.

use std::cell::RefCell;

use crate::buffer::Buffer;

thread_local! {
    /// Those that nobody uses.
    static FREE: RefCell<Vec<Buffer<f32>>> = const { RefCell::new(Vec::new()) };
}

/// What `body` makes with `len` values, which may be any.
pub(super) fn with_scratch<T>(len: usize, body: impl FnOnce(&mut [f32]) -> T) -> T {
    let kept = FREE.with_borrow_mut(Vec::pop);
    let long = kept.filter(|buffer| buffer.as_slice().len() >= len);
    let mut buffer = long.unwrap_or_else(|| Buffer::new(len));
    let made = body(&mut buffer.as_mut()[..len]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_within_calls_have_memory_of_their_own_and_as_much_as_they_ask_for() {
        with_scratch(10, |outer| {
            outer.fill(1.0);
            with_scratch(20, |inner| {
                assert_eq!(inner.len(), 20);
                inner.fill(2.0);
            });
            assert_eq!(outer, [1.0; 10]);
        });
        for len in [5, 30, 0] {
            with_scratch(len, |scratch| assert_eq!(scratch.len(), len));
        }
    }
}
