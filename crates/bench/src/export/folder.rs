//! A folder that a sweep's networks go to, each as `EXPERIMENT-RUN_ID.onnx` in QDQ form.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use results::Run;

use super::{Hits, Way, facts, network_of, stored};
use crate::measure::Gathered;
use crate::plan::PlannedRun;

/// The folder, which is there.
#[derive(Clone, Debug)]
pub struct ExportFolder(PathBuf);

impl ExportFolder {
    /// A folder to write to: created when absent, and tried, so that a place that cannot be written fails before the work.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        let tried = std::fs::create_dir_all(path).and_then(|()| tempfile::tempfile_in(path));
        tried.with_context(|| format!("--export: cannot write to {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// Where the network of a run goes.
    fn file(&self, experiment: &str, run_id: &str) -> PathBuf {
        self.0.join(format!("{experiment}-{run_id}.onnx"))
    }

    /// Whether that of a run is there already.
    pub fn has(&self, experiment: &str, run_id: &str) -> bool {
        self.file(experiment, run_id).is_file()
    }

    /// Writes the network of `run`, which has `finished`. Parameters as in [`network_of`].
    ///
    /// # Errors
    /// What the form does not have, by name; a folder that cannot be written.
    pub fn write(
        &self,
        run: &PlannedRun,
        finished: &Run,
        (trainings, gathered, threads): (&Path, &Gathered, usize),
        cancelled: &AtomicBool,
    ) -> Result<()> {
        let path = self.file(&finished.row.experiment, &run.run_id);
        let net = network_of(run, trainings, gathered, threads, cancelled)?;
        let settings = stored::columns(&run.config);
        Way::Qdq.write(&net, &facts(run, &settings, Hits::of(finished)), &path)?;
        Ok(())
    }
}
