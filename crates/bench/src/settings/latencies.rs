//! What layers take, from a table: `layers.csv` of `throughput --out`, or one of another machine.
//!
//! Columns, in any order, others ignored: `layer`, `seconds_per_image`, and what was measured: `weight_bits` and `activation_bits` (32 for
//! float), or `precision` (`float32` for 32 and 32, `int8` for 8 and 8).

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use quantize::Latencies;
use sha2::{Digest, Sha256};

use crate::fetch::disk;

/// Reads the table.
///
/// # Errors
/// No such file; a column that is missing; a line that is no measurement, or the second of its layer and bits.
pub(super) fn read(path: &Path) -> Result<Latencies> {
    let within = || format!("allocate.latencies = {}", path.display());
    let mut reader = csv::Reader::from_path(path).with_context(within)?;
    let heads = reader.headers().with_context(within)?.clone();
    let column = |name: &str| heads.iter().position(|head| head == name);
    let needed = |name: &str| column(name).ok_or_else(|| anyhow!("there is no column {name}"));
    let columns = || -> Result<_> {
        let pair = (column("weight_bits"), column("activation_bits"));
        let bits = match (pair, column("precision")) {
            ((Some(weights), Some(activations)), _) => Measured::Bits([weights, activations]),
            (_, Some(precision)) => Measured::Precision(precision),
            _ => bail!("there are no columns weight_bits and activation_bits, nor precision"),
        };
        Ok((needed("layer")?, needed("seconds_per_image")?, bits))
    };
    let (layer, seconds, measured) = columns().with_context(within)?;
    let mut found = Latencies::default();
    for (index, record) in reader.records().enumerate() {
        let line = || format!("{}, line {}", within(), index + 2);
        let record = record.with_context(line)?;
        let field = |column: usize| record.get(column).unwrap_or_default();
        let [weights, activations] = measured.bits(&field).with_context(line)?;
        let time = field(seconds);
        let nanoseconds = (time.parse::<f64>().ok())
            .filter(|time| (0.0..1e6).contains(time))
            .ok_or_else(|| anyhow!("seconds_per_image = {time:?}: a number from 0 to 10^6"))
            .with_context(line)?;
        let nanoseconds = (nanoseconds * 1e9).round() as u64;
        if !found.insert(field(layer), weights, activations, nanoseconds) {
            bail!(
                "{}: layer {} with {weights} and {activations} bits a second time; give a table of one network, measured once",
                line(),
                field(layer)
            );
        }
    }
    Ok(found)
}

/// Where a line says what was measured.
enum Measured {
    Bits([usize; 2]),
    Precision(usize),
}

impl Measured {
    fn bits<'a>(&self, field: &dyn Fn(usize) -> &'a str) -> Result<[u32; 2]> {
        let bits = |column: usize| -> Result<u32> {
            let text = field(column);
            let bits = text.parse().ok().filter(|bits| matches!(bits, 1..=16 | 32));
            bits.ok_or_else(|| anyhow!("bits {text:?}: 1 to 16, or 32 for float"))
        };
        match self {
            Self::Bits([weights, activations]) => Ok([bits(*weights)?, bits(*activations)?]),
            Self::Precision(column) => match field(*column) {
                "float32" => Ok([32, 32]),
                "int8" => Ok([8, 8]),
                other => bail!("precision {other:?}: float32 or int8"),
            },
        }
    }
}

/// 8 hex digits that name what is in a table: equal for the same times in any order.
pub(super) fn digest(latencies: &Latencies) -> String {
    let mut hash = Sha256::new();
    for (layer, [weights, activations], time) in latencies.rows() {
        hash.update(format!("{layer},{weights},{activations},{time}\n"));
    }
    disk::hex(hash)[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<Latencies> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layers.csv");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn a_table_is_read_by_its_heads_and_named_by_what_is_in_it() {
        let ours = table(
            "model,precision,threads,layer,seconds_per_image\n\
             net,int8,2,fc,0.000002\nnet,float32,2,fc,5e-6\nnet,float32,2,conv,1e-5\n",
        );
        let theirs = table(
            "seconds_per_image,layer,weight_bits,activation_bits\n\
             0.00001,conv,32,32\n0.000005,fc,32,32\n0.000002,fc,8,8\n",
        );
        let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(ours.of("fc", 4, 8), Some(2_000));
        assert_eq!(ours.of("fc", 4, 32), Some(5_000));
        assert_eq!(ours.of("conv", 4, 4), Some(10_000));
        assert_eq!(digest(&ours), digest(&theirs));
        let other = table("layer,precision,seconds_per_image\nfc,int8,0.000003\n").unwrap();
        assert_ne!(digest(&ours), digest(&other));
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
            (
                "layer,precision,seconds_per_image\nfc,int8,1\nfc,int8,1\n",
                "line 3: layer fc with 8 and 8 bits a second time",
            ),
            (
                "layer,weight_bits,activation_bits,seconds_per_image\nfc,17,8,1\n",
                "line 2: bits \"17\"",
            ),
        ] {
            let error = format!("{:#}", table(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = format!("{:#}", read(Path::new("no/such.csv")).unwrap_err());
        assert!(
            error.contains("allocate.latencies = no/such.csv"),
            "{error}"
        );
    }
}
