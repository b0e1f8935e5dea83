//! Run folders: `results/<experiment>/<run_id>/`, complete or absent.
//!
//! Writing: fill `.<run_id>.<process>-<n>.tmp` beside the final place (same filesystem), sync every file and the
//! folder, rename, sync the parent. Whatever interrupts that leaves at most a folder whose name starts with a dot, which
//! nobody reads and which the next holder of the run's lock removes.
//! A failed run is a folder too; it is not complete, and a rerun replaces it. A successful run is never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::claim::{self, Claim, Claims, Holder, INTERVAL};
use crate::error::Error;
use crate::file::{read_rows, rows_text, write_rows};
use crate::folder::{TEMPORARY, new_folder, sync_folder};
use crate::lock::{FileLock, LOCKS, Wait};
use crate::peer::PeerRow;
use crate::rows::{EpochRow, PublishedRow, Row, Run, RunRow, Status};
use crate::whole::write_whole;

/// Folder in a results folder for runs to compare with; it has experiments of its own and is none.
pub const REFERENCE: &str = "reference";

/// File of the run row.
pub const RUN_FILE: &str = "run.csv";
/// File of the metrics.
pub const METRICS_FILE: &str = "metrics.csv";
/// File of the predictions.
pub const PREDICTIONS_FILE: &str = "predictions.csv";
/// File of the quantization manifest.
pub const MANIFEST_FILE: &str = "manifest.csv";

/// File of the epochs of a training.
pub const EPOCHS_FILE: &str = "epochs.csv";

/// File of an experiment with published values.
pub const PUBLISHED_FILE: &str = "published.csv";
/// File of an experiment with what other tools come to.
pub const PEERS_FILE: &str = "peers.csv";

/// How often a run that cannot be read is looked at before it counts as damaged.
const LOOKS: u32 = 8;

/// How often one who waits for a run looks.
const POLL: Duration = Duration::from_millis(200);

/// A results folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    claims: Arc<Claims>,
}

/// The right to work on a run; dropped, or its process gone, another process may have it, on this machine or another.
#[derive(Debug)]
#[must_use = "the run is free again as soon as this is dropped"]
pub struct RunLock {
    // Let go in this order.
    _claim: Claim,
    _lock: FileLock,
}

impl Store {
    /// A results folder to write to: created when absent, and tried, so that a place that cannot be written fails before
    /// the work and not after it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(root: impl Into<PathBuf>) -> Result<Store, Error> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(Error::io("create", &root))?;
        let trial = new_folder(&root, "trial")?;
        fs::remove_dir(&trial).map_err(Error::io("remove", &trial))?;
        Ok(Store::at(root))
    }

    fn at(root: PathBuf) -> Store {
        let claims = Arc::new(Claims::new(Holder::here("", INTERVAL)));
        Store { root, claims }
    }

    /// The same folder, for one who tells other machines that it is `me`.
    pub fn as_holder(self, me: Holder) -> Store {
        let claims = Arc::new(Claims::new(me));
        Store { claims, ..self }
    }

    /// A results folder to read from: must exist, is not touched.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there or not a folder.
    pub fn existing(root: impl Into<PathBuf>) -> Result<Store, Error> {
        let root = root.into();
        fs::read_dir(&root).map_err(Error::io("read", &root))?;
        Ok(Store::at(root))
    }

    /// The folder given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an experiment lies.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn experiment_dir(&self, experiment: &str) -> Result<PathBuf, Error> {
        check_experiment(experiment)?;
        Ok(self.root.join(experiment))
    }

    /// Where a run lies, or will.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn run_dir(&self, experiment: &str, run_id: &str) -> Result<PathBuf, Error> {
        let folder = self.experiment_dir(experiment)?;
        if !is_run_id(run_id) {
            return Err(Error::Name {
                what: "run id",
                name: run_id.into(),
                allowed: "12 digits of 0-9 and a-f",
            });
        }
        Ok(folder.join(run_id))
    }

    /// Names of the experiments that have runs, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn experiments(&self) -> Result<Vec<String>, Error> {
        let mut names = folder_names(&self.root)?;
        names.retain(|name| self.experiment_dir(name).is_ok());
        let mut with_runs = Vec::new();
        for name in names {
            if !self.runs(&name)?.is_empty() {
                with_runs.push(name);
            }
        }
        Ok(with_runs)
    }

    /// Ids of the runs of an experiment, failed ones included, sorted. None when the experiment has no folder yet.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn runs(&self, experiment: &str) -> Result<Vec<String>, Error> {
        let folder = self.experiment_dir(experiment)?;
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut names = folder_names(&folder)?;
        names.retain(|name| is_run_id(name));
        Ok(names)
    }

    /// Whether a run is there and succeeded. A failed one is not complete.
    ///
    /// # Errors
    /// Everything that [`Store::read_row`] gives: a damaged folder is an error and not an absence.
    pub fn is_complete(&self, experiment: &str, run_id: &str) -> Result<bool, Error> {
        // One that another process moves away or puts in place just now is looked at again; damage stays.
        for look in 1.. {
            if !self.run_dir(experiment, run_id)?.exists() {
                break;
            }
            match self.read_row(experiment, run_id) {
                Ok(row) => return Ok(row.status == Status::Ok),
                Err(error) if look == LOOKS => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        Ok(false)
    }

    /// The run row alone, with the check that it belongs where it lies and that the other files are there.
    ///
    /// # Errors
    /// [`Error::Folder`], and those of [`read_rows`].
    pub fn read_row(&self, experiment: &str, run_id: &str) -> Result<RunRow, Error> {
        let path = self.run_dir(experiment, run_id)?;
        let problem = |problem: String| Error::Folder {
            path: path.clone(),
            problem,
        };
        for name in [RUN_FILE, METRICS_FILE, PREDICTIONS_FILE, MANIFEST_FILE] {
            if !path.join(name).is_file() {
                return Err(problem(format!("{name} is missing")));
            }
        }
        let file = path.join(RUN_FILE);
        let mut rows: Vec<RunRow> = read_rows(&file)?;
        let (Some(row), true) = (rows.pop(), rows.is_empty()) else {
            let found = read_rows::<RunRow>(&file)?.len();
            return Err(Error::RowCount {
                path: file,
                found,
                allowed: 1,
            });
        };
        if row.run_id != run_id {
            return Err(problem(format!("{RUN_FILE} is of run {}", row.run_id)));
        }
        if row.experiment != experiment {
            return Err(problem(format!(
                "{RUN_FILE} is of experiment `{}`",
                row.experiment
            )));
        }
        Ok(row)
    }

    /// A whole run, validated.
    ///
    /// # Errors
    /// Those of [`Store::read_row`] and [`Run::validate`].
    pub fn read(&self, experiment: &str, run_id: &str) -> Result<Run, Error> {
        let row = self.read_row(experiment, run_id)?;
        let path = self.run_dir(experiment, run_id)?;
        let run = Run {
            row,
            metrics: read_rows(&path.join(METRICS_FILE))?,
            predictions: read_rows(&path.join(PREDICTIONS_FILE))?,
            manifest: read_rows(&path.join(MANIFEST_FILE))?,
            epochs: self.epochs(experiment, run_id)?,
        };
        run.validate()?;
        Ok(run)
    }

    /// The epochs of a run; none where it has no such file.
    ///
    /// # Errors
    /// [`Error::Name`], and those of [`read_rows`].
    pub fn epochs(&self, experiment: &str, run_id: &str) -> Result<Vec<EpochRow>, Error> {
        let path = self.run_dir(experiment, run_id)?.join(EPOCHS_FILE);
        match path.exists() {
            true => read_rows(&path),
            false => Ok(Vec::new()),
        }
    }

    /// What is published for the runs of an experiment, sorted by run; none where it has no such file.
    ///
    /// # Errors
    /// [`Error::Name`], and those of [`read_rows`].
    pub fn published(&self, experiment: &str) -> Result<Vec<PublishedRow>, Error> {
        self.beside_runs(experiment, PUBLISHED_FILE)
    }

    /// What other tools come to beside the runs of an experiment; none where it has no such file.
    ///
    /// # Errors
    /// [`Error::Name`], and those of [`read_rows`].
    pub fn peers(&self, experiment: &str) -> Result<Vec<PeerRow>, Error> {
        self.beside_runs(experiment, PEERS_FILE)
    }

    /// The rows of a file that lies beside an experiment's runs; none without the file.
    fn beside_runs<R: Row>(&self, experiment: &str, file: &str) -> Result<Vec<R>, Error> {
        let path = self.experiment_dir(experiment)?.join(file);
        match path.exists() {
            true => read_rows(&path),
            false => Ok(Vec::new()),
        }
    }

    /// Puts what is published for `runs` in the place of what the file says of them; what it says of others stays. Hold
    /// [`Store::lock_tables`] meanwhile.
    ///
    /// # Errors
    /// Those of [`Store::published`], [`Error::Io`].
    pub fn publish(
        &self,
        experiment: &str,
        runs: &[&str],
        rows: Vec<PublishedRow>,
    ) -> Result<(), Error> {
        let before = self.published(experiment)?;
        let others = before
            .iter()
            .filter(|row| !runs.contains(&row.run_id.as_str()));
        let mut all: Vec<_> = others.cloned().chain(rows).collect();
        all.sort_by(|a, b| a.run_id.cmp(&b.run_id));
        self.put_beside_runs(experiment, PUBLISHED_FILE, &before, &all)
    }

    /// Makes `rows` what other tools come to beside an experiment's runs. Hold [`Store::lock_tables`] meanwhile.
    ///
    /// # Errors
    /// Those of [`Store::peers`], [`Error::Io`].
    pub fn set_peers(&self, experiment: &str, rows: &[PeerRow]) -> Result<(), Error> {
        let before = self.peers(experiment)?;
        self.put_beside_runs(experiment, PEERS_FILE, &before, rows)
    }

    /// Replaces a file beside an experiment's runs that had the rows `before`; one without rows is no file.
    fn put_beside_runs<R: Row + PartialEq>(
        &self,
        experiment: &str,
        file: &str,
        before: &[R],
        rows: &[R],
    ) -> Result<(), Error> {
        if rows == before {
            return Ok(());
        }
        let folder = self.experiment_dir(experiment)?;
        let path = folder.join(file);
        if rows.is_empty() {
            return fs::remove_file(&path).map_err(Error::io("remove", &path));
        }
        write_whole(&path, rows_text(rows).as_bytes()).map_err(Error::io("write", &path))
    }

    /// Writes a run folder, whole or not at all, and gives its path. Hold the run's [`Store::lock`] from before the work
    /// until after this; without it the result is still whole, but the work may be done twice.
    ///
    /// # Errors
    /// [`Error::Run`] for a run that contradicts itself, [`Error::AlreadyComplete`] when a successful one is there,
    /// [`Error::Io`].
    pub fn write(&self, run: &Run) -> Result<PathBuf, Error> {
        run.validate()?;
        let (experiment, run_id) = (run.row.experiment.as_str(), run.row.run_id.as_str());
        let target = self.run_dir(experiment, run_id)?;
        // `None` when the caller holds it already, as it should: then nobody clears our temporary folder away either.
        let _lock = self.try_lock(experiment, run_id)?;
        if self.is_complete(experiment, run_id)? {
            return Err(Error::AlreadyComplete { path: target });
        }
        let parent = self.experiment_dir(experiment)?;
        fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
        let temporary = new_folder(&parent, run_id)?;
        let result =
            fill(&temporary, run).and_then(|()| self.put_in_place(experiment, run_id, &temporary));
        if result.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        result?;
        sync_folder(&parent)?;
        Ok(target)
    }

    /// Waits for the right to work on a run. Ask [`Store::is_complete`] again once this returns: the holder before may have
    /// finished the run.
    ///
    /// # Errors
    /// Those of [`Store::try_lock`].
    pub fn lock(&self, experiment: &str, run_id: &str) -> Result<RunLock, Error> {
        loop {
            if let Some(lock) = self.try_lock(experiment, run_id)? {
                return Ok(lock);
            }
            std::thread::sleep(POLL);
        }
    }

    /// The right to work on a run, what a dead holder left removed; `None` when another process (or thread) works on it. Whether a
    /// holder on another machine is alive is known to one who has asked for a while: ask again.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn try_lock(&self, experiment: &str, run_id: &str) -> Result<Option<RunLock>, Error> {
        let path = self.lock_file(experiment, run_id)?;
        let Some(lock) = FileLock::acquire(&path, Wait::No)? else {
            return Ok(None);
        };
        let claim = self.claims.take(&path.with_extension("claim"))?;
        let Some(claim) = claim else {
            return Ok(None);
        };
        self.remove_temporary(experiment, run_id)?;
        Ok(Some(RunLock {
            _claim: claim,
            _lock: lock,
        }))
    }

    /// Who works on which run, and how long ago he was heard.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn holders(&self, experiment: &str) -> Result<Vec<(String, Holder, Duration)>, Error> {
        let folder = self.experiment_dir(experiment)?;
        // The clock of whoever serves the folder, if one can write there.
        let trial = new_folder(&self.root, "trial").ok();
        let there = trial.and_then(|trial| {
            let time = fs::metadata(&trial).and_then(|about| about.modified());
            let _ = fs::remove_dir(&trial);
            time.ok()
        });
        claim::holders(&folder.join(LOCKS), there.unwrap_or_else(SystemTime::now))
    }

    /// Waits for the right to read an experiment's runs and write what is made from them. Without it the slower of two
    /// processes could replace a table of all runs by one of those that it saw.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn lock_tables(&self, experiment: &str) -> Result<FileLock, Error> {
        let path = self
            .experiment_dir(experiment)?
            .join(LOCKS)
            .join("tables.lock");
        FileLock::wait(&path)
    }

    /// Removes what killed processes left in an experiment: temporary folders and lock files of runs that nobody holds.
    /// Gives the number of temporary folders removed.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Io`].
    pub fn clean(&self, experiment: &str) -> Result<usize, Error> {
        let folder = self.experiment_dir(experiment)?;
        if !folder.exists() {
            return Ok(0);
        }
        let before = temporary_folders(&folder)?;
        let mut run_ids: Vec<String> = before.iter().map(|(run_id, _)| run_id.clone()).collect();
        if let Ok(locks) = fs::read_dir(folder.join(LOCKS)) {
            let names = locks
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok());
            run_ids.extend(
                names
                    .filter_map(|n| {
                        let name = n.strip_suffix(".lock").or(n.strip_suffix(claim::ENDING));
                        name.map(str::to_string)
                    })
                    .filter(|n| is_run_id(n)),
            );
        }
        run_ids.sort_unstable();
        run_ids.dedup();
        for run_id in run_ids {
            // Taking the lock clears the folders, letting it go removes the lock file.
            drop(self.try_lock(experiment, &run_id)?);
        }
        Ok(before.iter().filter(|(_, path)| !path.exists()).count())
    }

    fn lock_file(&self, experiment: &str, run_id: &str) -> Result<PathBuf, Error> {
        self.run_dir(experiment, run_id)?;
        let folder = self.experiment_dir(experiment)?.join(LOCKS);
        Ok(folder.join(format!("{run_id}.lock")))
    }

    /// Removes what a dead holder of a run's lock left.
    fn remove_temporary(&self, experiment: &str, run_id: &str) -> Result<(), Error> {
        let folders = temporary_folders(&self.experiment_dir(experiment)?)?;
        let of_run = folders.into_iter().filter(|(id, _)| id == run_id);
        of_run
            .map(|(_, path)| path)
            .try_for_each(|path| remove_stale(&path))
    }

    /// Renames a filled folder to its final name, moving a failed run out of the way first. A folder cannot replace one
    /// that holds files, so that a run another process finished in between is found and left alone.
    fn put_in_place(&self, experiment: &str, run_id: &str, temporary: &Path) -> Result<(), Error> {
        let target = self.run_dir(experiment, run_id)?;
        loop {
            let error = match fs::rename(temporary, &target) {
                Ok(()) => return Ok(()),
                Err(error) if target.exists() => error,
                Err(error) => return Err(Error::io("rename to", &target)(error)),
            };
            if self.is_complete(experiment, run_id)? {
                return Err(Error::AlreadyComplete { path: target });
            }
            // Our own name with another ending, so that nobody else can be using it.
            let aside = temporary.with_extension("old.tmp");
            match fs::rename(&target, &aside) {
                Ok(()) => remove_stale(&aside)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => return Err(Error::io("replace", &target)(error)),
            }
        }
    }
}

/// Fails for a name that cannot be an experiment's folder.
///
/// # Errors
/// [`Error::Name`].
pub fn check_experiment(name: &str) -> Result<(), Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let taken = name.is_empty() || name.starts_with('.') || name == REFERENCE;
    if taken || !name.chars().all(allowed) {
        return Err(Error::Name {
            what: "experiment",
            name: name.into(),
            allowed: "letters, digits, `-`, `_` and `.`, not starting with a dot, and not `reference`",
        });
    }
    Ok(())
}

/// Whether `name` has the form of a run id: 12 lower-case hex digits.
pub fn is_run_id(name: &str) -> bool {
    name.len() == 12 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn fill(folder: &Path, run: &Run) -> Result<(), Error> {
    fn file<R: Row>(folder: &Path, name: &str, rows: &[R]) -> Result<(), Error> {
        write_rows(&folder.join(name), rows)
    }
    file(folder, RUN_FILE, std::slice::from_ref(&run.row))?;
    file(folder, METRICS_FILE, &run.metrics)?;
    file(folder, PREDICTIONS_FILE, &run.predictions)?;
    file(folder, MANIFEST_FILE, &run.manifest)?;
    if !run.epochs.is_empty() {
        file(folder, EPOCHS_FILE, &run.epochs)?;
    }
    sync_folder(folder)
}

/// Removes a temporary folder, after a rename: a writer without a lock, should there be one, then fails to find its
/// folder instead of putting a half removed one in place.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let dead = path.with_extension("dead.tmp");
    match fs::rename(path, &dead).and_then(|()| fs::remove_dir_all(&dead)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Temporary folders in an experiment, with the run each was for.
fn temporary_folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    for name in folder_names(folder)? {
        let run_id = name
            .strip_prefix('.')
            .and_then(|n| n.strip_suffix(TEMPORARY))
            .and_then(|n| n.split('.').next());
        if let Some(run_id) = run_id.filter(|id| is_run_id(id)) {
            found.push((run_id.to_string(), folder.join(&name)));
        }
    }
    Ok(found)
}

/// Names of the folders in a folder, sorted; names that are not Unicode cannot be ours.
fn folder_names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if entry.path().is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}
