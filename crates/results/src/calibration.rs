//! A calibration table: what every activation site of a network was seen to hold, to be looked at or fitted again without a run.
//!
//! ```text
//! <folder>/source.csv      one row: the weights and the images that were run, by name and by hash
//!          sites.csv       site, n, zeros, min, max         in the network's order; min and max empty where n is 0
//!          histogram.csv   site, bin, exponent, count       occupied bins of width 2^exponent; zeros are in none
//!          batches.csv     site, batch, min, max            of each calibration batch
//! ```
//!
//! Bin j >= 0 is [j w, (j + 1) w) with w = 2^exponent, bin -1 - j its mirror image (-(j + 1) w, -j w]. Minima and maxima are float32
//! numbers, written as the shortest decimals that read back as the same ones. A folder is written whole or not at all.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::file::{plain, plain_option, read_rows, write_rows};
use crate::folder::{new_folder, sync_folder};
use crate::rows::Row;

/// File of what was run.
pub const SOURCE_FILE: &str = "source.csv";
/// File of the sites.
pub const SITES_FILE: &str = "sites.csv";
/// File of the occupied bins.
pub const HISTOGRAM_FILE: &str = "histogram.csv";
/// File of the batches.
pub const BATCHES_FILE: &str = "batches.csv";

/// A site has at most 8192 bins of some 40 bytes; no network has a thousand sites.
const MOST_BYTES: u64 = 256 << 20;

/// The row of `source.csv`. Names are for people; the hashes are what counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRow {
    /// Name of the model.
    pub model: String,
    /// Its architecture.
    pub arch: String,
    /// Hash of its weights.
    pub weights_sha256: String,
    /// Name of the set that the images are from.
    pub dataset: String,
    /// How many there were.
    pub images: u64,
    /// Hash of the images.
    pub data_sha256: String,
    /// How they were normalized; empty in files of before there was a choice.
    pub normalization: Option<String>,
}

impl Row for SourceRow {
    fn columns() -> Vec<&'static str> {
        vec![
            "model",
            "arch",
            "weights_sha256",
            "dataset",
            "images",
            "data_sha256",
            "normalization",
        ]
    }

    fn later() -> &'static [&'static str] {
        &["normalization"]
    }
}

/// A row of `sites.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRow {
    /// The activation site.
    pub site: String,
    /// Values seen.
    pub n: u64,
    /// How many of them were 0.
    pub zeros: u64,
    /// The smallest.
    #[serde(serialize_with = "plain_option")]
    pub min: Option<f32>,
    /// The largest.
    #[serde(serialize_with = "plain_option")]
    pub max: Option<f32>,
}

impl Row for SiteRow {
    fn columns() -> Vec<&'static str> {
        vec!["site", "n", "zeros", "min", "max"]
    }
}

/// A row of `histogram.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinRow {
    /// The activation site.
    pub site: String,
    /// The bin.
    pub bin: i32,
    /// Exponent of the width of the site's bins.
    pub exponent: i32,
    /// Values in the bin.
    pub count: u64,
}

impl Row for BinRow {
    fn columns() -> Vec<&'static str> {
        vec!["site", "bin", "exponent", "count"]
    }
}

/// A row of `batches.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchRow {
    /// The activation site.
    pub site: String,
    /// Index of the batch.
    pub batch: u64,
    /// The smallest value of the batch.
    #[serde(serialize_with = "plain")]
    pub min: f32,
    /// The largest value of the batch.
    #[serde(serialize_with = "plain")]
    pub max: f32,
}

impl Row for BatchRow {
    fn columns() -> Vec<&'static str> {
        vec!["site", "batch", "min", "max"]
    }
}

/// A calibration table in memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CalibrationTable {
    /// `source.csv`.
    pub source: SourceRow,
    /// `sites.csv`.
    pub sites: Vec<SiteRow>,
    /// `histogram.csv`.
    pub bins: Vec<BinRow>,
    /// `batches.csv`.
    pub batches: Vec<BatchRow>,
}

impl CalibrationTable {
    /// Writes the table into a new folder, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Calibration`] for a table that contradicts itself, [`Error::Io`] when `folder` exists or cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        self.validate()?;
        let parent = match folder.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let temporary = new_folder(parent, &name)?;
        let put = || {
            let source = std::slice::from_ref(&self.source);
            write_rows(&temporary.join(SOURCE_FILE), source)?;
            write_rows(&temporary.join(SITES_FILE), &self.sites)?;
            write_rows(&temporary.join(HISTOGRAM_FILE), &self.bins)?;
            write_rows(&temporary.join(BATCHES_FILE), &self.batches)?;
            sync_folder(&temporary)?;
            // An empty folder would be replaced without a word.
            if folder.exists() {
                let exists = std::io::ErrorKind::AlreadyExists.into();
                return Err(Error::io("create", folder)(exists));
            }
            fs::rename(&temporary, folder).map_err(Error::io("create", folder))
        };
        put().inspect_err(|_| drop(fs::remove_dir_all(&temporary)))?;
        sync_folder(parent)
    }

    /// Reads a table that [`CalibrationTable::write`] wrote.
    ///
    /// # Errors
    /// Those of [`read_rows`], [`Error::Size`] for a file that no table needs, [`Error::RowCount`], [`Error::Calibration`].
    pub fn read(folder: &Path) -> Result<CalibrationTable, Error> {
        let path = folder.join(SOURCE_FILE);
        let sources: Vec<SourceRow> = read(&path)?;
        let found = sources.len();
        let [source] = <[SourceRow; 1]>::try_from(sources).map_err(|_| Error::RowCount {
            path,
            found,
            allowed: 1,
        })?;
        let table = CalibrationTable {
            source,
            sites: read(&folder.join(SITES_FILE))?,
            bins: read(&folder.join(HISTOGRAM_FILE))?,
            batches: read(&folder.join(BATCHES_FILE))?,
        };
        table.validate()?;
        Ok(table)
    }

    /// Checks what no single row can tell: each site once, no bin and no batch of an unknown site, one exponent a site.
    ///
    /// # Errors
    /// [`Error::Calibration`] with the site.
    pub fn validate(&self) -> Result<(), Error> {
        let fail = |site: &str, problem: String| {
            Err(Error::Calibration {
                site: site.to_string(),
                problem,
            })
        };
        let mut sites = HashSet::new();
        for row in &self.sites {
            if !sites.insert(row.site.as_str()) {
                return fail(&row.site, format!("it is in {SITES_FILE} twice"));
            }
        }
        let bins = self.bins.iter().map(|row| (&row.site, HISTOGRAM_FILE));
        let batches = self.batches.iter().map(|row| (&row.site, BATCHES_FILE));
        for (site, file) in bins.chain(batches) {
            if !sites.contains(site.as_str()) {
                return fail(site, format!("it is in {file} but not in {SITES_FILE}"));
            }
        }
        let mut exponents = std::collections::HashMap::new();
        for BinRow { site, exponent, .. } in &self.bins {
            let first = *exponents.entry(site).or_insert(*exponent);
            if first != *exponent {
                let problem = format!("its bins have the exponents {first} and {exponent}");
                return fail(site, problem);
            }
        }
        Ok(())
    }
}

/// The rows of a file of bounded size.
fn read<R: Row>(path: &Path) -> Result<Vec<R>, Error> {
    let found = fs::metadata(path).map_err(Error::io("read", path))?.len();
    if found > MOST_BYTES {
        return Err(Error::Size {
            path: path.into(),
            found,
            allowed: MOST_BYTES,
        });
    }
    read_rows(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of float32 number that text could lose.
    const AWKWARD: [f32; 12] = [
        0.0,
        1.0,
        0.1,
        1.0 / 3.0,
        16_777_217.0,
        1e-45,
        1.175_494_2e-38,
        f32::MIN_POSITIVE,
        f32::EPSILON,
        1e10,
        f32::MAX,
        -f32::MAX,
    ];

    fn table() -> CalibrationTable {
        let site = |site: &str, min, max| SiteRow {
            site: site.into(),
            n: u64::MAX,
            zeros: 3,
            min,
            max,
        };
        let bin = |bin, exponent| BinRow {
            site: "layer1.0, \"add\"".into(),
            bin,
            exponent,
            count: 1 << 53,
        };
        CalibrationTable {
            source: SourceRow {
                model: "net, \"mine\"".into(),
                images: u64::MAX,
                ..SourceRow::default()
            },
            sites: vec![
                site("layer1.0, \"add\"", Some(-1e-45), Some(f32::MAX)),
                site("fc", None, None),
            ],
            bins: vec![bin(-4096, -126), bin(4095, -126)],
            batches: AWKWARD
                .iter()
                .enumerate()
                .map(|(batch, &value)| BatchRow {
                    site: "fc".into(),
                    batch: batch as u64,
                    min: -value,
                    max: value,
                })
                .collect(),
        }
    }

    #[test]
    fn a_table_comes_back_to_the_bit_and_without_exponents() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        table().write(&path).unwrap();
        let back = CalibrationTable::read(&path).unwrap();
        assert_eq!(back, table());
        for (row, value) in back.batches.iter().zip(AWKWARD) {
            assert_eq!(row.max.to_bits(), value.to_bits());
            assert_eq!(row.min.to_bits(), (-value).to_bits());
        }
        let text = fs::read_to_string(path.join(BATCHES_FILE)).unwrap();
        assert!(
            text.lines().skip(1).all(|l| !l.contains(['e', 'E'])),
            "{text}"
        );
        let text = fs::read_to_string(path.join(SITES_FILE)).unwrap();
        assert_eq!(text.lines().last().unwrap(), "fc,18446744073709551615,3,,");
    }

    #[test]
    fn random_float32_numbers_survive_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let rows: Vec<BatchRow> = (0..20_000_u32)
            .map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)))
            .filter(|x| x.is_finite())
            .map(|x| BatchRow {
                site: String::new(),
                batch: 0,
                min: x,
                max: x,
            })
            .collect();
        write_rows(&path, &rows).unwrap();
        let back: Vec<BatchRow> = read_rows(&path).unwrap();
        assert!(
            rows.iter()
                .zip(&back)
                .all(|(a, b)| a.min.to_bits() == b.min.to_bits())
        );
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        table().write(&path).unwrap();
        let error = CalibrationTable::default().write(&path).unwrap_err();
        assert!(error.to_string().contains("cannot create"), "{error}");
        assert_eq!(CalibrationTable::read(&path).unwrap(), table());
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "no temporary folder stays behind");
        assert!(
            table()
                .write(&folder.path().join("none").join("calibration"))
                .is_err()
        );
    }

    #[test]
    fn a_table_that_contradicts_itself_names_the_site() {
        let error = |change: fn(&mut CalibrationTable)| {
            let mut table = table();
            change(&mut table);
            table.validate().unwrap_err().to_string()
        };
        assert_eq!(
            error(|t| t.sites[1].site = t.sites[0].site.clone()),
            "calibration of `layer1.0, \"add\"`: it is in sites.csv twice"
        );
        assert!(error(|t| t.bins[0].site = "x".into()).contains("in histogram.csv but not"));
        assert!(error(|t| t.batches[0].site = "x".into()).contains("in batches.csv but not"));
        assert!(error(|t| t.bins[1].exponent = 3).contains("exponents -126 and 3"));
    }

    #[test]
    fn a_file_past_any_table_is_not_read_and_one_without_a_source_neither() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        table().write(&path).unwrap();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(path.join(HISTOGRAM_FILE))
            .unwrap();
        // A hole: it takes no room on the disk.
        file.set_len(MOST_BYTES + 1).unwrap();
        let error = CalibrationTable::read(&path).unwrap_err();
        assert!(matches!(error, Error::Size { .. }), "{error}");
        let header = SourceRow::columns().join(",");
        fs::write(path.join(SOURCE_FILE), header + "\n").unwrap();
        let error = CalibrationTable::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("0 rows, but it must hold exactly 1"),
            "{error}"
        );
    }
}
