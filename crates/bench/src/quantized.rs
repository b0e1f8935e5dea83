//! A checkpoint quantized as a cell says: its weights, then its activations by what was seen in calibration; or as its own file
//! says.

use anyhow::{Result, bail};
use quantize::{QuantizedNet, SiteStatistics, Sites};
use resnet::Checkpoint;

use crate::settings::{Quantization, Source};

/// The network of `checkpoint` with everything quantized that `how` names.
///
/// # Errors
/// A tensor or a site that cannot be quantized, by name; activations without `statistics`; a network that is to be trained.
pub fn quantized(
    checkpoint: &Checkpoint,
    how: &Quantization,
    statistics: Option<&SiteStatistics>,
) -> Result<QuantizedNet> {
    let network = &checkpoint.network;
    match how.source {
        Source::PostTraining => {}
        Source::Stored => return Ok(checkpoint.quantizers.network(network)?),
        Source::Training(_) => bail!(
            "method = qat: nothing is trained here; `train --qat` makes a file, which method = stored reads"
        ),
    }
    let mut net = quantize::quantize(network, &how.weights)?;
    if let Some(activations) = &how.activations {
        let Some(statistics) = statistics else {
            bail!("activations cannot be quantized without calibration images");
        };
        let (sites, shortcut) = (Sites::new(network.topology()), activations.how.shortcut);
        let codes = sites.fit(statistics, &activations.how)?;
        net.quantize_activations(&how.weights, codes, shortcut)?;
        net.note_dead(&sites.dead(statistics, shortcut));
    }
    Ok(net)
}
