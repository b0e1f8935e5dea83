//! Claims: who works on a run, where machines share a results folder.
//!
//! The lock of a run ([`crate::lock`]) is the operating system's, and many network file systems know it on one machine alone. So
//! whoever has it writes beside it `<run_id>.claim`: who he is, and a number that he counts up every few seconds. Another machine leaves
//! the run alone as long as the number moves, and takes it over once it has stood still for [`MISSED`] of its holder's own intervals, by the
//! watch of whoever looks: two machines' clocks are never compared, and a clock that jumps changes nothing.
//!
//! The file comes by an exclusive creation and goes by a rename, which network file systems do keep whole. A holder that was only asleep may
//! go on beside the one that took over; then work is done twice, and the results are the same bytes, of which [`crate::Store::write`]
//! keeps the first. On the holder's own machine nobody waits: there, his lock says that he is gone.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// Intervals without a beat after which a holder is taken to be gone.
pub const MISSED: u32 = 6;

/// How often a holder beats, where nobody says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Ending of a claim's file.
pub(crate) const ENDING: &str = ".claim";

/// The word before the beats, which stand last and are as long as this leaves them.
const BEATS: &str = "beats=";
const DIGITS: usize = 20;

/// Who holds a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Name of the machine.
    pub host: String,
    /// What is the machine's alone since it started; empty where the system does not tell.
    pub boot: String,
    /// The process's number there.
    pub process: u32,
    /// What the scheduler calls the job, if there is one.
    pub job: String,
    /// When it took the run, in seconds since 1970 by its own clock.
    pub since: u64,
    /// How often it beats.
    pub interval: Duration,
}

impl Holder {
    /// This process.
    pub fn here(job: &str, interval: Duration) -> Self {
        let line = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        Self {
            host: line("/proc/sys/kernel/hostname"),
            boot: line("/proc/sys/kernel/random/boot_id"),
            process: std::process::id(),
            job: job.to_owned(),
            since: 0,
            interval,
        }
    }

    /// As a file has it, but for the beats.
    fn text(&self, token: u64) -> String {
        let one_line = |text: &str| text.replace(['\n', '\r'], " ");
        format!(
            "host={}\nboot={}\nprocess={}\njob={}\nsince={}\ninterval_ms={}\ntoken={token:016x}\n",
            one_line(&self.host),
            one_line(&self.boot),
            self.process,
            one_line(&self.job),
            self.since,
            self.interval.as_millis()
        )
    }

    /// What a file says; a claim that is being written says less.
    fn read(text: &str) -> Self {
        let mut holder = Self::default();
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match key {
                "host" => holder.host = value.to_owned(),
                "boot" => holder.boot = value.to_owned(),
                "process" => holder.process = value.parse().unwrap_or(0),
                "job" => holder.job = value.to_owned(),
                "since" => holder.since = value.parse().unwrap_or(0),
                "interval_ms" => {
                    let milliseconds = value.parse().unwrap_or(0);
                    holder.interval = Duration::from_millis(milliseconds);
                }
                _ => {}
            }
        }
        holder
    }
}

/// What a process knows of claims: who it is itself, and when it last saw another's change.
#[derive(Debug)]
pub(crate) struct Claims {
    me: Holder,
    seen: Mutex<HashMap<PathBuf, (Vec<u8>, Instant)>>,
}

impl Claims {
    pub fn new(me: Holder) -> Self {
        Self {
            me,
            seen: Mutex::default(),
        }
    }

    /// The claim to `path`; none while another machine has it. Hold the lock beside it: then a claim of this machine is a dead one's.
    pub fn take(&self, path: &Path) -> Result<Option<Claim>, Error> {
        loop {
            match File::options().write(true).create_new(true).open(path) {
                Ok(file) => {
                    self.forget(path);
                    return Claim::begin(file, path, &self.me).map(Some);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create the claim", path)(e)),
            }
            let found = match fs::read(path) {
                Ok(found) => found,
                // Let go meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::io("read the claim", path)(e)),
            };
            if !self.is_gone(path, &found) {
                return Ok(None);
            }
            if !set_aside(path, &found)? {
                return Ok(None);
            }
        }
    }

    /// Whether whoever wrote `found` is gone.
    fn is_gone(&self, path: &Path, found: &[u8]) -> bool {
        let holder = Holder::read(&String::from_utf8_lossy(found));
        if !holder.boot.is_empty() && holder.boot == self.me.boot {
            return true;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let known = seen.entry(path.to_path_buf());
        let known = known.or_insert_with(|| (found.to_vec(), now));
        if known.0 != found {
            *known = (found.to_vec(), now);
        }
        let interval = match holder.interval {
            Duration::ZERO => self.me.interval,
            own => own,
        };
        now - known.1 >= interval * MISSED
    }

    fn forget(&self, path: &Path) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(path);
    }
}

/// Moves a dead claim out of the way; false where it was another by then, which is left in its place.
fn set_aside(path: &Path, found: &[u8]) -> Result<bool, Error> {
    let aside = path.with_extension(format!("{:016x}.tmp", random()));
    match fs::rename(path, &aside) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(e) => return Err(Error::io("take over the claim", path)(e)),
    }
    let is_same = fs::read(&aside).is_ok_and(|now| now == found);
    if !is_same {
        // Somebody took it over between the look and the rename. If a third has claimed it since, two work on one run: wasted, not wrong.
        let _ = fs::hard_link(&aside, path);
    }
    let _ = fs::remove_file(&aside);
    Ok(is_same)
}

/// A run that this process has claimed; dropped, another may have it.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    stop: Arc<(Mutex<bool>, Condvar)>,
    beating: Option<JoinHandle<()>>,
    /// What the file began with, by which it is told from another's of the same name.
    text: String,
}

impl Claim {
    fn begin(mut file: File, path: &Path, me: &Holder) -> Result<Self, Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let holder = Holder {
            since: since.map_or(0, |since| since.as_secs()),
            ..me.clone()
        };
        let text = holder.text(random());
        let write = |file: &mut File| {
            file.write_all(format!("{text}{BEATS}{:0DIGITS$}\n", 0).as_bytes())?;
            file.sync_data()
        };
        if let Err(error) = write(&mut file) {
            let _ = fs::remove_file(path);
            return Err(Error::io("write the claim", path)(error));
        }
        let place = (text.len() + BEATS.len()) as u64;
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (own, interval) = (stop.clone(), me.interval);
        let beating = std::thread::spawn(move || {
            let (stopped, wake) = &*own;
            for beats in 1_u64.. {
                let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = wake.wait_timeout_while(guard, interval, |stopped| !*stopped);
                let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
                if *guard {
                    return;
                }
                drop(guard);
                // Into the file that was created, whatever has its name now: a holder that slept does not beat for another. A beat that
                // cannot be written is one that is missed.
                let _ = file
                    .seek(SeekFrom::Start(place))
                    .and_then(|_| file.write_all(format!("{beats:0DIGITS$}").as_bytes()))
                    .and_then(|()| file.sync_data());
            }
        });
        Ok(Self {
            path: path.to_path_buf(),
            stop,
            beating: Some(beating),
            text,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (stopped, wake) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        wake.notify_all();
        if let Some(beating) = self.beating.take() {
            let _ = beating.join();
        }
        let is_ours = fs::read(&self.path).is_ok_and(|now| now.starts_with(self.text.as_bytes()));
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Who holds what is claimed in `folder`: name without ending, holder, and how long ago it beat, by the file system's clock.
pub(crate) fn holders(
    folder: &Path,
    now: SystemTime,
) -> Result<Vec<(String, Holder, Duration)>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", folder)(e)),
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_suffix(ENDING)) else {
            continue;
        };
        // One that is let go meanwhile is none.
        let (Ok(text), Ok(about)) = (fs::read_to_string(entry.path()), entry.metadata()) else {
            continue;
        };
        let beat = about.modified().ok();
        let age = beat.and_then(|beat| now.duration_since(beat).ok());
        all.push((
            name.to_owned(),
            Holder::read(&text),
            age.unwrap_or_default(),
        ));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

/// A number that no other claim has: names, nothing that results depend on.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn machine(boot: &str) -> Claims {
        Claims::new(Holder {
            host: boot.to_owned(),
            boot: boot.to_owned(),
            process: 7,
            job: "17_3".to_owned(),
            since: 0,
            interval: SOON,
        })
    }

    #[test]
    fn a_run_is_left_to_another_machine_as_long_as_it_beats() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        let (one, two) = (machine("one"), machine("two"));
        let held = one.take(&path).unwrap().unwrap();
        let start = Instant::now();
        while start.elapsed() < SOON * MISSED * 3 {
            assert!(two.take(&path).unwrap().is_none());
            std::thread::sleep(SOON / 4);
        }
        let found = holders(folder.path(), SystemTime::now()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((&found[0].0[..], &found[0].1.job[..]), ("a", "17_3"));
        assert_eq!(found[0].1.host, "one");
        drop(held);
        assert!(!path.exists());
        assert!(two.take(&path).unwrap().is_some());
    }

    #[test]
    fn one_that_stands_still_is_taken_over_by_one_of_those_who_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        let dead = machine("one").me.text(1) + BEATS + "00000000000000000005\n";
        fs::write(&path, &dead).unwrap();
        let waiting: Vec<Claims> = ["two", "three", "four"].map(machine).into();
        let start = Instant::now();
        let mut held = Vec::new();
        while held.is_empty() {
            for own in &waiting {
                held.extend(own.take(&path).unwrap().map(|claim| (claim, own)));
            }
        }
        assert!(start.elapsed() >= SOON * MISSED);
        assert_eq!(held.len(), 1);
        // On its own machine, the lock beside the claim keeps others out.
        for other in waiting.iter().filter(|own| own.me != held[0].1.me) {
            assert!(other.take(&path).unwrap().is_none());
        }
    }

    #[test]
    fn on_the_holders_own_machine_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        fs::write(&path, machine("one").me.text(1)).unwrap();
        assert!(machine("two").take(&path).unwrap().is_none());
        assert!(machine("one").take(&path).unwrap().is_some());
    }

    #[test]
    fn a_holder_that_slept_neither_beats_for_another_nor_takes_its_claim_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        let slept = machine("one").take(&path).unwrap().unwrap();
        fs::rename(&path, folder.path().join("aside")).unwrap();
        let other = machine("two").take(&path).unwrap().unwrap();
        std::thread::sleep(SOON * 2);
        drop(slept);
        assert!(fs::read_to_string(&path).unwrap().contains("host=two"));
        drop(other);
        assert!(!path.exists());
    }

    #[test]
    fn a_claim_that_changed_hands_between_look_and_rename_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        fs::write(&path, "new").unwrap();
        assert!(!set_aside(&path, b"old").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(set_aside(&path, b"new").unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_claim_is_one_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.claim");
        fs::write(&path, "").unwrap();
        assert!(machine("two").take(&path).unwrap().is_none());
    }
}
