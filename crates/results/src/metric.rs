//! The names of the `metric` and `unit` columns of `metrics.csv`, spelled once: `sweep` writes them and `report` looks
//! for them. Counts, not rates: the column `n` says what they are out of.

/// Whole network: images whose best class is the label; `n` images.
pub const TOP1_CORRECT: &str = "top1_correct";
/// Whole network: images whose label is among the five best classes; `n` images.
pub const TOP5_CORRECT: &str = "top5_correct";
/// Whole network: cross-entropy (natural logarithm) summed over `n` images.
pub const LOSS_SUM: &str = "loss_sum";
/// Whole network: predictions that differ from those of the float run of the same model and data; `n` images.
pub const FLIPS: &str = "flips";
/// Whole network or layer: bits to store `n` values, scales and zero points included.
pub const BITS_STORED: &str = "bits_stored";
/// Network or layer: `10 log10(sum w^2 / sum (w - w')^2)` in dB over `n` values.
pub const WEIGHT_SQNR: &str = "weight_sqnr";
/// Layer: the same of a trained network, whose w are those that training has moved, not the float network's: no measure of what
/// was lost, but of how far they lie from their codes. Network: the median of its `n` layers.
pub const LATENT_SQNR: &str = "latent_sqnr";
/// Whole network: channels of `n` that a training has lost, their variance or their gradients.
pub const LOST_CHANNELS: &str = "lost_channels";
/// Layer: mean of `(w - w')^2` over `n` values.
pub const WEIGHT_MSE: &str = "weight_mse";
/// Layer: largest `|w - w'|` of `n` values.
pub const WEIGHT_MAX_ABS: &str = "weight_max_abs";
/// Layer: mean `|w - w'|` of `n` values.
pub const WEIGHT_MEAN_ABS: &str = "weight_mean_abs";
/// Layer: the scale, where there is one alone.
pub const SCALE: &str = "scale";
/// Layer: values of `n` that were clamped to an end of the code range.
pub const SATURATED: &str = "saturated";
/// Layer: the share of its outputs' variance that rounding takes, by the sums over `n` points that its codes were chosen by.
pub const OUTPUT_LOSS_PREDICTED: &str = "output_loss_predicted";
/// Layer: the same of its outputs themselves, at `n` positions of the calibration images: all.
pub const OUTPUT_LOSS: &str = "output_loss";
/// Activation site: the scale of its codes.
pub const ACTIVATION_SCALE: &str = "activation_scale";
/// Layer: biases of `n` whose code passes 2^30 and was clamped.
pub const BIAS_OVERFLOWS: &str = "bias_overflows";
/// Network or value: codes of `n` that integer execution and simulation give differently.
pub const CODES_DIFFER: &str = "codes_differ";
/// Network or value: the largest difference of two such codes.
pub const CODES_MAX_DIFFERENCE: &str = "codes_max_difference";

/// Whole network: `10 log10` of the logits' signal through what they differ by from the float network's, over `n` images.
pub const LOGIT_SQNR: &str = "logit_sqnr";
/// Whole network: the divergence of its answers' probabilities from the float network's, summed over `n` images.
pub const KL_SUM: &str = "kl_sum";
/// Whole network with allocated bits: the average over its weights.
pub const AVERAGE_WEIGHT_BITS: &str = "average_weight_bits";
/// Whole network with allocated bits: the average over all values of activation sites.
pub const AVERAGE_ACTIVATION_BITS: &str = "average_activation_bits";
/// Whole network with allocated bits: multiplications for one image, each times the bits of both factors, 32 for float.
pub const BIT_OPERATIONS: &str = "bit_operations";
/// Whole network with bits allocated by time: what its layers take for one image, by the table that was given.
pub const LAYERS_TIME: &str = "layers_time";
/// Whole network with bits allocated by Lin's closed form: SQNR that a bit of weights brings.
pub const KAPPA_WEIGHTS: &str = "kappa_weights";
/// The same for a bit of activations.
pub const KAPPA_ACTIVATIONS: &str = "kappa_activations";
/// Begins a metric: the logit SQNR that a predictor, whose name follows, expects.
pub const EXPECTED_SQNR: &str = "expected_logit_sqnr_";
/// Begins a metric: the hits of `n` images that a predictor expects.
pub const EXPECTED_TOP1: &str = "expected_top1_";
/// Begins a metric: their standard deviation.
pub const EXPECTED_TOP1_DEVIATION: &str = "expected_top1_deviation_";
/// Begins a metric: the flips of `n` images that a predictor expects.
pub const EXPECTED_FLIPS: &str = "expected_flips_";

/// Unit of counts of images.
pub const IMAGES: &str = "images";
/// Unit of SQNR.
pub const DECIBEL: &str = "dB";
/// Unit of `kappa_weights` and `kappa_activations`.
pub const DECIBEL_PER_BIT: &str = "dB/bit";
/// Unit of `layers_time`.
pub const NANOSECONDS: &str = "ns";
/// Unit of `bits_stored`.
pub const BITS: &str = "bits";
/// Unit of `loss_sum`.
pub const NATS: &str = "nats";
/// Unit of counts of output channels.
pub const CHANNELS: &str = "channels";
/// Unit of shares of a variance.
pub const SHARE: &str = "share";
/// Unit of counts of weights.
pub const VALUES: &str = "values";
