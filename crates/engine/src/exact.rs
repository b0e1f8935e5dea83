//! Where integers give the codes of the simulation, and the check that a graph is such a place.
//!
//! Both kinds of numbers end a node in the same function of its sum ([`crate::epilogue`], in float64), so they agree where
//! they have the same sum and the same constants:
//!
//! - every value has a code of at most 8 bits, every weight is a whole number of magnitude 255 or less, every bias whole.
//!   The simulation sums up to 256 such products in float32, below `256 * 255^2 < 2^24`, and chunks in float64: exactly;
//! - `255 * sum |w| + |bias| < 2^31 - 1` for each channel, and 255 times a pool's window: 32 bits hold the sum, whatever the
//!   image, so integers have it exactly, too;
//! - each multiplier between codes has its 31-bit form: the simulation's are then the same numbers, one rounding half to
//!   even behind them. Whether codes are cut off before it or after it is the same, the ends being whole;
//! - a function of a code is one table, copies and pools' largest values are codes of their input.
//!
//! What is checked is said by integer execution itself, node by node; only what it leaves to whoever builds a graph is
//! added. `tests/quantized.rs` compares both with a twin in whole numbers, code by code, on every instruction set.

use std::borrow::Cow;

use crate::domain::{Domain, IntegerArithmetic, stored_zero, whole_weights};
use crate::epilogue::Surroundings;
use crate::error::Error;
use crate::graph::{Conv, Graph, INPUT, Node, Op, code_error};
use crate::kernel::Integer;

/// Succeeds where integers with the exact arithmetic give the code that the simulation gives, of every value of every image.
///
/// # Errors
/// [`Error::Code`]: the first value of which that is not known, and why.
pub(crate) fn check(graph: &Graph) -> Result<(), Error> {
    stored_zero(INPUT, graph.code(0))?;
    for placed in &graph.nodes {
        let node = match &placed.node.op {
            Op::Linear(linear) => Cow::Owned(Node {
                op: Op::Conv(Conv::from(linear.clone())),
                ..placed.node.clone()
            }),
            _ => Cow::Borrowed(&placed.node),
        };
        let code = |value: usize| graph.code(value);
        let around = Surroundings {
            node: &node,
            input: code(placed.input),
            other: placed.others.first().and_then(|&other| code(other)),
            add: placed.add.and_then(code),
            shape: graph.shape(placed.input),
            channels: placed.shape.channels,
        };
        Integer::finish(around, IntegerArithmetic::default())?;
        match &node.op {
            Op::Conv(conv) => whole_weights(&node.name, conv)?,
            Op::AvgPool { window, .. } => {
                let [rows, columns] = window.kernel;
                if rows.saturating_mul(columns) > (i32::MAX / 255) as usize {
                    let detail = format!("sums of {rows}x{columns} codes could pass 32 bits");
                    return Err(code_error(&node.name, detail));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
