//! The network that a run ends in: quantized again, or, where it was trained, read from where its training left it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Result, bail};
use network::Network;
use network::StateDict;
use quantize::QuantizedNet;
use quantize::{StoredQuantizers, is_quantizer};
use resnet::Checkpoint;

use crate::measure::{Gathered, TRAINED};
use crate::plan::PlannedRun;
use crate::quantized::{Around, quantized};
use crate::settings::Source;

/// The quantized network of `run`. `trainings` is where trainings lie; calibration images are run on `threads` threads, or taken from
/// `gathered`.
///
/// # Errors
/// A run that quantizes nothing, or was trained somewhere else; what cannot be quantized, by name.
pub fn network_of(
    run: &PlannedRun,
    trainings: &Path,
    gathered: &Gathered,
    threads: usize,
    cancelled: &AtomicBool,
) -> Result<QuantizedNet> {
    let checkpoint = &run.model.checkpoint;
    let Some(how) = &run.cell.quantization else {
        bail!("weights.bits = 32 and activations.bits = 32 quantize nothing; set one of them");
    };
    if let Source::Training(_) = how.source {
        let folder = trainings.join(&run.run_id);
        let file = folder.join(TRAINED);
        if !file.is_file() {
            bail!(
                "method = qat: the trained network of run {} is not in {}; `sweep` leaves it there (--cache names the folder)",
                run.run_id,
                folder.display()
            );
        }
        return trained(checkpoint, &file);
    }
    let images = run.calibration.as_ref();
    let seen = images.filter(|_| how.activations.is_some());
    let statistics = seen.map(|images| gathered.of((checkpoint, how), images, threads, cancelled));
    let folder = trainings.join(&run.run_id);
    let around = Around {
        folder: Some(&folder),
        cancelled,
        ..Around::of(run, threads)
    };
    quantized(checkpoint, how, statistics.transpose()?.as_deref(), &around)
}

/// `checkpoint` folded, with the weights and quantizers of a file that its training has left.
fn trained(checkpoint: &Checkpoint, file: &Path) -> Result<QuantizedNet> {
    let all = resnet::read_tensors(file)?;
    let all = all.iter().map(|(name, t)| (name.clone(), t.clone()));
    let (quantizers, tensors): (Vec<_>, Vec<_>) = all.partition(|(name, _)| is_quantizer(name));
    let tensors: StateDict = tensors.into_iter().collect();
    let (topology, _) = quantize::fold(&checkpoint.network)?.into_parts();
    let network = Network::new(topology, tensors)?;
    let quantizers = StoredQuantizers::new(quantizers.into_iter().collect());
    Ok(quantizers.network(&network)?)
}
