//! Memory for the time of a call, kept for the next one: what is new comes filled with zeros, which takes longer than some of what is
//! done with it.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use crate::buffer::Buffer;

/// Values that are kept at the most: 64 MiB.
const KEPT: usize = 16 << 20;

/// What nobody uses.
static FREE: Mutex<Vec<Buffer<f32>>> = Mutex::new(Vec::new());

/// Some values, any at first.
pub(super) struct Scratch {
    /// None once it is given back.
    buffer: Option<Buffer<f32>>,
    len: usize,
}

impl Scratch {
    /// `len` values.
    pub fn new(len: usize) -> Self {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let long = free.iter().enumerate().filter(|(_, b)| b.len() >= len);
        let shortest = long.min_by_key(|(_, b)| b.len()).map(|(at, _)| at);
        let kept = shortest.map(|at| free.swap_remove(at));
        drop(free);
        Self {
            buffer: Some(kept.unwrap_or_else(|| Buffer::new(len))),
            len,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else {
            return;
        };
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(buffer);
        if free.iter().map(Buffer::len).sum::<usize>() > KEPT {
            // Other sizes are asked for than were.
            free.clear();
        }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.buffer
            .as_ref()
            .map_or(&[], |b| &b.as_slice()[..self.len])
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        let len = self.len;
        self.buffer
            .as_mut()
            .map_or(&mut [], |b| &mut b.as_mut()[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_memory_of_its_own_and_as_much_as_it_asks_for() {
        let mut one = Scratch::new(10);
        one.fill(1.0);
        let mut two = Scratch::new(20);
        two.fill(2.0);
        assert_eq!(*one, [1.0; 10]);
        drop(two);
        for len in [5, 30, 0] {
            let mut again = Scratch::new(len);
            assert_eq!(again.len(), len);
            again.fill(3.0);
        }
        assert_eq!(*one, [1.0; 10]);
    }
}
