//! Opens the checkpoints and test sets that cells name, each once however many cells use it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use dataset::synthetic::{self, Split};
use dataset::{Dataset, FolderOptions};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use resnet::{Arch, Checkpoint};

use crate::registry::{DatasetEntry, Format, Registry};
use crate::settings::{CalibrationChoice, ModelChoice};

/// A loaded checkpoint and how it is called.
#[derive(Debug)]
pub struct Model {
    /// `models.toml` name, or the file's stem.
    pub name: String,
    /// The file it came from.
    pub file: PathBuf,
    /// The set it was trained for, where known.
    pub dataset: Option<String>,
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
}

/// Everything that has been opened so far.
pub struct Sources {
    registry: Registry,
    cache: PathBuf,
    skip_unreadable: bool,
    progress: Box<dyn Fn(usize, usize) + Sync>,
    models: BTreeMap<ModelChoice, Arc<Model>>,
    sets: BTreeMap<(String, u64), Arc<TestSet>>,
    calibration: BTreeMap<(String, CalibrationChoice), Arc<TestSet>>,
    training: BTreeMap<(String, u64), Arc<TestSet>>,
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
            calibration: BTreeMap::new(),
            training: BTreeMap::new(),
        }
    }

    /// The checkpoint that `choice` names.
    pub fn model(&mut self, choice: &ModelChoice) -> Result<Arc<Model>> {
        if let Some(model) = self.models.get(choice) {
            return Ok(model.clone());
        }
        let model = Arc::new(match choice {
            ModelChoice::Named(name) => {
                let entry = self.registry.model(name)?;
                let file = self.registry.find(&entry.file, name, name)?;
                let arch = Arch::parse(&entry.arch)?;
                Model {
                    name: name.clone(),
                    checkpoint: load(&file, Some(&arch))?,
                    file,
                    dataset: Some(entry.dataset.clone()),
                }
            }
            ModelChoice::File { path, arch } => {
                let file = PathBuf::from(path);
                let arch = arch.as_deref().map(Arch::parse).transpose()?;
                Model {
                    name: stem(&file),
                    checkpoint: load(&file, arch.as_ref())?,
                    file,
                    dataset: None,
                }
            }
        });
        self.models.insert(choice.clone(), model.clone());
        Ok(model)
    }

    /// The first or evenly spaced `images` (0: all) of the set called `name`, or of the folder at that path.
    pub fn test_set(&mut self, name: &str, images: u64) -> Result<Arc<TestSet>> {
        let key = (name.to_owned(), images);
        if let Some(set) = self.sets.get(&key) {
            return Ok(set.clone());
        }
        let (short, all) = match self.registry.datasets.get(name) {
            Some(entry) => (name.to_owned(), self.open_entry(name, entry, images)?),
            None if Path::new(name).is_dir() => (
                stem(Path::new(name)),
                self.open_folder(Path::new(name), None)?,
            ),
            None => {
                let known: Vec<_> = self.registry.datasets.keys().map(String::as_str).collect();
                bail!(
                    "dataset = {name}: neither a folder nor an entry of datasets.toml; there are {}",
                    known.join(", ")
                )
            }
        };
        if all.is_empty() {
            bail!("dataset = {name}: there are no images");
        }
        let data = match images as usize {
            0 => all,
            n if n <= all.len() => all.subset(n),
            n => bail!("images = {n}, but {name} has {} images", all.len()),
        };
        let set = Arc::new(TestSet {
            name: short,
            sha256: data.sha256(),
            data,
        });
        self.sets.insert(key, set.clone());
        Ok(set)
    }

    /// The images that `choice` draws from the training part of the test set called `tested`, or from a set of its own.
    ///
    /// # Errors
    /// There are none, or fewer than asked for.
    pub fn calibration_set(
        &mut self,
        tested: &str,
        choice: &CalibrationChoice,
    ) -> Result<Arc<TestSet>> {
        let key = (tested.to_owned(), choice.clone());
        if let Some(set) = self.calibration.get(&key) {
            return Ok(set.clone());
        }
        let name = choice.dataset.as_deref().unwrap_or(tested);
        let (short, all) = match self.registry.datasets.get(name) {
            Some(entry) => (name.to_owned(), self.open_training(name, entry)?),
            None if Path::new(name).join("data_batch_1.bin").is_file() => (
                stem(Path::new(name)),
                dataset::cifar::open_train(Path::new(name))?,
            ),
            None if Path::new(name).is_dir() && choice.dataset.is_some() => (
                stem(Path::new(name)),
                self.open_images(Path::new(name), None)?,
            ),
            None if choice.dataset.is_some() => bail!(
                "calibration.dataset = {name}: neither a folder nor an entry of datasets.toml"
            ),
            None => bail!(
                "no calibration images for {tested}: give a folder of images that are not test images with calibration.dataset"
            ),
        };
        let n = choice.images as usize;
        if n > all.len() {
            bail!(
                "calibration.images = {n}, but {short} has {} images to calibrate on; ask for no more",
                all.len()
            );
        }
        // In the order drawn: a moving average depends on it, and so on the seed alone.
        let mut random = ChaCha8Rng::seed_from_u64(choice.seed);
        let drawn = rand::seq::index::sample(&mut random, all.len(), n).into_vec();
        let data = all.select(&drawn);
        let set = Arc::new(TestSet {
            name: short,
            sha256: data.sha256(),
            data,
        });
        self.calibration.insert(key, set.clone());
        Ok(set)
    }

    /// The first `images` (0: all) of the training part of the test set called `tested`.
    ///
    /// # Errors
    /// There are none, or fewer than asked for.
    pub fn training_set(&mut self, tested: &str, images: u64) -> Result<Arc<TestSet>> {
        let key = (tested.to_owned(), images);
        if let Some(set) = self.training.get(&key) {
            return Ok(set.clone());
        }
        let (short, all) = match self.registry.datasets.get(tested) {
            Some(entry) => (tested.to_owned(), self.open_training(tested, entry)?),
            None if Path::new(tested).join("data_batch_1.bin").is_file() => (
                stem(Path::new(tested)),
                dataset::cifar::open_train(Path::new(tested))?,
            ),
            None => bail!("no training images for {tested}: it has test images alone"),
        };
        let data = match images as usize {
            0 => all,
            n if n <= all.len() => all.subset(n),
            n => bail!("qat.images = {n}, but {short} has {}", all.len()),
        };
        let set = Arc::new(TestSet {
            name: short,
            sha256: data.sha256(),
            data,
        });
        self.training.insert(key, set.clone());
        Ok(set)
    }

    /// The images of a set that are no test images.
    fn open_training(&self, name: &str, entry: &DatasetEntry) -> Result<Dataset> {
        match entry.format {
            Format::Synthetic => Ok(synthetic::generate(
                entry.seed,
                Split::Train,
                synthetic::TRAIN_IMAGES,
            )),
            Format::Cifar10 => {
                let folder = self.registry.find(&entry.path, name, name)?;
                Ok(dataset::cifar::open_train(&folder)?)
            }
            Format::ImageFolder => bail!(
                "no calibration images: {name} has test images alone; give a folder of others with calibration.dataset"
            ),
        }
    }

    fn open_entry(&self, name: &str, entry: &DatasetEntry, images: u64) -> Result<Dataset> {
        if entry.format == Format::Synthetic {
            let n = match images as usize {
                0 => synthetic::TEST_IMAGES,
                n => n,
            };
            return Ok(synthetic::generate(entry.seed, Split::Test, n));
        }
        let folder = self.registry.find(&entry.path, name, name)?;
        let class_list = match &entry.class_list {
            Some(list) => Some(self.registry.find(list, name, name)?),
            None => None,
        };
        match entry.format {
            Format::Cifar10 => Ok(dataset::cifar::open_test(&folder)?),
            _ => self.open_images(&folder, class_list),
        }
    }

    /// A folder that no registry knows: CIFAR-10's layout by its file, else class folders.
    fn open_folder(&self, folder: &Path, class_list: Option<PathBuf>) -> Result<Dataset> {
        if folder.join("test_batch.bin").is_file() {
            Ok(dataset::cifar::open_test(folder)?)
        } else {
            self.open_images(folder, class_list)
        }
    }

    fn open_images(&self, folder: &Path, class_list: Option<PathBuf>) -> Result<Dataset> {
        let options = FolderOptions {
            class_list,
            skip_unreadable: self.skip_unreadable,
            cache_dir: Some(self.cache.clone()),
            ..FolderOptions::default()
        };
        let data = dataset::folder::open(folder, &options, &*self.progress)?;
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

fn load(file: &Path, arch: Option<&Arch>) -> Result<Checkpoint> {
    resnet::load(file, arch).with_context(|| "cannot load the model".to_owned())
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(
        || path.display().to_string(),
        |s| s.to_string_lossy().into_owned(),
    )
}
