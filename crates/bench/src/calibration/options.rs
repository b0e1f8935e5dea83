//! A calibration on the command line: gathered now, kept, read back, drawn.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use quantize::{QuantizedNet, SiteStatistics, Sites};

use super::picture::page;
use super::{collect, saved};
use crate::plan::{PlannedRun, Ranges};
use crate::settings::{Activations, Settings};

/// What to do with a calibration.
#[derive(Clone, Debug, clap::Args)]
pub struct CalibrationOptions {
    /// Keep what calibration sees of every activation site, as CSV files in a new folder.
    #[arg(long, value_name = "DIR", conflicts_with = "calibration")]
    pub save_calibration: Option<PathBuf>,
    /// Take activation ranges from a folder that --save-calibration wrote for the same weights; no images are run.
    #[arg(long, value_name = "DIR")]
    pub calibration: Option<PathBuf>,
    /// Draw what calibration sees of every activation site, with the codes chosen, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub calibration_pictures: Option<PathBuf>,
}

/// What a network's sites saw.
pub struct Calibration {
    /// Of what, for people: `512 images of synthetic`.
    pub images: String,
    /// By site.
    pub statistics: SiteStatistics,
}

/// Settings that choose the calibration images.
const OF_THE_IMAGES: [&str; 2] = ["calibration.dataset", "calibration.images"];

impl CalibrationOptions {
    /// What a plan needs.
    ///
    /// # Errors
    /// A setting that a saved calibration leaves nothing to say.
    pub fn ranges(&self, settings: &Settings) -> Result<Ranges> {
        if self.calibration.is_none() {
            return Ok(Ranges::Images);
        }
        if let Some(key) = OF_THE_IMAGES
            .iter()
            .find(|key| settings.contains_key(**key))
        {
            bail!(
                "--calibration: its images were run already, so {key} does not apply; leave it out"
            );
        }
        Ok(Ranges::Saved)
    }

    /// What activation ranges are taken from, where activations are quantized: read from a folder, or gathered now, and
    /// then kept where that is asked for.
    ///
    /// # Errors
    /// An option without quantized activations; a folder that cannot be read or is there already; a site that saw NaN.
    pub fn calibration(
        &self,
        planned: &PlannedRun,
        activations: Option<&Activations>,
        threads: usize,
    ) -> Result<Option<Calibration>> {
        let options = [
            ("--calibration", &self.calibration),
            ("--save-calibration", &self.save_calibration),
            ("--calibration-pictures", &self.calibration_pictures),
        ];
        if activations.is_none() {
            return match options.iter().find(|(_, path)| path.is_some()) {
                Some((option, _)) => {
                    bail!("{option}: activations.bits = 32 needs no calibration; give 1 to 16")
                }
                None => Ok(None),
            };
        }
        if let Some(folder) = &self.calibration {
            let (source, statistics) = saved::load(folder, &planned.model)?;
            let own = planned.set.data.normalization().to_string();
            // Folders of before there was a choice do not say.
            if let Some(other) = source.normalization.as_ref().filter(|other| **other != own) {
                bail!(
                    "{}: a calibration on images with input.normalization = {}, not {own}; make one with --save-calibration",
                    folder.display(),
                    other.escape_default()
                );
            }
            let images = format!(
                "{} images of {}",
                source.images,
                source.dataset.escape_default()
            );
            return Ok(Some(Calibration { images, statistics }));
        }
        let images = planned.calibration.as_ref();
        let images = images.context("there are no calibration images")?;
        // Before the work, not behind it.
        if let Some(folder) = self
            .save_calibration
            .as_ref()
            .filter(|folder| folder.exists())
        {
            bail!(
                "--save-calibration: {} exists; name a new folder",
                folder.display()
            );
        }
        let checkpoint = &planned.model.checkpoint;
        let running = AtomicBool::new(false);
        let statistics = collect(&checkpoint.network, &images.data, threads, &running)?;
        if let Some(folder) = &self.save_calibration {
            saved::save(folder, &planned.model, images, &statistics)?;
            eprintln!("wrote {}", folder.display());
        }
        Ok(Some(Calibration {
            images: format!("{} images of {}", images.data.len(), images.name),
            statistics,
        }))
    }

    /// Draws the sites with the codes of `net`, if that is asked for.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn draw(&self, title: &str, net: &QuantizedNet, calibration: &Calibration) -> Result<()> {
        let Some(path) = &self.calibration_pictures else {
            return Ok(());
        };
        let sites = Sites::new(&net.topology);
        let codes = net.site_codes();
        let seen = sites
            .names()
            .zip(codes)
            .filter_map(|(site, code)| Some((site, calibration.statistics.get(site)?, code)));
        let svg = page(title, &seen.collect::<Vec<_>>())?;
        std::fs::write(path, svg).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok(())
    }
}
