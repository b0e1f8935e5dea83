//! A checkpoint quantized as a cell says: its weights, then its activations by what was seen in calibration; or as its own file
//! says.

use std::borrow::Cow;

use anyhow::{Result, bail};
use dataset::Dataset;
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

/// The network of `checkpoint` with everything quantized that `how` names; `statistics` are those of its [`float`] network, `images`
/// those that rounding may look at, on so many threads.
///
/// # Errors
/// A tensor or a site that cannot be quantized, by name; activations without `statistics`, rounding that looks
/// at images without any; a network that is to be trained.
pub fn quantized(
    checkpoint: &Checkpoint,
    how: &Quantization,
    statistics: Option<&SiteStatistics>,
    images: Option<(&Dataset, usize)>,
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
    let sites = Sites::new(float.topology());
    let codes = match (&how.activations, statistics) {
        (None, _) => None,
        (Some(_), None) => bail!("activations cannot be quantized without calibration images"),
        (Some(activations), Some(statistics)) => Some((
            sites.fit(statistics, &activations.how)?,
            statistics,
            activations.how.shortcut,
        )),
    };
    let mut net = match (&how.by_layer, images) {
        (None, _) => quantize::quantize(float, &how.weights)?,
        (Some(_), None) => bail!(
            "weights.rounding = gram or adaround, weights.range = output_mse and bias_correction = empirical look at images, and a saved calibration has none"
        ),
        (Some(by_layer), Some((images, threads))) => {
            let mut pixels = vec![0.0; images.len() * images.image_len()];
            images.write_batch(0..images.len(), &mut pixels);
            let size = [images.height(), images.width()];
            let codes = codes
                .as_ref()
                .map(|(codes, _, shortcut)| (codes, *shortcut));
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            let how = (&how.weights, &by_layer.how);
            pool.install(|| quantize::quantize_by_layer(float, how, (&pixels, size), codes))?
        }
    };
    if how.bias_correction == BiasCorrection::Analytic {
        let expected = quantize::expected_inputs(network)?;
        let expected = match &equalized {
            Some(made) => made.expected(&expected),
            None => expected,
        };
        net.correct_biases(&quantize::fold(float)?, &expected)?;
    }
    if let Some((codes, statistics, shortcut)) = codes {
        net.quantize_activations(&how.weights, codes, shortcut)?;
        net.note_dead(&sites.dead(statistics, shortcut));
    }
    net.manifest
        .extend(equalized.into_iter().flat_map(|made| made.manifest));
    Ok(net)
}
