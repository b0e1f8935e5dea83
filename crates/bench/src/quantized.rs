//! A checkpoint quantized as a cell says: its weights, then its activations by what was seen in calibration; or as its own file
//! says.

use std::borrow::Cow;

use anyhow::{Result, bail};
use network::Network;
use quantize::{BiasCorrection, QuantizedNet, SiteStatistics, Sites};
use resnet::Checkpoint;

use crate::settings::{Quantization, Source};

/// The float network that a cell quantizes: that of the checkpoint, equalized where the cell says so. What is calibrated is this one.
///
/// # Errors
/// None for a checked network.
pub fn float<'a>(checkpoint: &'a Checkpoint, how: &Quantization) -> Result<Cow<'a, Network>> {
    let network = &checkpoint.network;
    Ok(match &how.equalization {
        None => Cow::Borrowed(network),
        Some(how) => Cow::Owned(quantize::equalize(network, how)?.network),
    })
}

/// The network of `checkpoint` with everything quantized that `how` names; `statistics` are those of its [`float`] network.
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
    let equalized = how.equalization.as_ref();
    let equalized = equalized.map(|how| quantize::equalize(network, how));
    let equalized = equalized.transpose()?;
    let float = equalized.as_ref().map_or(network, |made| &made.network);
    let mut net = quantize::quantize(float, &how.weights)?;
    if how.bias_correction == BiasCorrection::Analytic {
        let expected = quantize::expected_inputs(network)?;
        let expected = match &equalized {
            Some(made) => made.expected(&expected),
            None => expected,
        };
        net.correct_biases(&quantize::fold(float)?, &expected)?;
    }
    if let Some(activations) = &how.activations {
        let Some(statistics) = statistics else {
            bail!("activations cannot be quantized without calibration images");
        };
        let (sites, shortcut) = (Sites::new(float.topology()), activations.how.shortcut);
        let codes = sites.fit(statistics, &activations.how)?;
        net.quantize_activations(&how.weights, codes, shortcut)?;
        net.note_dead(&sites.dead(statistics, shortcut));
    }
    net.manifest
        .extend(equalized.into_iter().flat_map(|made| made.manifest));
    Ok(net)
}
