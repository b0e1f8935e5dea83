//! CIFAR-10 and CIFAR-100 (Krizhevsky 2009, <https://www.cs.toronto.edu/~kriz/cifar.html>), as published and as torchvision
//! leaves them.
//!
//! | set | version | files | folder in the archive |
//! |---|---|---|---|
//! | CIFAR-10 | binary | `test_batch.bin`, `data_batch_1.bin` to `data_batch_5.bin` | `cifar-10-batches-bin` |
//! | CIFAR-10 | Python | the same without `.bin` | `cifar-10-batches-py` |
//! | CIFAR-100 | binary | `test.bin`, `train.bin` | `cifar-100-binary` |
//! | CIFAR-100 | Python | `test`, `train` | `cifar-100-python` |
//!
//! A folder is taken if it holds such files or one of those folders with them, binary ones first. Of training files, whichever
//! are present are read, in the order of their numbers. Both versions of a set have the same images in the same order, and so
//! one content hash.
//!
//! A binary row is a label byte (of CIFAR-100 a coarse and a fine one; the fine one counts) and 3072 pixel bytes: the red, the
//! green and the blue plane of a 32 x 32 image. The Python version is read by [`python`].

mod pickle;
mod python;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::{Dataset, Error, Normalization, Record, Sampling, Source};

/// Pixels a side.
const SIDE: usize = 32;
/// Bytes of a file: CIFAR-100's training images are 155 MB.
const LARGEST: u64 = 1 << 30;
/// Bytes of an image.
const IMAGE: usize = SIDE * SIDE * 3;

/// Which of the two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CIFAR-10.
    Ten,
    /// CIFAR-100, with its 100 fine labels.
    Hundred,
}

/// Which of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// 10,000 images.
    Test,
    /// 50,000 images.
    Train,
}

/// How files are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Binary,
    Python,
}

/// Class names of CIFAR-10 by label.
const TEN: &str = "airplane automobile bird cat deer dog frog horse ship truck";
/// Class names of CIFAR-100 by fine label.
const HUNDRED: &str = "\
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can \
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin \
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster \
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck \
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk \
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger \
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm";

impl Kind {
    /// Class names by label.
    pub fn classes(self) -> impl Iterator<Item = &'static str> {
        match self {
            Kind::Ten => TEN,
            Kind::Hundred => HUNDRED,
        }
        .split_whitespace()
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Ten => "cifar10",
            Kind::Hundred => "cifar100",
        }
    }

    /// Bytes of a row in a binary file, and which of them is the label.
    fn row(self) -> (usize, usize) {
        match self {
            Kind::Ten => (1 + IMAGE, 0),
            Kind::Hundred => (2 + IMAGE, 1),
        }
    }

    /// The folder that the published archive makes.
    fn folder(self, version: Version) -> &'static str {
        match (self, version) {
            (Kind::Ten, Version::Binary) => "cifar-10-batches-bin",
            (Kind::Ten, Version::Python) => "cifar-10-batches-py",
            (Kind::Hundred, Version::Binary) => "cifar-100-binary",
            (Kind::Hundred, Version::Python) => "cifar-100-python",
        }
    }

    fn files(self, version: Version, part: Part) -> Vec<String> {
        let names: Vec<String> = match (self, part) {
            (Kind::Ten, Part::Test) => vec!["test_batch".into()],
            (Kind::Ten, Part::Train) => {
                (1..=5).map(|batch| format!("data_batch_{batch}")).collect()
            }
            (Kind::Hundred, Part::Test) => vec!["test".into()],
            (Kind::Hundred, Part::Train) => vec!["train".into()],
        };
        let ending = match version {
            Version::Binary => ".bin",
            Version::Python => "",
        };
        names.into_iter().map(|name| name + ending).collect()
    }
}

/// Which set lies in `folder`, or in a folder there that is named as in the archive.
pub fn find(folder: &Path) -> Option<Kind> {
    let parts = [Part::Test, Part::Train];
    [Kind::Ten, Kind::Hundred].into_iter().find(|kind| {
        let mut found = parts.iter().map(|part| files(*kind, *part, folder));
        found.any(|files| files.is_some())
    })
}

/// The test images in `folder`.
///
/// # Errors
/// [`Error::NoImages`] if the file is missing or empty, [`Error::Io`], [`Error::Length`], [`Error::Label`], [`Error::Pickle`].
pub fn open_test(kind: Kind, folder: &Path) -> Result<Dataset, Error> {
    open(kind, Part::Test, folder)
}

/// The training images in `folder`, of those files that are there.
///
/// # Errors
/// As [`open_test`]; [`Error::NoImages`] if all files are missing or empty.
pub fn open_train(kind: Kind, folder: &Path) -> Result<Dataset, Error> {
    open(kind, Part::Train, folder)
}

fn open(kind: Kind, part: Part, folder: &Path) -> Result<Dataset, Error> {
    let mut images = Images::default();
    if let Some((version, paths)) = files(kind, part, folder) {
        for path in paths {
            match version {
                Version::Binary => append_binary(&path, kind, &mut images)?,
                Version::Python => python::append(&path, kind, &mut images)?,
            }
        }
    }
    if images.records.is_empty() {
        let expected = kind.files(Version::Binary, part);
        return Err(Error::NoImages {
            folder: PathBuf::from(folder),
            expected: match &expected[..] {
                [first, .., last] => format!("{first} .. {last}"),
                _ => expected.concat(),
            },
            advice: match kind {
                Kind::Ten => "unpack cifar-10-binary.tar.gz or cifar-10-python.tar.gz there, or let `cargo run --release --bin \
                    fetch -- cifar10` do it",
                Kind::Hundred => "unpack cifar-100-binary.tar.gz or cifar-100-python.tar.gz there",
            }
            .into(),
        });
    }
    let part = match part {
        Part::Test => "test",
        Part::Train => "train",
    };
    let source = Source {
        name: format!("{} {part}", kind.name()),
        preprocessing: format!("{}-1", kind.name()),
        classes: kind.classes().map(String::from).collect(),
        height: SIDE,
        width: SIDE,
        normalization: Normalization::IMAGENET,
        sampling: Sampling::First,
    };
    Dataset::new(source, Arc::new(images.pixels), images.records)
}

/// The files of a part that are there, all in one folder.
fn files(kind: Kind, part: Part, folder: &Path) -> Option<(Version, Vec<PathBuf>)> {
    let versions = [Version::Binary, Version::Python];
    let places = [false, true].into_iter().flat_map(|inside| {
        versions.map(|version| match inside {
            false => (version, folder.to_path_buf()),
            true => (version, folder.join(kind.folder(version))),
        })
    });
    places
        .map(|(version, place)| {
            let paths = kind.files(version, part).into_iter();
            let paths = paths.map(|name| place.join(name));
            let there = paths.filter(|path| path.is_file());
            // `test` and `train` are names that other files have, too.
            let real = |path: &PathBuf| version == Version::Binary || is_pickle(path);
            (version, there.filter(real).collect::<Vec<_>>())
        })
        .find(|(_, paths)| !paths.is_empty())
}

/// Whether a file begins like a pickle of protocol 2 or later.
fn is_pickle(path: &Path) -> bool {
    let mut first = [0];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first == [0x80]
}

/// What has been read so far.
#[derive(Default)]
struct Images {
    pixels: Vec<u8>,
    records: Vec<Record>,
}

impl Images {
    /// Adds the labels and planes of one file.
    fn append(&mut self, path: &Path, kind: Kind, rows: &[(u16, &[u8])]) -> Result<(), Error> {
        let start = self.pixels.len();
        let classes = kind.classes().count();
        for (row, (label, _)) in rows.iter().enumerate() {
            if usize::from(*label) >= classes {
                return Err(Error::Label {
                    path: path.into(),
                    row,
                    found: *label,
                    classes,
                });
            }
            self.records.push(Record {
                offset: start + row * IMAGE,
                label: *label,
                digest: None,
                id: None,
            });
        }
        self.pixels.resize(start + rows.len() * IMAGE, 0);
        let images = self.pixels[start..].par_chunks_exact_mut(IMAGE);
        images
            .zip(rows)
            .for_each(|(image, (_, planes))| interleave(planes, image));
        Ok(())
    }
}

fn append_binary(path: &Path, kind: Kind, images: &mut Images) -> Result<(), Error> {
    let (row, label) = kind.row();
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    if length > LARGEST {
        return Err(Error::Length {
            path: path.into(),
            found: length,
            row: row as u64,
        });
    }
    let file = fs::read(path).map_err(Error::io(path))?;
    if !file.len().is_multiple_of(row) {
        return Err(Error::Length {
            path: path.into(),
            found: file.len() as u64,
            row: row as u64,
        });
    }
    let rows = file.chunks_exact(row);
    let rows = rows.map(|row| (u16::from(row[label]), &row[label + 1..]));
    images.append(path, kind, &rows.collect::<Vec<_>>())
}

/// `[3, SIDE, SIDE]` to `[SIDE, SIDE, 3]`.
fn interleave(planes: &[u8], image: &mut [u8]) {
    let plane = SIDE * SIDE;
    for (p, rgb) in image.chunks_exact_mut(3).enumerate() {
        rgb.copy_from_slice(&[planes[p], planes[plane + p], planes[2 * plane + p]]);
    }
}

#[cfg(test)]
mod tests;
