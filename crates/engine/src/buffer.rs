//! Memory that starts at a cache line.

/// Bytes in a cache line, and in the widest vector register.
const LINE: usize = 64;

/// A fixed number of values, the first of them at a cache line: no vector load then crosses two lines.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Buffer<T> {
    /// `len` times the default (zero, for numbers).
    pub fn new(len: usize) -> Self {
        let spare = LINE / size_of::<T>();
        let values = vec![T::default(); len + spare];
        let start = match values.as_ptr().align_offset(LINE) {
            // The standard library may decline to tell.
            start if start <= spare => start,
            _ => 0,
        };
        Self { values, start, len }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// All of it.
    pub fn as_slice(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }

    /// All of it.
    pub fn as_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_starts_at_a_line_and_has_the_length_asked_for() {
        for len in [0, 1, 7, 1000] {
            let mut floats = Buffer::<f32>::new(len);
            assert_eq!(floats.as_mut().len(), len);
            assert_eq!(floats.as_slice().as_ptr().addr() % LINE, 0);
            let bytes = Buffer::<u8>::new(len);
            assert_eq!(bytes.as_slice().len(), len);
            assert_eq!(bytes.as_slice().as_ptr().addr() % LINE, 0);
        }
    }
}
