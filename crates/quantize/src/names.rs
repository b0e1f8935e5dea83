//! What a training's state calls the tensors of its quantizers. None of these is a name that PyTorch gives.
//!
//! | name | holds | trained | there where |
//! |---|---|---|---|
//! | `quantizer.weight.LAYER.step` | scale, `[1]` or `[out]` | yes | the method learns the steps of weights |
//! | `quantizer.weight.LAYER.zero_point` | `[1]` or `[out]` | no | the same, affine |
//! | `quantizer.site.SITE.step` | scale, `[1]` | yes | `lsq`, `lsq_plus` |
//! | `quantizer.site.SITE.offset` | beta, `[1]` | yes | `lsq_plus` |
//! | `quantizer.site.SITE.bound` | alpha, `[1]` | yes | `pact` |
//! | `quantizer.site.SITE.codes` | smallest code, largest code, zero point, `[3]` | no | `lsq`, `lsq_plus`, `pact` |
//! | `quantizer.site.SITE.range` | moving minimum and maximum, `[2]` | no: measured | `minmax` |

/// What every quantizer's tensor begins with.
pub const PREFIX: &str = "quantizer.";

/// The tensor `part` of the quantizer of a layer's weights.
pub fn weight(layer: &str, part: &str) -> String {
    format!("{PREFIX}weight.{layer}.{part}")
}

/// The tensor `part` of a site's quantizer.
pub fn site(site: &str, part: &str) -> String {
    format!("{PREFIX}site.{site}.{part}")
}

/// A seed for something called `name`, of its own.
pub fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |seed, byte| {
        seed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
    })
}

/// Whether a tensor of a training's state has a gradient; the others are measured or stay.
pub fn is_trained(name: &str) -> bool {
    match name.starts_with(PREFIX) {
        true => is_step(name),
        false => !name.ends_with(".running_mean") && !name.ends_with(".running_var"),
    }
}

/// Whether it is a step, an offset or a bound, which have a learning rate of their own.
pub fn is_step(name: &str) -> bool {
    let learned = [".step", ".offset", ".bound"];
    name.starts_with(PREFIX) && learned.iter().any(|part| name.ends_with(part))
}

/// Whether it is a positive number that values are measured in: a step or a bound.
pub fn is_positive(name: &str) -> bool {
    name.starts_with(PREFIX) && (name.ends_with(".step") || name.ends_with(".bound"))
}

/// Whether it is a moving minimum and maximum.
pub fn is_range(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".range")
}

/// Whether a quantizer's parameter decays as weights do: a clipping bound of `pact` does.
pub fn decays(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".bound")
}
