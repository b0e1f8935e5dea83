//! A training that can be picked up where it stopped: one file, replaced whole at the end of every epoch.
//!
//! `DIR/checkpoint.safetensors` holds `weights/NAME` (weights and running statistics), `momentum/NAME` (the optimizer's
//! buffers) and, as TOML in the metadata, the configuration and a row for every finished epoch. A process killed at any moment
//! leaves the old file or the new one.
//! `DIR/log.csv` repeats the rows for people; it is rewritten from them and never read.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use network::{HostTensor, StateDict};
use results::{remove_unfinished, write_whole};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::{Deserialize, Serialize};

use super::log::{Row, csv};
use super::{Config, TrainError, sgd};

const FILE: &str = "checkpoint.safetensors";
const LOG: &str = "log.csv";
const LOCK: &str = "lock";
const HEADER: &str = "quantlab_training";

/// Everything that the next epoch depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// What is being trained, and how.
    pub config: Config,
    /// One row for each finished epoch.
    pub rows: Vec<Row>,
    /// Weights and running statistics.
    pub weights: StateDict,
    /// Momentum buffers of the trained weights.
    pub velocity: StateDict,
}

#[derive(Serialize, Deserialize)]
struct Header {
    config: Config,
    #[serde(default)]
    rows: Vec<Row>,
}

/// The folder of a training, held by this process alone while the value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    // An advisory lock, which the operating system drops with the process, however it ends.
    _lock: File,
}

impl Folder {
    /// Opens (or makes) the folder.
    ///
    /// # Errors
    /// [`TrainError::Busy`] where another process trains into it, [`TrainError::Io`].
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let io = |e| TrainError::io(path, e);
        fs::create_dir_all(path).map_err(io)?;
        let lock = File::create(path.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(TrainError::Busy {
                    folder: path.to_path_buf(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(io(e)),
        }
        for name in [FILE, LOG] {
            remove_unfinished(&path.join(name)).map_err(io)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an epoch was finished here.
    pub fn has_checkpoint(&self) -> bool {
        self.path.join(FILE).exists()
    }

    /// Replaces checkpoint and log.
    ///
    /// # Errors
    /// [`TrainError::Io`], naming the file.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let header = Header {
            config: checkpoint.config.clone(),
            rows: checkpoint.rows.clone(),
        };
        let header = toml::to_string(&header).map_err(TrainError::header)?;
        let parts = [
            ("weights", &checkpoint.weights),
            ("momentum", &checkpoint.velocity),
        ];
        let bytes: Vec<(String, &HostTensor, Vec<u8>)> = parts
            .iter()
            .flat_map(|(part, tensors)| {
                tensors.iter().map(move |(name, tensor)| {
                    let bytes = tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect();
                    (format!("{part}/{name}"), tensor, bytes)
                })
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, tensor, bytes)| {
                TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map(|view| (name, view))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(TrainError::header)?;
        let metadata = HashMap::from([(HEADER.to_string(), header)]);
        let file = serialize(views, Some(metadata)).map_err(TrainError::header)?;
        self.replace(FILE, &file)?;
        self.replace(LOG, csv(&checkpoint.rows).as_bytes())
    }

    /// Reads the checkpoint back.
    ///
    /// # Errors
    /// [`TrainError::NoCheckpoint`], [`TrainError::Io`], [`TrainError::Checkpoint`] where the file is not one of ours.
    pub fn load(&self) -> Result<Checkpoint, TrainError> {
        let path = self.path.join(FILE);
        if !path.exists() {
            return Err(TrainError::NoCheckpoint { path });
        }
        let file = fs::read(&path).map_err(|e| TrainError::io(&path, e))?;
        decode(&file).map_err(|reason| TrainError::Checkpoint { path, reason })
    }

    fn replace(&self, name: &str, content: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        write_whole(&path, content).map_err(|e| TrainError::io(&path, e))
    }
}

fn decode(file: &[u8]) -> Result<Checkpoint, String> {
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(|e| e.to_string())?;
    let header = metadata
        .metadata()
        .as_ref()
        .and_then(|m| m.get(HEADER))
        .ok_or("it was not written by `train`")?;
    let header: Header = toml::from_str(header).map_err(|e| e.to_string())?;
    let tensors = SafeTensors::deserialize(file).map_err(|e| e.to_string())?;
    let (mut weights, mut velocity) = (StateDict::new(), StateDict::new());
    for (name, view) in tensors.tensors() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("`{name}` is not float32"));
        }
        let data = view
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let tensor = HostTensor::new(view.shape().to_vec(), data).map_err(|e| e.to_string())?;
        match name.split_once('/') {
            Some(("weights", name)) => weights.insert(name, tensor),
            Some(("momentum", name)) => velocity.insert(name, tensor),
            _ => {
                return Err(format!(
                    "`{name}` is neither a weight nor a momentum buffer"
                ));
            }
        };
    }
    // Which tensors belong there is known to the training, which compares.
    let mut trained = weights.shapes();
    trained.retain(|name, _| sgd::is_trained(name));
    if velocity.shapes() != trained {
        return Err("its momentum buffers do not fit its weights".into());
    }
    Ok(Checkpoint {
        config: header.config,
        rows: header.rows,
        weights,
        velocity,
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use resnet::Arch;

    use super::super::config::tests::config;
    use super::*;

    fn checkpoint() -> Checkpoint {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let weights = train::initial(&resnet::topology(&arch), &Device::flex()).unwrap();
        let mut velocity = sgd::at_rest(&weights, sgd::is_trained);
        velocity.get_mut("linear.bias").unwrap().data[3] = -0.125;
        let row = Row {
            epoch: 1,
            lr: 0.1,
            train_loss: 1.5,
            train_top1: 0.25,
            test_top1: None,
            images_per_second: 100.5,
            seconds: 3.25,
        };
        Checkpoint {
            config: config(64),
            rows: vec![row],
            weights,
            velocity,
        }
    }

    #[test]
    fn what_is_saved_is_what_is_loaded_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        assert!(!folder.has_checkpoint());
        assert!(matches!(
            folder.load(),
            Err(TrainError::NoCheckpoint { .. })
        ));
        let checkpoint = checkpoint();
        folder.save(&checkpoint).unwrap();
        assert!(folder.has_checkpoint());
        assert_eq!(folder.load().unwrap(), checkpoint);
        let first = fs::read(dir.path().join(FILE)).unwrap();
        folder.save(&checkpoint).unwrap();
        assert_eq!(first, fs::read(dir.path().join(FILE)).unwrap());
    }

    #[test]
    fn a_write_that_was_killed_half_way_leaves_the_old_checkpoint_and_nothing_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let checkpoint = checkpoint();
        folder.save(&checkpoint).unwrap();
        let left = dir.path().join(".checkpoint.safetensors.1-0.tmp");
        fs::write(&left, b"torn").unwrap();
        assert_eq!(folder.load().unwrap(), checkpoint);
        folder.save(&checkpoint).unwrap();
        assert_eq!(folder.load().unwrap(), checkpoint);
        drop(folder);
        let folder = Folder::open(dir.path()).unwrap();
        assert!(!left.exists());
        assert_eq!(folder.load().unwrap(), checkpoint);
    }

    #[test]
    fn a_damaged_checkpoint_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let mut checkpoint = checkpoint();
        folder.save(&checkpoint).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 100, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = folder.load().unwrap_err().to_string();
            assert!(error.contains(FILE), "{error}");
        }
        checkpoint.velocity.remove("linear.bias");
        folder.save(&checkpoint).unwrap();
        let error = folder.load().unwrap_err().to_string();
        assert!(error.contains("momentum"), "{error}");
    }

    #[test]
    fn two_processes_cannot_train_into_one_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::open(dir.path()).unwrap();
        assert!(matches!(
            Folder::open(dir.path()),
            Err(TrainError::Busy { .. })
        ));
        drop(first);
        assert!(Folder::open(dir.path()).is_ok());
    }
}
