//! What a momentum may be: of SGD, and of moving ranges.

/// What a momentum may be, in words.
pub(crate) const MOMENTUM: &str = "from 0 to below 1";

/// Whether something is left of the new at each step, in float32 too, which trainings compute in.
pub(crate) fn is_momentum(value: f64) -> bool {
    (0.0..1.0).contains(&value) && (value as f32) < 1.0
}
