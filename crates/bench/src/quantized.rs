//! A checkpoint quantized as a cell says: its weights, then its activations by what was seen in calibration; or as its own file
//! says.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use dataset::Dataset;
use network::Network;
use quant_core::ActivationRange;
use quantize::{
    BiasCorrection, QuantizedNet, ShortcutPolicy, SiteCodes, SiteStatistics, Sites,
    WeightQuantization,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use resnet::Checkpoint;
use train::Reconstruction;

use crate::allocated::{Known, allocated};
#[cfg(feature = "burn")]
use crate::device::{open_burn, with_gradients};
use crate::plan::PlannedRun;
use crate::settings::{Quantization, Source};
use crate::train::{Nobody, Observer};

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

/// What quantizing may need beside a checkpoint.
pub struct Around<'a> {
    /// The images that rounding may look at; a saved calibration has none.
    pub images: Option<&'a Dataset>,
    /// Worker threads.
    pub threads: usize,
    /// Where gradients are computed: `engine` (on `flex`) or a burn device.
    pub device: &'a str,
    /// What was measured for allocations, by whoever keeps it.
    pub known: Option<&'a Known>,
    /// Where finished pieces of a reconstruction are kept; absent: nowhere.
    pub folder: Option<&'a Path>,
    /// Told how a reconstruction goes.
    pub observer: &'a dyn Observer,
    /// Raised by Ctrl-C.
    pub cancelled: &'a AtomicBool,
}

/// The network of `checkpoint` with everything quantized that `how` names; `statistics` are those of its [`float`] network.
///
/// # Errors
/// A tensor or a site that cannot be quantized, by name; activations without `statistics`, rounding that looks
/// at images without any; a network that is to be trained.
pub fn quantized(
    checkpoint: &Checkpoint,
    how: &Quantization,
    statistics: Option<&SiteStatistics>,
    around: &Around<'_>,
) -> Result<QuantizedNet> {
    let (how, _) = allocated(checkpoint, how, statistics, around)?;
    quantized_as_said(checkpoint, &how, statistics, around)
}

/// With every number of bits known.
fn quantized_as_said(
    checkpoint: &Checkpoint,
    how: &Quantization,
    statistics: Option<&SiteStatistics>,
    around: &Around<'_>,
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
    let mut by_outputs = BTreeSet::new();
    let mut codes = match (&how.activations, statistics) {
        (None, _) => None,
        (Some(_), None) => bail!("activations cannot be quantized without calibration images"),
        (Some(activations), Some(statistics)) => {
            let how = &activations.how;
            let fitted = match how.scheme.range() {
                ActivationRange::OutputMse => {
                    let (pixels, size) = around.pixels()?;
                    let made = || quantize::output_ranges(float, statistics, how, (&pixels, size));
                    let (fitted, found) = around.pool()?.install(made)?;
                    by_outputs = found;
                    fitted
                }
                _ => sites.fit(statistics, how)?,
            };
            Some((fitted, statistics, how.shortcut))
        }
    };
    let mut net = match &how.by_layer {
        None => quantize::quantize(float, &how.weights)?,
        Some(by_layer) => {
            let (pixels, size) = around.pixels()?;
            let codes = codes
                .as_ref()
                .map(|(codes, _, shortcut)| (codes, *shortcut));
            let how = (&how.weights, &by_layer.how);
            let made = || quantize::quantize_by_layer(float, how, (&pixels, size), codes);
            around.pool()?.install(made)?
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
    if let Some((reconstruction, _)) = &how.reconstruction {
        let sited = codes.take();
        let start = sited.as_ref();
        let start = start.map(|(codes, _, shortcut)| (codes.clone(), *shortcut));
        let weights = (&how.weights, reconstruction);
        let (made, moved) = around.reconstructed((float, net), weights, start)?;
        net = made;
        codes = sited
            .zip(moved)
            .map(|((_, statistics, shortcut), codes)| (codes, statistics, shortcut));
    }
    if let Some((codes, statistics, shortcut)) = codes {
        net.quantize_activations(&how.weights, codes, shortcut)?;
        net.note_dead(&sites.dead(statistics, shortcut));
        net.note_output_ranges(&by_outputs);
    }
    net.manifest
        .extend(equalized.into_iter().flat_map(|made| made.manifest));
    Ok(net)
}

/// Raised by nobody.
static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a> Around<'a> {
    /// What `run` has of it, on so many threads: no folder, nobody who watches.
    pub fn of(run: &'a PlannedRun, threads: usize) -> Self {
        let images = run.calibration.as_ref();
        Self {
            images: images.map(|images| &images.data),
            threads,
            device: run.config.text("device"),
            ..Around::alone()
        }
    }
}

impl Around<'static> {
    /// No images, one thread, nobody who watches.
    pub fn alone() -> Self {
        Self {
            images: None,
            threads: 1,
            device: "engine",
            known: None,
            folder: None,
            observer: &Nobody,
            cancelled: &NEVER,
        }
    }
}

impl Around<'_> {
    /// The images, `[n, c, height, width]`, and their height and width.
    fn pixels(&self) -> Result<(Vec<f32>, [usize; 2])> {
        let Some(images) = self.images else {
            bail!(
                "weights.rounding = gram or adaround, weights.range and calibration.method = output_mse, bias_correction = empirical and reconstruct look at images, and a saved calibration has none"
            );
        };
        let mut pixels = vec![0.0; images.len() * images.image_len()];
        images.write_batch(0..images.len(), &mut pixels);
        Ok((pixels, [images.height(), images.width()]))
    }

    /// The first `count` images, `[n, c, height, width]`, their labels, and their height and width.
    pub(crate) fn first(&self, count: usize) -> Result<(Vec<f32>, Vec<u16>, [usize; 2])> {
        let Some(images) = self.images else {
            bail!("allocate.method looks at images, and a saved calibration has none");
        };
        let count = count.min(images.len());
        let mut pixels = vec![0.0; count * images.image_len()];
        images.write_batch(0..count, &mut pixels);
        let labels = (0..count).map(|i| images.label(i)).collect();
        Ok((pixels, labels, [images.height(), images.width()]))
    }

    /// So many threads.
    pub(crate) fn pool(&self) -> Result<ThreadPool> {
        let threads = ThreadPoolBuilder::new().num_threads(self.threads);
        Ok(threads.build()?)
    }

    #[cfg(feature = "burn")]
    fn reconstructed(
        &self,
        net: (&Network, QuantizedNet),
        how: (&WeightQuantization, &Reconstruction),
        codes: Option<(SiteCodes, ShortcutPolicy)>,
    ) -> Result<(QuantizedNet, Option<SiteCodes>)> {
        let device = open_burn(with_gradients(self.device))?;
        let (pixels, size) = self.pixels()?;
        let course = crate::pieces::Pieces::open(self)?;
        let on = (&device, self.threads);
        let made = || train::reconstruct(net, how, codes, (&pixels, size), on, &course);
        match self.pool()?.install(made) {
            Err(train::Error::Stopped) => bail!("stopped; finished pieces are kept"),
            made => Ok(made?),
        }
    }

    #[cfg(not(feature = "burn"))]
    fn reconstructed(
        &self,
        _: (&Network, QuantizedNet),
        _: (&WeightQuantization, &Reconstruction),
        _: Option<(SiteCodes, ShortcutPolicy)>,
    ) -> Result<(QuantizedNet, Option<SiteCodes>)> {
        bail!("reconstruct: {}", crate::device::WITHOUT_BURN)
    }
}
