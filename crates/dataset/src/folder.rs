//! A folder of class folders of JPEG and PNG images, as torchvision's `ImageFolder` with `Resize`, `CenterCrop` reads it.
//!
//! `root/CLASS/.../IMAGE`: `listing` says which files and in which order, `classes` which label, [`crate::decode`]
//! and [`crate::resize`] make `[crop, crop, 3]` pixels of each, and the cache keeps them, exactly those of Pillow
//! and torchvision. Where labels are of no use (to calibrate on), [`open_unlabelled`] takes a folder without class folders,
//! too.

pub(crate) mod classes;
pub(crate) mod listing;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use classes::imagenet_wnids;

use classes::Classes;
use listing::Listing;

use crate::Error;
use crate::cache::{self, Failure, Job, Key};
use crate::dataset::{Dataset, Record, Sampling, Source};
use crate::decode::{self, DECODER};
use crate::normalization::Normalization;
use crate::resize::{Geometry, resize_and_crop};

/// How a folder is read. `FolderOptions::default()` is the usual ImageNet evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderOptions {
    /// A text file with one class name a line, in the order of the model's outputs. Without one: ImageNet's 1000 classes
    /// if folders are named by WordNet ids, else the folders sorted; `classes.rs` has the whole rule.
    pub class_list: Option<PathBuf>,
    /// How many outputs of the network are classes: as many folders are these in sorted order.
    pub outputs: Option<usize>,
    /// Leave out images that cannot be decoded, and list them in [`Dataset::unreadable`]. Otherwise they are an error.
    pub skip_unreadable: bool,
    /// Where decoded images are kept between runs. Without one they are kept for this process alone: in memory up to
    /// 512 MB, in an unnamed file in the system's temporary folder beyond.
    pub cache_dir: Option<PathBuf>,
    /// Shorter side in pixels after the resize.
    pub resize: usize,
    /// Side in pixels of the centre crop.
    pub crop: usize,
    /// What the networks for this set were trained with.
    pub normalization: Normalization,
}

impl Default for FolderOptions {
    fn default() -> FolderOptions {
        FolderOptions {
            class_list: None,
            outputs: None,
            skip_unreadable: false,
            cache_dir: None,
            resize: 256,
            crop: 224,
            normalization: Normalization::IMAGENET,
        }
    }
}

/// Opens the images below `root`, decoding those that the cache does not hold.
///
/// `progress` is told (files decoded, files in all) from several threads; once, at the end, if nothing was decoded.
///
/// # Errors
/// [`Error::NoImages`] if there are none, [`Error::ClassNotListed`], [`Error::EmptyClass`] and [`Error::ClassList`] if
/// labels cannot be told, [`Error::Unreadable`] if images cannot be decoded (and are not to be skipped, or all cannot),
/// [`Error::Geometry`] for sizes out of range, [`Error::Io`] for folders that cannot be read or a cache not written.
pub fn open(
    root: &Path,
    options: &FolderOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, Error> {
    let listing = listing::list(root)?;
    if listing.entries.is_empty() && listing.misnamed.is_empty() {
        let advice = match listing.loose.is_empty() {
            true => "images lie in one folder for each class, as in FOLDER/CLASS/IMAGE.JPEG".into(),
            false => format!(
                "its {} images lie in no class folder, so nothing says what is right (to calibrate on, such a folder will do); \
                 a test set is FOLDER/CLASS/IMAGE.JPEG",
                listing.loose.len()
            ),
        };
        return Err(Error::NoImages {
            folder: root.into(),
            expected: "class folder with JPEG or PNG images".into(),
            advice,
        });
    }
    let classes = labels(root, &listing, options)?;
    decode_all(root, listing, classes, options, progress)
}

/// Opens all images below `root` and in it, for a use that needs no labels. Class folders that [`open`] would take give the
/// same set; else every image has label 0 of one class.
///
/// # Errors
/// As [`open`], those about classes excepted.
pub fn open_unlabelled(
    root: &Path,
    options: &FolderOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, Error> {
    let mut listing = listing::list(root)?;
    if listing.loose.is_empty()
        && !listing.entries.is_empty()
        && let Ok(classes) = labels(root, &listing, options)
    {
        return decode_all(root, listing, classes, options, progress);
    }
    let loose = std::mem::take(&mut listing.loose);
    listing.entries.splice(0..0, loose);
    if listing.entries.is_empty() && listing.misnamed.is_empty() {
        return Err(Error::NoImages {
            folder: root.into(),
            expected: "JPEG or PNG images".into(),
            advice: "name a folder with images, in class folders or not".into(),
        });
    }
    for entry in &mut listing.entries {
        entry.folder = Some(0);
    }
    let classes = Classes {
        names: vec!["unlabelled".into()],
        labels: vec![0],
        rule: None,
    };
    decode_all(root, listing, classes, options, progress)
}

/// The label of each class folder.
fn labels(root: &Path, listing: &Listing, options: &FolderOptions) -> Result<Classes, Error> {
    let mut folders: Vec<(String, usize)> = listing
        .folders
        .iter()
        .map(|name| (name.clone(), 0))
        .collect();
    for folder in listing.entries.iter().filter_map(|entry| entry.folder) {
        folders[folder].1 += 1;
    }
    classes::assign(
        root,
        &folders,
        options.class_list.as_deref(),
        options.outputs,
    )
}

/// The pixels of all entries, each with the label of its folder.
fn decode_all(
    root: &Path,
    listing: Listing,
    classes: Classes,
    options: &FolderOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset, Error> {
    let geometry = geometry(options)?;
    let total = listing.entries.len() + listing.misnamed.len();
    let steps = preprocessing(geometry);
    let paths: Vec<&str> = listing
        .entries
        .iter()
        .map(|entry| entry.path.as_str())
        .collect();
    let crops = cache::open(
        &Job {
            key: key(&listing.entries, &steps),
            paths: &paths,
            image_bytes: geometry.crop * geometry.crop * 3,
            make: &|i| crop(&root.join(paths[i]), geometry),
            progress,
        },
        options.cache_dir.as_deref(),
    )?;
    progress(paths.len(), paths.len());

    let mut unreadable = listing.misnamed;
    let mut records = Vec::with_capacity(paths.len());
    let mut offset = crops.start;
    for (entry, outcome) in listing.entries.into_iter().zip(crops.outcomes) {
        match outcome {
            Ok(digest) => {
                let label = entry.folder.map_or(0, |folder| classes.labels[folder]);
                records.push(Record {
                    offset,
                    label,
                    digest: Some(digest),
                    id: Some(entry.path),
                });
                offset += geometry.crop * geometry.crop * 3;
            }
            Err(reason) => unreadable.push((entry.path, reason)),
        }
    }
    if !unreadable.is_empty() && (!options.skip_unreadable || records.is_empty()) {
        return Err(refusal(root, &unreadable, total));
    }
    let name = root.file_name().map_or_else(
        || root.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    );
    let source = Source {
        name,
        preprocessing: steps,
        classes: classes.names,
        height: geometry.crop,
        width: geometry.crop,
        normalization: options.normalization,
        sampling: Sampling::EvenlySpaced,
    };
    let set = Dataset::new(source, crops.pixels, records)?.with_unreadable(unreadable);
    Ok(match &classes.rule {
        Some(rule) => set.with_classes_from(rule),
        None => set,
    })
}

/// Decodes, resizes and crops one image file: `[crop, crop, 3]`.
fn crop(path: &Path, geometry: Geometry) -> Result<Vec<u8>, Failure> {
    let lasting = |reason: String| Failure {
        reason,
        passing: false,
    };
    let passing = |e: std::io::Error| Failure {
        reason: e.to_string(),
        passing: true,
    };
    let data = fs::metadata(path).map_err(passing)?;
    if !data.is_file() {
        return Err(lasting("not a regular file".into())); // a pipe would keep us waiting
    }
    if data.len() > LARGEST_FILE {
        return Err(lasting(format!(
            "{} bytes are more than the {LARGEST_FILE} that are read",
            data.len()
        )));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(passing)?;
    let image = decode::decode(&bytes).map_err(|e| lasting(e.to_string()))?;
    Ok(resize_and_crop(
        &image.pixels,
        image.width,
        image.height,
        geometry,
    ))
}

/// No image of [`decode::MAX_PIXELS`] needs more.
const LARGEST_FILE: u64 = 2 << 30;

/// The largest side that is made: a crop of it takes 200 MB.
const LARGEST_SIDE: usize = 8192;

fn geometry(options: &FolderOptions) -> Result<Geometry, Error> {
    let (resize, crop) = (options.resize, options.crop);
    let allowed = 1..=LARGEST_SIDE;
    if allowed.contains(&resize) && allowed.contains(&crop) {
        Ok(Geometry { resize, crop })
    } else {
        Err(Error::Geometry {
            resize,
            crop,
            largest: LARGEST_SIDE,
        })
    }
}

/// Names the steps between an image file and its pixels, but for the decoder: what a decoder does shows in the pixels.
fn preprocessing(Geometry { resize, crop }: Geometry) -> String {
    format!("RGB; shorter side {resize}, Pillow bilinear antialiased; centre crop {crop}")
}

/// What decides the crops short of reading the images: path, size and time of every file, the steps, the decoder.
fn key(entries: &[listing::Entry], steps: &str) -> Key {
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {} {}", entry.size, entry.modified, entry.path))
        .collect();
    let fixed = [steps.as_bytes(), DECODER.as_bytes()];
    Key::of(fixed.into_iter().chain(lines.iter().map(String::as_bytes)))
}

fn refusal(root: &Path, unreadable: &[(String, String)], total: usize) -> Error {
    const SHOWN: usize = 5;
    let mut examples: Vec<String> = unreadable
        .iter()
        .take(SHOWN)
        .map(|(path, reason)| format!("{path} ({reason})"))
        .collect();
    if unreadable.len() > SHOWN {
        examples.push(format!("and {} more", unreadable.len() - SHOWN));
    }
    Error::Unreadable {
        root: root.into(),
        count: unreadable.len(),
        total,
        examples: examples.join(", "),
    }
}

#[cfg(test)]
mod cache_tests;
#[cfg(test)]
mod tests;
