//! Which layers and sites bear few bits: each alone at each of some widths, or everything but each, on a whole test set.
//!
//! The images go through in blocks. A finished block is a file of sums, so that a stopped measurement goes on where it was and several
//! processes share one; the blocks' sums are added in their order when all are there, so that the result is the same bytes however it
//! came about. Within a block, what lies before a change is computed once ([`quantize::Probe`]).
//!
//! Memory is bounded: the weights of all changes at once take no more than half of the bound, else they are tried in several rounds.

mod map;
mod table;

pub use map::{Map, Share, Tried};
pub use table::text;
