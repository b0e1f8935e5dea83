//! Hostile files for every reader: from files that some tool wrote, changed so that they stay plausible, to a verdict.
//!
//! | file | is |
//! |---|---|
//! | `readers` | one function for each kind of file, from bytes to a [`Verdict`] |
//! | `seeds` | the files to begin with, made here or committed |
//! | `mutate` | changes that keep checksums, lengths, opcodes and columns |
//! | `driver` | rounds: which input has which number, and the bounds on memory, time and words |
//! | `bin/fuzz` | rounds of any length |
//!
//! An input passes when the reader takes it or refuses it in one line, without a panic (one that somebody caught counts too), within
//! [`driver::memory`] and [`driver::LONGEST_TIME`].

pub mod driver;
pub mod mutate;
pub mod random;
pub mod readers;
pub mod seeds;

pub use driver::{Allocator, Round};
pub use readers::{READERS, Reader, Verdict};
