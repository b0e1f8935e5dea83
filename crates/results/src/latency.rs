//! What layers take, from a table: `layers.csv` of `throughput --out`, or one of another machine.
//!
//! Columns, in any order, others ignored: `layer`, `seconds_per_image`, and what was measured: `weight_bits` and `activation_bits` (32 for
//! float), or `precision` (`float32` for 32 and 32, `int8` for 8 and 8).

use std::fs::File;
use std::path::Path;

use csv::StringRecord;

use crate::error::Error;

/// A layer's time for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyRow {
    /// Its name.
    pub layer: String,
    /// Bits of its weights, 32 for float.
    pub weight_bits: u32,
    /// Bits of what it reads.
    pub activation_bits: u32,
    /// From 0 to a million.
    pub seconds: f64,
    /// Where in the file.
    pub line: u64,
}

/// Reads such a table.
///
/// # Errors
/// [`Error::Io`]; [`Error::Line`] names the column that is missing, or what is no measurement.
pub fn read_latencies(path: &Path) -> Result<Vec<LatencyRow>, Error> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let wrong = |line: u64, problem: String| Error::Line {
        path: path.to_owned(),
        line,
        problem,
    };
    let mut reader = csv::Reader::from_reader(file);
    let heads = reader.headers().cloned();
    let heads = heads.map_err(|error| wrong(1, error.to_string()))?;
    let columns = Columns::of(&heads).map_err(|problem| wrong(1, problem))?;
    let rows = reader.records().map(|record| {
        let record = record.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            wrong(line, error.to_string())
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = columns.row(&record, line);
        row.map_err(|problem| wrong(line, problem))
    });
    rows.collect()
}

/// Where a record has what.
struct Columns {
    layer: usize,
    seconds: usize,
    measured: Measured,
}

enum Measured {
    Bits([usize; 2]),
    Precision(usize),
}

impl Columns {
    fn of(heads: &StringRecord) -> Result<Self, String> {
        let column = |name: &str| heads.iter().position(|head| head == name);
        let needed = |name: &str| column(name).ok_or(format!("there is no column {name}"));
        let pair = (column("weight_bits"), column("activation_bits"));
        let measured = match (pair, column("precision")) {
            ((Some(weights), Some(activations)), _) => Measured::Bits([weights, activations]),
            (_, Some(precision)) => Measured::Precision(precision),
            _ => {
                return Err(
                    "there are no columns weight_bits and activation_bits, nor precision".into(),
                );
            }
        };
        Ok(Self {
            layer: needed("layer")?,
            seconds: needed("seconds_per_image")?,
            measured,
        })
    }

    fn row(&self, record: &StringRecord, line: u64) -> Result<LatencyRow, String> {
        let field = |column: usize| record.get(column).unwrap_or_default();
        let bits = |column: usize| {
            let text = field(column);
            let bits = text.parse().ok().filter(|bits| matches!(bits, 1..=16 | 32));
            bits.ok_or(format!("bits {text:?}: 1 to 16, or 32 for float"))
        };
        let [weight_bits, activation_bits] = match self.measured {
            Measured::Bits([weights, activations]) => [bits(weights)?, bits(activations)?],
            Measured::Precision(column) => match field(column) {
                "float32" => [32, 32],
                "int8" => [8, 8],
                other => return Err(format!("precision {other:?}: float32 or int8")),
            },
        };
        let time = field(self.seconds);
        let seconds = time.parse().ok().filter(|time| (0.0..1e6).contains(time));
        Ok(LatencyRow {
            layer: field(self.layer).to_owned(),
            weight_bits,
            activation_bits,
            seconds: seconds.ok_or(format!(
                "seconds_per_image = {time:?}: a number from 0 to 10^6"
            ))?,
            line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Vec<LatencyRow>, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layers.csv");
        std::fs::write(&path, text).unwrap();
        read_latencies(&path)
    }

    #[test]
    fn a_table_is_read_by_its_heads() {
        let ours = table(
            "model,precision,threads,layer,seconds_per_image\nnet,int8,2,fc,0.000002\nnet,float32,2,fc,5e-6\n",
        );
        let theirs = table(
            "seconds_per_image,layer,weight_bits,activation_bits\n0.000002,fc,8,8\n0.000005,fc,32,32\n",
        );
        let ours = ours.unwrap();
        assert_eq!(ours, theirs.unwrap());
        assert_eq!(
            (ours[1].weight_bits, ours[1].seconds, ours[1].line),
            (32, 5e-6, 3)
        );
    }

    #[test]
    fn what_is_no_measurement_is_refused_by_its_line() {
        for (text, says) in [
            ("layer,precision\nfc,int8\n", "no column seconds_per_image"),
            ("layer,seconds_per_image\nfc,1\n", "nor precision"),
            (
                "layer,precision,seconds_per_image\nfc,int8,-1\n",
                "line 2: seconds_per_image",
            ),
            (
                "layer,precision,seconds_per_image\nfc,int8,NaN\n",
                "line 2: seconds_per_image",
            ),
            (
                "layer,precision,seconds_per_image\nfc,bf16,1\n",
                "line 2: precision",
            ),
            ("layer,precision,seconds_per_image\nfc,int8\n", "line 2"),
            (
                "layer,weight_bits,activation_bits,seconds_per_image\nfc,17,8,1\n",
                "line 2: bits \"17\"",
            ),
        ] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
