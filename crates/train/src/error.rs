//! What can go wrong between a network and a device.

/// The error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A device did not hand over what it had computed.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },

    /// Somebody asked it to stop.
    #[error("stopped")]
    Stopped,

    /// A tensor that is missing or misshapen.
    #[error(transparent)]
    Network(#[from] network::Error),

    /// A tensor or a site that cannot be quantized, or a setting that cannot be trained.
    #[error(transparent)]
    Quantize(#[from] quantize::Error),

    /// Values that have no codes.
    #[error(transparent)]
    Values(#[from] quant_core::Error),
}
