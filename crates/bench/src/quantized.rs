//! A checkpoint quantized as a cell says: its weights, then its activations by what was seen in calibration.

use anyhow::{Result, bail};
use resnet::{Checkpoint, QuantizedNet, SiteStatistics, Sites};

use crate::settings::Quantization;

/// The network of `checkpoint` with everything quantized that `how` names.
///
/// # Errors
/// A tensor or a site that cannot be quantized, by name; activations without `statistics`.
pub fn quantized(
    checkpoint: &Checkpoint,
    how: &Quantization,
    statistics: Option<&SiteStatistics>,
) -> Result<QuantizedNet> {
    let arch = &checkpoint.arch;
    let mut net = resnet::quantize(arch, &checkpoint.state, &how.weights)?;
    if let Some(activations) = &how.activations {
        let Some(statistics) = statistics else {
            bail!("activations cannot be quantized without calibration images");
        };
        let codes = Sites::new(arch).fit(statistics, &activations.how)?;
        net.quantize_activations(arch, &how.weights, codes, activations.how.shortcut)?;
    }
    Ok(net)
}
