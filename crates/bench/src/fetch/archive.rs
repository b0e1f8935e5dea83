//! A `.tar.gz` to files: the named members, flat in one folder, all of them or none.
//!
//! The archive is not trusted further than its checksum: an entry that is neither a file nor a folder, or whose path
//! leaves the folder, ends the unpacking, and never are more bytes written than the registry allows. Members are
//! written as `NAME.unpacking` and renamed when all are whole. `SHA256SUMS` comes last (`sha256sum -c SHA256SUMS`
//! reads it); its first line names the archive, so a later call can verify the members without it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::disk::{self, Checksum};

/// The list of the members' checksums, in their folder.
pub const SUMS: &str = "SHA256SUMS";

/// Bytes of headers, padding and unwanted members that an archive may have beside its members.
const OVERHEAD: u64 = 16 << 20;

/// What is in the folder of an archive's members.
#[derive(Debug, PartialEq, Eq)]
pub enum Unpacked {
    /// Nothing, or only members with the right checksums.
    Missing,
    /// All members, with the checksums that they were unpacked with.
    Whole,
    /// This member is there and has another checksum, or none to compare with.
    Foreign(String),
}

/// Compares the members in `folder` with the list that was written when `archive` was unpacked.
pub fn inspect(folder: &Path, members: &[String], archive: &Checksum) -> Result<Unpacked> {
    let sums = read_sums(folder, archive)?;
    let mut whole = true;
    for name in members {
        let path = folder.join(name);
        if !path.exists() {
            whole = false;
        } else if sums.get(name) != Some(&disk::sha256(&path)?) {
            return Ok(Unpacked::Foreign(name.clone()));
        }
    }
    Ok(if whole {
        Unpacked::Whole
    } else {
        Unpacked::Missing
    })
}

/// Unpacks `members` of `archive`, whose SHA-256 is `sha256`, into `folder`: at most `limit` bytes in all. A member
/// that is there with other bytes is only replaced if `force` says so.
pub fn unpack(
    archive: &Path,
    sha256: &str,
    folder: &Path,
    members: &[String],
    limit: u64,
    force: bool,
) -> Result<()> {
    let failed = || format!("cannot unpack {}", archive.display());
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut written = Temporaries::default();
    let file = File::open(archive).with_context(failed)?;
    let stream = MultiGzDecoder::new(BufReader::new(file)).take(limit + OVERHEAD);
    let mut tar = tar::Archive::new(stream);
    for entry in tar.entries().with_context(failed)? {
        let mut entry = entry.with_context(failed)?;
        let path = entry.path().with_context(failed)?.into_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let Some(name) = flat_name(&path, kind).with_context(failed)? else {
            continue;
        };
        if !members.contains(&name) {
            continue;
        }
        if written.sums.contains_key(&name) {
            bail!("cannot unpack {}: {name} is in it twice", archive.display());
        }
        written.bytes += entry.size();
        if written.bytes > limit {
            bail!(
                "cannot unpack {}: its members are larger than the {limit} bytes that were expected",
                archive.display()
            );
        }
        let temporary = folder.join(format!("{name}.unpacking"));
        written.paths.push((temporary.clone(), folder.join(&name)));
        let digest = copy(&mut entry, &temporary).with_context(failed)?;
        written.sums.insert(name, digest);
    }
    // To the end of the stream, where gzip keeps the checksum of what came out.
    std::io::copy(&mut tar.into_inner(), &mut std::io::sink()).with_context(failed)?;
    if let Some(name) = members
        .iter()
        .find(|name| !written.sums.contains_key(*name))
    {
        bail!("cannot unpack {}: it holds no {name}", archive.display());
    }
    for (name, digest) in &written.sums {
        let path = folder.join(name);
        if !force && path.exists() && disk::sha256(&path)? != *digest {
            bail!(
                "{} is there with other bytes than in {}; --force replaces it",
                path.display(),
                archive.display()
            );
        }
    }
    for (from, to) in std::mem::take(&mut written.paths) {
        disk::rename(&from, &to)?;
    }
    write_sums(folder, sha256, &written.sums)
}

/// What was written before all was well; removed if it never is.
#[derive(Default)]
struct Temporaries {
    paths: Vec<(PathBuf, PathBuf)>,
    sums: BTreeMap<String, String>,
    bytes: u64,
}

impl Drop for Temporaries {
    fn drop(&mut self) {
        for (path, _) in &self.paths {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The file name of an entry, nothing for a folder; an error for what an archive of data has no use for.
fn flat_name(path: &Path, kind: EntryType) -> Result<Option<String>> {
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !path.components().all(inside) {
        bail!("its entry {} leaves the folder", path.display());
    }
    match kind {
        EntryType::Directory => Ok(None),
        EntryType::Regular => Ok(path
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)),
        other => bail!(
            "its entry {} is no regular file but {other:?}",
            path.display()
        ),
    }
}

/// Writes a member to the disk for good, and gives its SHA-256.
fn copy(from: &mut impl Read, to: &Path) -> Result<String> {
    let failed = || format!("cannot write {}", to.display());
    let mut file = File::create(to).with_context(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        // A truncated archive is an error of this read: tar and gzip both know how much should come.
        match from.read(&mut buffer)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                file.write_all(&buffer[..n]).with_context(failed)?;
            }
        }
    }
    file.sync_all().with_context(failed)?;
    Ok(disk::hex(hasher))
}

fn write_sums(folder: &Path, archive: &str, sums: &BTreeMap<String, String>) -> Result<()> {
    let mut text = format!("# from the archive with sha256 {archive}\n");
    for (name, digest) in sums {
        text += &format!("{digest}  {name}\n");
    }
    let path = folder.join(SUMS);
    results::write_whole(&path, text.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Digests by member; none if the list is missing or of another archive.
fn read_sums(folder: &Path, archive: &Checksum) -> Result<BTreeMap<String, String>> {
    let path = folder.join(SUMS);
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|e| anyhow!("cannot read {}: {e}", path.display()))?;
    let mut lines = text.lines();
    let from = lines.next().and_then(|line| line.rsplit(' ').next());
    if !from.is_some_and(|hex| archive.matches(hex)) {
        return Ok(BTreeMap::new());
    }
    Ok(lines
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect())
}
