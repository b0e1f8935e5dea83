//! A file as memory: read-only, so that 50,000 decoded images (7.5 GB) need no memory of their own and several
//! processes share one copy.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// A whole file, mapped read-only for as long as this lives; the file may be renamed or deleted meanwhile.
pub(crate) struct Map(Mmap);

impl Map {
    /// Maps the file as long as it is now.
    ///
    /// # Errors
    /// What the operating system says, for instance that the file is empty on a system that cannot map nothing.
    pub(crate) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: the bytes behind a shared slice must not change while it lives. Only files of this crate's own making
        // are mapped: an unnamed temporary file that nobody else can open, or a cache file, which is written under
        // another name, renamed when whole, and never written again (a new version replaces the name, not the bytes).
        // Somebody who overwrites a file in the cache folder by hand while a sweep runs is beyond what can be guarded;
        // the folder's documentation says to delete files instead, which leaves a mapping whole.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(file)? };
        Ok(Map(map))
    }
}

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
