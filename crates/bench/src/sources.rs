//! Opens the checkpoints and test sets that cells name, each once however many cells use it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use dataset::cifar::{self, Kind};
use dataset::synthetic::{self, Split};
use dataset::{Dataset, FolderOptions};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use resnet::{Arch, Checkpoint, Reading};

use crate::input::{Columns, Geometry, Preparation};
use crate::registry::{DatasetEntry, Format, Registry};
use crate::settings::{CalibrationChoice, Input, ModelChoice, ModelFile};

/// A loaded checkpoint and how it is called.
#[derive(Debug)]
pub struct Model {
    /// `models.toml` name, or the file's stem.
    pub name: String,
    /// The file it came from.
    pub file: PathBuf,
    /// The set it was trained for, where known.
    pub dataset: Option<String>,
    /// What its entry of `models.toml` says of images and labels.
    pub input: Input,
    /// Weights, architecture and hashes.
    pub checkpoint: Checkpoint,
}

/// A test set and how it is called.
#[derive(Debug)]
pub struct TestSet {
    /// `datasets.toml` name, or the folder's name.
    pub name: String,
    /// The images.
    pub data: Dataset,
    /// Hash of preprocessing, pixels and labels.
    pub sha256: String,
    /// The folder, where the set was given by its path.
    pub given: Option<PathBuf>,
    /// How images were cut, where they come from class folders.
    pub crops: Option<Geometry>,
    /// How they were read, where that is not the usual way.
    pub columns: Columns,
}

impl TestSet {
    /// A set that is read as it is.
    pub fn plain(name: String, data: Dataset) -> Self {
        Self {
            name,
            sha256: data.sha256(),
            data,
            given: None,
            crops: None,
            columns: Columns::default(),
        }
    }
}

/// Where a set lies.
enum Place<'r> {
    /// Where an entry of `datasets.toml` says.
    Entry(&'r DatasetEntry),
    /// A folder with CIFAR's files.
    Cifar(Kind, &'r Path),
    /// Another folder.
    Folder(&'r Path),
}

/// Everything that has been opened so far.
pub struct Sources {
    registry: Registry,
    cache: PathBuf,
    skip_unreadable: bool,
    progress: Box<dyn Fn(usize, usize) + Sync>,
    models: BTreeMap<ModelChoice, Arc<Model>>,
    /// By everything that decides what they are, as text: a normalization has no order.
    sets: BTreeMap<String, Arc<TestSet>>,
}

impl Sources {
    /// Nothing opened yet. `cache` is where decoded images are kept; `progress` is told of images decoded, of how many.
    pub fn new(
        registry: Registry,
        cache: &Path,
        skip_unreadable: bool,
        progress: Box<dyn Fn(usize, usize) + Sync>,
    ) -> Self {
        Self {
            registry,
            cache: cache.to_owned(),
            skip_unreadable,
            progress,
            models: BTreeMap::new(),
            sets: BTreeMap::new(),
        }
    }

    /// The checkpoint that `choice` names.
    pub fn model(&mut self, choice: &ModelChoice) -> Result<Arc<Model>> {
        if let Some(model) = self.models.get(choice) {
            return Ok(model.clone());
        }
        let reading = &choice.reading;
        let model = Arc::new(match &choice.file {
            ModelFile::Named(name) => {
                let entry = self.registry.model(name)?;
                let file = self.registry.find(&entry.file, name, name)?;
                let arch = entry.arch.as_deref().map(Arch::parse).transpose()?;
                Model {
                    name: choice.called(name.clone()),
                    checkpoint: load(&file, arch.as_ref(), reading)?,
                    file,
                    dataset: Some(entry.dataset.clone()),
                    input: entry.input(),
                }
            }
            ModelFile::File { path, arch } => {
                let file = PathBuf::from(path);
                let arch = arch.as_deref().map(Arch::parse).transpose()?;
                Model {
                    name: choice.called(stem(&file)),
                    checkpoint: load(&file, arch.as_ref(), reading)?,
                    file,
                    dataset: None,
                    input: Input::default(),
                }
            }
        });
        self.models.insert(choice.clone(), model.clone());
        Ok(model)
    }

    /// The first or evenly spaced `images` (0: all) of the set called `name`, or of the folder at that path, as a network is to
    /// see them.
    pub fn test_set(&mut self, name: &str, images: u64, how: &Preparation) -> Result<Arc<TestSet>> {
        let key = format!("test {name:?} {images} {how:?}");
        self.once(key, |sources| {
            let Some(place) = sources.place(name) else {
                let known: Vec<_> = sources.registry.datasets.keys().map(String::as_str).collect();
                bail!(
                    "dataset = {name}: neither a folder nor an entry of datasets.toml; there are {}",
                    known.join(", ")
                )
            };
            let class_folders = match &place {
                Place::Entry(entry) => entry.format == Format::ImageFolder,
                Place::Cifar(..) => false,
                Place::Folder(_) => true,
            };
            if !class_folders {
                how.check_fixed(name)?;
            }
            let all = match &place {
                Place::Entry(entry) => sources.open_entry(name, entry, images, how)?,
                Place::Cifar(kind, folder) => cifar::open_test(*kind, folder)?,
                Place::Folder(folder) => sources.open_images(folder, how.folder(), false)?,
            };
            if all.is_empty() {
                bail!("dataset = {name}: there are no images");
            }
            let some = match images as usize {
                0 => all,
                n if n <= all.len() => all.subset(n),
                n => bail!("images = {n}, but {name} has {} images", all.len()),
            };
            Ok(TestSet {
                crops: class_folders.then_some(how.geometry),
                columns: how.columns(&some, class_folders),
                ..sources.named(name, &place, how.labelled(some)?)
            })
        })
    }

    /// The images that `choice` draws from the training part of the test set called `tested`, or from a set of its own; their
    /// labels are of no use.
    ///
    /// # Errors
    /// There are none, or fewer than asked for.
    pub fn calibration_set(
        &mut self,
        tested: &str,
        choice: &CalibrationChoice,
        how: &Preparation,
    ) -> Result<Arc<TestSet>> {
        let key = format!("calibration {tested:?} {choice:?} {how:?}");
        self.once(key, |sources| {
            let name = choice.dataset.as_deref().unwrap_or(tested);
            let place = sources.place(name);
            let all = match (&place, &choice.dataset) {
                (Some(Place::Folder(folder)), Some(_)) => {
                    // Labels that no network is asked about: neither a list nor the number of outputs counts.
                    let options = FolderOptions {
                        class_list: None,
                        outputs: None,
                        ..how.folder()
                    };
                    sources.open_images(folder, options, true)?
                }
                (Some(Place::Folder(_)) | None, None) => bail!(
                    "no calibration images for {tested}: give a folder of images that are not test images with calibration.dataset"
                ),
                (None, Some(_)) => bail!(
                    "calibration.dataset = {name}: neither a folder nor an entry of datasets.toml"
                ),
                (Some(place), _) => sources.open_training(name, place)?,
            };
            let set = sources.named(name, place.as_ref().unwrap_or(&Place::Folder(Path::new(name))), all);
            let (short, all) = (&set.name, &set.data);
            let n = choice.images as usize;
            if n > all.len() {
                bail!(
                    "calibration.images = {n}, but {short} has {} images to calibrate on; ask for no more",
                    all.len()
                );
            }
            let drawn = drawn(choice.seed, n, all.len());
            let data = how.normalized(all.select(&drawn));
            Ok(TestSet {
                sha256: data.sha256(),
                data,
                ..set
            })
        })
    }

    /// The first `images` (0: all) of the training part of the test set called `tested`.
    ///
    /// # Errors
    /// There are none, or fewer than asked for.
    pub fn training_set(
        &mut self,
        tested: &str,
        images: u64,
        how: &Preparation,
    ) -> Result<Arc<TestSet>> {
        let key = format!("training {tested:?} {images} {how:?}");
        self.once(key, |sources| {
            let place = match sources.place(tested) {
                Some(place @ (Place::Entry(_) | Place::Cifar(..))) => place,
                _ => bail!("no training images for {tested}: it has test images alone"),
            };
            let all = sources.open_training(tested, &place)?;
            let some = match images as usize {
                0 => all,
                n if n <= all.len() => all.subset(n),
                n => bail!("qat.images = {n}, but {tested} has {}", all.len()),
            };
            Ok(sources.named(tested, &place, how.labelled(some)?))
        })
    }

    /// What `open` makes, made once.
    fn once(
        &mut self,
        key: String,
        open: impl FnOnce(&Self) -> Result<TestSet>,
    ) -> Result<Arc<TestSet>> {
        if let Some(set) = self.sets.get(&key) {
            return Ok(set.clone());
        }
        let set = Arc::new(open(self)?);
        self.sets.insert(key, set.clone());
        Ok(set)
    }

    /// Where the set called `name` lies: an entry by that name, else a folder at that path.
    fn place<'r>(&'r self, name: &'r str) -> Option<Place<'r>> {
        if let Some(entry) = self.registry.datasets.get(name) {
            return Some(Place::Entry(entry));
        }
        let folder = Path::new(name);
        match cifar::find(folder) {
            Some(kind) => Some(Place::Cifar(kind, folder)),
            None => folder.is_dir().then_some(Place::Folder(folder)),
        }
    }

    /// A set of that name: the entry's, or the folder's.
    fn named(&self, name: &str, place: &Place<'_>, data: Dataset) -> TestSet {
        let folder = match place {
            Place::Entry(_) => None,
            Place::Cifar(_, folder) | Place::Folder(folder) => Some(*folder),
        };
        TestSet {
            given: folder.map(Path::to_path_buf),
            ..TestSet::plain(folder.map_or_else(|| name.to_owned(), stem), data)
        }
    }

    /// The images of a set that are no test images.
    fn open_training(&self, name: &str, place: &Place<'_>) -> Result<Dataset> {
        match place {
            Place::Cifar(kind, folder) => Ok(cifar::open_train(*kind, folder)?),
            Place::Entry(entry) => match (entry.format, cifar_kind(entry.format)) {
                (_, Some(kind)) => {
                    let folder = self.registry.find(&entry.path, name, name)?;
                    Ok(cifar::open_train(kind, &folder)?)
                }
                (Format::Synthetic, _) => Ok(synthetic::generate(
                    entry.seed,
                    Split::Train,
                    synthetic::TRAIN_IMAGES,
                )),
                _ => bail!(
                    "no calibration images: {name} has test images alone; give a folder of others with calibration.dataset"
                ),
            },
            Place::Folder(_) => bail!("no training images for {name}: it has test images alone"),
        }
    }

    fn open_entry(
        &self,
        name: &str,
        entry: &DatasetEntry,
        images: u64,
        how: &Preparation,
    ) -> Result<Dataset> {
        if entry.format == Format::Synthetic {
            let n = match images as usize {
                0 => synthetic::TEST_IMAGES,
                n => n,
            };
            return Ok(synthetic::generate(entry.seed, Split::Test, n));
        }
        let folder = self.registry.find(&entry.path, name, name)?;
        if let Some(kind) = cifar_kind(entry.format) {
            return Ok(cifar::open_test(kind, &folder)?);
        }
        let class_list = match (&how.class_list, &entry.class_list) {
            (None, Some(list)) => Some(self.registry.find(list, name, name)?),
            (said, _) => said.clone(),
        };
        let options = FolderOptions {
            class_list,
            ..how.folder()
        };
        self.open_images(&folder, options, false)
    }

    fn open_images(
        &self,
        folder: &Path,
        options: FolderOptions,
        unlabelled: bool,
    ) -> Result<Dataset> {
        let options = FolderOptions {
            skip_unreadable: self.skip_unreadable,
            cache_dir: Some(self.cache.clone()),
            ..options
        };
        let data = match unlabelled {
            true => dataset::folder::open_unlabelled(folder, &options, &*self.progress)?,
            false => dataset::folder::open(folder, &options, &*self.progress)?,
        };
        let unreadable = data.unreadable();
        if !unreadable.is_empty() {
            eprintln!(
                "{}: {} unreadable images skipped, the first is {} ({})",
                folder.display(),
                unreadable.len(),
                unreadable[0].0,
                unreadable[0].1
            );
        }
        Ok(data)
    }
}

fn cifar_kind(format: Format) -> Option<Kind> {
    match format {
        Format::Cifar10 => Some(Kind::Ten),
        Format::Cifar100 => Some(Kind::Hundred),
        Format::Synthetic | Format::ImageFolder => None,
    }
}

/// Which `n` of `images` are calibrated on, in the order drawn: a moving average depends on it, and so on the seed alone.
/// The run id says the seed and not the images, so what a seed draws may never change; a test holds it.
fn drawn(seed: u64, n: usize, images: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    rand::seq::index::sample(&mut random, images, n).into_vec()
}

fn load(file: &Path, arch: Option<&Arch>, reading: &Reading) -> Result<Checkpoint> {
    resnet::load_as(file, arch, reading).with_context(|| "cannot load the model".to_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(
        || path.display().to_string(),
        |s| s.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// `rand` has three ways to draw, by the share of the images that is wanted; each is here.
    #[test]
    fn a_seed_draws_the_images_that_it_has_always_drawn() {
        for (seed, n, images, first, all) in [
            (0, 512, 50_000, [32734, 35454, 36494], "75df60d92c4b"),
            (0, 512, 20_000, [13093, 14181, 14597], "39f91b9d29af"),
            (
                0,
                512,
                synthetic::TRAIN_IMAGES,
                [6546, 7091, 7299],
                "96e870e78216",
            ),
            (7, 64, 64, [8, 10, 13], "20399445f119"),
            (1, 8, 1000, [545, 400, 979], "0e27a8a65e50"),
            (u64::MAX, 1000, 5_000, [4446, 3420, 2964], "9d953b7088ab"),
        ] {
            let found = drawn(seed, n, images);
            let mut text = Sha256::new();
            for index in &found {
                text.update((*index as u32).to_le_bytes());
            }
            let text: String = text.finalize()[..6]
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            let mut once = found.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!((once.len(), found.len()), (n, n));
            assert!(once.iter().all(|&index| index < images));
            assert_eq!(
                (&found[..3], text.as_str()),
                (&first[..], all),
                "{seed}, {n} of {images}"
            );
        }
    }
}
