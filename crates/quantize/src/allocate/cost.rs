//! What bits cost.
//!
//! ```text
//! size:            sum of n_i b_i           n_i weights of a layer, or values of a site for one image          (1)
//! bit operations:  sum of m_i w_i a_i       m_i multiplications of a layer for one image, w_i bits of its weights, a_i of what
//!                                           it reads, 32 where that stays in float (van Baalen et al. 2020)    (2)
//! ```
//!
//! A budget is given as the bits that would cost as much everywhere: in (1) the average over all weights or values, in (2) with weights
//! and activations both at so many.

use quant_core::words;

/// What a budget is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cost {
    /// (1). Scales and zero points are not counted.
    Size,
    /// (2).
    BitOperations,
}

words!(Cost, "allocate.cost": Size = "size", BitOperations = "bit_operations");
