//! Which derivative a grid has.

/// Which derivative the scale has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Learns {
    /// None: scale and zero point are constants.
    Nothing,
    /// That of a step: equations (4) and (6) of `fake_quant.rs`.
    Step {
        /// What the gradients of scale and zero point are multiplied by.
        factor: f32,
    },
    /// That of a bound: equations (5) and (6).
    Clip {
        /// As above.
        factor: f32,
    },
}
