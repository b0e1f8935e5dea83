//! Decoded images, kept so that they are decoded once.
//!
//! A cache file holds the crops of one listing: it is named by the sha256 of everything that decides its content short of
//! reading the images (see [`Key`]), so a changed file, decoder or crop size is another cache file, and nothing is ever
//! stale. Labels are no part of it: they come from the class list at every opening.
//!
//! Invariants:
//! - under its final name a file is whole: it is written as `*.partial`, synced, then renamed. kill -9 leaves a
//!   `.partial`, which the next build removes.
//! - what is used is checked: header and index by a checksum, every image by its sha256 (about a second for each 2 GB
//!   and core, against hours for running a network over them). A file that fails is built anew.
//! - of several processes that want the same file, one builds and the rest wait (an advisory lock, which the system frees
//!   when its holder dies); where locks do not work they all build, each under a temporary name of its own.
//! - memory stays bounded however many images there are: see [`stream`].
//!
//! The folder may be deleted at any time; files in it must not be edited in place while they are in use.

mod format;
mod stream;

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::mmap::Map;
use crate::{Error, Pixels};

/// sha256 over what decides a cache file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// Hashes the given parts; their lengths go in as well, so that no two lists of parts look alike.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Key(hash.finalize().into())
    }

    fn file_name(&self) -> String {
        let hex: String = self.0[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{hex}.crops")
    }
}

/// What became of an image file: the sha256 of its pixels, or why there are none.
pub(crate) type Outcome = Result<[u8; 32], String>;

/// Why a file gave no pixels.
pub(crate) struct Failure {
    /// For people.
    pub(crate) reason: String,
    /// It may go away without the file changing (permissions, a sleeping disk): not to be remembered.
    pub(crate) passing: bool,
}

/// The crops of a listing, wherever they are kept.
pub(crate) struct Crops {
    /// Holds the crops one after the other, in order, leaving out those that failed.
    pub(crate) pixels: Pixels,
    /// Where the first one starts.
    pub(crate) start: usize,
    /// One for each listed file, in order.
    pub(crate) outcomes: Vec<Outcome>,
}

/// What to build, and how.
pub(crate) struct Job<'a> {
    pub(crate) key: Key,
    /// Names of the image files, in order.
    pub(crate) paths: &'a [&'a str],
    /// Length of one crop.
    pub(crate) image_bytes: usize,
    /// Makes the crop of file i; called from several threads, in no order.
    pub(crate) make: &'a (dyn Fn(usize) -> Result<Vec<u8>, Failure> + Sync),
    /// Told (files done, files in all) as they are made; called from several threads.
    pub(crate) progress: &'a (dyn Fn(usize, usize) + Sync),
}

/// Without a cache folder, crops up to this many bytes are kept in memory (about 3,500 images of 224 x 224), more in an
/// unnamed file in the system's temporary folder, which vanishes with the process.
const IN_MEMORY: usize = 512 << 20;

/// The crops of `job`, from the cache in `folder` if they are there, else made (and left there).
///
/// # Errors
/// [`Error::Io`] if the cache cannot be written. Images that cannot be decoded are no error here but outcomes.
pub(crate) fn open(job: &Job, folder: Option<&Path>) -> Result<Crops, Error> {
    let Some(folder) = folder else {
        return if job.paths.len().saturating_mul(job.image_bytes) <= IN_MEMORY {
            let mut pixels = Vec::new();
            let (outcomes, _) = write(job, &mut pixels, Path::new("memory"))?;
            Ok(Crops {
                pixels: Arc::new(pixels),
                start: 0,
                outcomes,
            })
        } else {
            let place = std::env::temp_dir();
            let mut file = tempfile::tempfile().map_err(Error::io(&place))?;
            let (outcomes, _) = write(job, &mut file, &place)?;
            // Nothing is mapped from an empty file; every image may have failed.
            let empty = outcomes.iter().all(Result::is_err);
            let pixels: Pixels = if empty {
                Arc::new(Vec::new())
            } else {
                Arc::new(Map::new(&file).map_err(Error::io(&place))?)
            };
            Ok(Crops {
                pixels,
                start: 0,
                outcomes,
            })
        };
    };

    let name = folder.join(job.key.file_name());
    if let Some(crops) = load(job, &name) {
        return Ok(crops);
    }
    fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let lock = lock(folder);
    if lock.is_some() {
        if let Some(crops) = load(job, &name) {
            return Ok(crops); // another process built it while this one waited
        }
        remove_partials(folder);
    }
    build(job, folder, &name)
}

/// Waits until this process alone builds in `folder`; `None` where locks do not work.
fn lock(folder: &Path) -> Option<File> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(folder.join(".lock"))
        .ok()?;
    file.lock().ok()?;
    Some(file)
}

/// Removes what killed processes left. Only under the lock: nobody else is writing.
fn remove_partials(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(PARTIAL) {
            let _ = fs::remove_file(entry.path()); // if it stays, it is only in the way
        }
    }
}

const PARTIAL: &str = ".partial";

/// Maps and checks a cache file; `None` if there is none, or it is damaged and must be built anew.
fn load(job: &Job, name: &Path) -> Option<Crops> {
    let map = Map::new(&File::open(name).ok()?).ok()?;
    let bytes = map.as_ref();
    let outcomes = format::read(bytes, &job.key.0, job.paths, job.image_bytes)?;
    let digests = outcomes
        .par_iter()
        .filter_map(|outcome| outcome.as_ref().ok())
        .collect::<Vec<_>>();
    let images = bytes[format::HEADER..].par_chunks_exact(job.image_bytes);
    let whole = digests
        .par_iter()
        .zip(images)
        .all(|(digest, image)| Sha256::digest(image)[..] == digest[..]);
    whole.then(|| Crops {
        pixels: Arc::new(map),
        start: format::HEADER,
        outcomes,
    })
}

fn build(job: &Job, folder: &Path, name: &Path) -> Result<Crops, Error> {
    let mut options = tempfile::Builder::new();
    options.prefix("building-").suffix(PARTIAL);
    #[cfg(unix)]
    {
        // A temporary file is private by default; a cache is for everybody whom the umask lets in.
        use std::os::unix::fs::PermissionsExt;
        options.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut partial = options.tempfile_in(folder).map_err(Error::io(folder))?;
    let file = partial.as_file_mut();
    file.write_all(&[0; format::HEADER])
        .map_err(Error::io(name))?;
    let (outcomes, lasting) = write(job, file, name)?;
    let (header, index) = format::write(&outcomes, &job.key.0, job.paths, job.image_bytes);
    let finish = |file: &mut File| -> io::Result<Map> {
        file.write_all(&index)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.sync_all()?;
        Map::new(file)
    };
    let map = finish(file).map_err(Error::io(name))?;
    if lasting {
        partial
            .persist(name)
            .map_err(|e| e.error)
            .map_err(Error::io(name))?;
        // The rename itself is durable once the folder is; where folders cannot be synced, a crash costs the cache.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(Crops {
        pixels: Arc::new(map),
        start: format::HEADER,
        outcomes,
    })
}

/// Makes the crops and writes them one after the other. The flag: whether every outcome would be the same again.
fn write(
    job: &Job,
    out: &mut (dyn Write + Send),
    name: &Path,
) -> Result<(Vec<Outcome>, bool), Error> {
    let total = job.paths.len();
    let done = AtomicUsize::new(0);
    let lasting = AtomicBool::new(true);
    let make = |i: usize| {
        let crop = (job.make)(i).map(|crop| {
            assert_eq!(crop.len(), job.image_bytes, "every crop has the same size");
            let digest: [u8; 32] = Sha256::digest(&crop).into();
            (crop, digest)
        });
        (job.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, total);
        crop
    };
    let mut outcomes = Vec::with_capacity(total);
    stream::in_order(total, stream::window(job.image_bytes), &make, |made| {
        outcomes.push(match made {
            Ok((crop, digest)) => {
                out.write_all(&crop)?;
                Ok(digest)
            }
            Err(failure) => {
                lasting.fetch_and(!failure.passing, Ordering::Relaxed);
                Err(failure.reason)
            }
        });
        Ok(())
    })
    .map_err(|source| Error::Io {
        path: PathBuf::from(name),
        source,
    })?;
    Ok((outcomes, lasting.into_inner()))
}
