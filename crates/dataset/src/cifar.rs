//! CIFAR-10 in its official binary layout: rows of one label byte and 3072 pixel bytes, which are the red, the green
//! and the blue plane of a 32 x 32 image (Krizhevsky 2009, <https://www.cs.toronto.edu/~kriz/cifar.html>).
//!
//! Test images are in `test_batch.bin`, training images in `data_batch_1.bin` to `data_batch_5.bin`; whichever of
//! those are present are read, in the order of their numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::{Dataset, Error, Normalization, Record, Sampling, Source};

/// Pixels a side.
const SIDE: usize = 32;
/// Bytes of an image.
const IMAGE: usize = SIDE * SIDE * 3;
/// Bytes of a row in a file.
const ROW: usize = 1 + IMAGE;
/// Class names by label.
pub const CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// The test images, from `test_batch.bin` in `folder`.
///
/// # Errors
/// [`Error::NoImages`] if the file is missing or empty, [`Error::Io`], [`Error::Length`], [`Error::Label`].
pub fn open_test(folder: &Path) -> Result<Dataset, Error> {
    open("cifar10 test", folder, &["test_batch.bin".to_string()])
}

/// The training images, from those of `data_batch_1.bin` to `data_batch_5.bin` that are in `folder`.
///
/// # Errors
/// [`Error::NoImages`] if all are missing or empty, [`Error::Io`], [`Error::Length`], [`Error::Label`].
pub fn open_train(folder: &Path) -> Result<Dataset, Error> {
    let names: Vec<String> = (1..=5)
        .map(|batch| format!("data_batch_{batch}.bin"))
        .collect();
    open("cifar10 train", folder, &names)
}

fn open(name: &str, folder: &Path, names: &[String]) -> Result<Dataset, Error> {
    let mut pixels = Vec::new();
    let mut records = Vec::new();
    for name in names {
        let path = folder.join(name);
        match fs::read(&path) {
            Ok(rows) => append(&path, &rows, &mut pixels, &mut records)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
    if records.is_empty() {
        return Err(Error::NoImages {
            folder: PathBuf::from(folder),
            expected: match names {
                [only] => only.clone(),
                _ => "data_batch_1.bin .. data_batch_5.bin".into(),
            },
            advice: "unpack cifar-10-binary.tar.gz there, or let `cargo run --release --bin fetch -- cifar10` do it"
                .into(),
        });
    }
    let source = Source {
        name: name.into(),
        preprocessing: "cifar10-1".into(),
        classes: CLASSES.map(String::from).to_vec(),
        height: SIDE,
        width: SIDE,
        normalization: Normalization::IMAGENET,
        sampling: Sampling::First,
    };
    Dataset::new(source, Arc::new(pixels), records)
}

/// Adds the rows of one file, their planes interleaved.
fn append(
    path: &Path,
    rows: &[u8],
    pixels: &mut Vec<u8>,
    records: &mut Vec<Record>,
) -> Result<(), Error> {
    if !rows.len().is_multiple_of(ROW) {
        return Err(Error::Length {
            path: path.into(),
            found: rows.len() as u64,
            row: ROW as u64,
        });
    }
    let start = pixels.len();
    for (row, bytes) in rows.chunks_exact(ROW).enumerate() {
        let label = u16::from(bytes[0]);
        if usize::from(label) >= CLASSES.len() {
            return Err(Error::Label {
                path: path.into(),
                row,
                found: label,
                classes: CLASSES.len(),
            });
        }
        records.push(Record {
            offset: start + row * IMAGE,
            label,
            digest: None,
            id: None,
        });
    }
    pixels.resize(start + rows.len() / ROW * IMAGE, 0);
    let images = pixels[start..].par_chunks_exact_mut(IMAGE);
    images
        .zip(rows.par_chunks_exact(ROW))
        .for_each(|(image, row)| interleave(&row[1..], image));
    Ok(())
}

/// `[3, SIDE, SIDE]` to `[SIDE, SIDE, 3]`.
fn interleave(planes: &[u8], image: &mut [u8]) {
    let plane = SIDE * SIDE;
    for (p, rgb) in image.chunks_exact_mut(3).enumerate() {
        rgb.copy_from_slice(&[planes[p], planes[plane + p], planes[2 * plane + p]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row whose byte at plane c, pixel p is c * 50 + p % 50 + shift.
    fn row(label: u8, shift: u8) -> Vec<u8> {
        let pixel = |i: usize| (i / (SIDE * SIDE) * 50 + i % (SIDE * SIDE) % 50) as u8 + shift;
        std::iter::once(label)
            .chain((0..IMAGE).map(pixel))
            .collect()
    }

    #[test]
    fn planes_become_interleaved_and_present_batches_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data_batch_4.bin"), row(9, 7)).unwrap();
        fs::write(
            folder.path().join("data_batch_2.bin"),
            [row(3, 0), row(0, 1)].concat(),
        )
        .unwrap();
        let set = open_train(folder.path()).unwrap();
        assert_eq!((0..3).map(|i| set.label(i)).collect::<Vec<_>>(), [3, 0, 9]);
        assert_eq!(set.image(0)[..6], [0, 50, 100, 1, 51, 101]);
        assert_eq!(set.image(2)[3 * 33..3 * 33 + 3], [40, 90, 140]);
        assert_eq!(set.classes()[9], "truck");
        assert_eq!(
            (set.height(), set.width(), set.id(2)),
            (32, 32, "2".to_string())
        );
    }

    #[test]
    fn damaged_files_are_named_with_what_is_wrong_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let message = |bytes: Option<Vec<u8>>| {
            let path = folder.path().join("test_batch.bin");
            if let Some(bytes) = bytes {
                fs::write(path, bytes).unwrap();
            }
            open_test(folder.path()).unwrap_err().to_string()
        };
        let missing = message(None);
        assert!(
            missing.contains("test_batch.bin missing or empty")
                && missing.contains("fetch -- cifar10"),
            "{missing}"
        );
        assert!(message(Some(Vec::new())).contains("test_batch.bin missing or empty"));
        let short = message(Some([row(1, 0), vec![0; 3072]].concat()));
        assert!(
            short.contains("test_batch.bin: 6145 bytes")
                && short.contains("1 rows and 3072 bytes left"),
            "{short}"
        );
        let label = message(Some([row(1, 0), row(10, 0)].concat()));
        assert!(
            label.contains("test_batch.bin: row 1 has label 10, but labels go from 0 to 9"),
            "{label}"
        );
        let none = open_train(&folder.path().join("absent"))
            .unwrap_err()
            .to_string();
        assert!(
            none.contains("absent: data_batch_1.bin .. data_batch_5.bin missing or empty"),
            "{none}"
        );
    }

    #[test]
    fn the_real_test_set_has_a_thousand_images_of_each_class() {
        let Some(data) = std::env::var_os("QUANTLAB_DATA") else {
            eprintln!("skipped: QUANTLAB_DATA is not set");
            return;
        };
        let folder = Path::new(&data).join("cifar10");
        if !folder.join("test_batch.bin").is_file() {
            eprintln!("skipped: QUANTLAB_DATA holds no cifar10/test_batch.bin");
            return;
        }
        let set = open_test(&folder).unwrap();
        let mut counts = [0; 10];
        (0..set.len()).for_each(|i| counts[usize::from(set.label(i))] += 1);
        assert_eq!(counts, [1000; 10]);
    }
}
