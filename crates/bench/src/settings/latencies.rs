//! Times of layers for `allocate.cost = latency`: from the table that is given, and what names its content in a run's configuration.

use std::path::Path;

use anyhow::{Context, Result, bail};
use quantize::Latencies;
use sha2::{Digest, Sha256};

use crate::fetch::disk;

/// Reads the table.
///
/// # Errors
/// A table that cannot be read, or that has a layer with the same bits twice.
pub(super) fn read(path: &Path) -> Result<Latencies> {
    let within = || format!("allocate.latencies = {}", path.display());
    let rows = results::read_latencies(path).with_context(within)?;
    let mut found = Latencies::default();
    for row in rows {
        let nanoseconds = (row.seconds * 1e9).round() as u64;
        let bits = [row.weight_bits, row.activation_bits];
        if !found.insert(&row.layer, bits[0], bits[1], nanoseconds) {
            bail!(
                "{}, line {}: layer {} with {} and {} bits a second time; give a table of one network, measured once",
                within(),
                row.line,
                row.layer,
                bits[0],
                bits[1]
            );
        }
    }
    Ok(found)
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
        std::fs::write(&path, format!("layer,precision,seconds_per_image\n{text}")).unwrap();
        read(&path)
    }

    #[test]
    fn a_table_is_named_by_what_is_in_it_and_has_nothing_twice() {
        let ours = table("fc,int8,0.000002\nfc,float32,5e-6\nconv,float32,1e-5\n").unwrap();
        let same = table("conv,float32,0.00001\nfc,float32,0.000005\nfc,int8,2e-6\n").unwrap();
        assert_eq!(ours.of("fc", 4, 8), Some(2_000));
        assert_eq!(ours.of("fc", 4, 32), Some(5_000));
        assert_eq!(ours.of("conv", 4, 4), Some(10_000));
        assert_eq!(digest(&ours), digest(&same));
        let other = table("fc,int8,0.000003\n").unwrap();
        assert_ne!(digest(&ours), digest(&other));
        let twice = format!("{:#}", table("fc,int8,1\nfc,int8,1\n").unwrap_err());
        assert!(
            twice.contains("line 3: layer fc with 8 and 8 bits a second time"),
            "{twice}"
        );
        let error = format!("{:#}", read(Path::new("no/such.csv")).unwrap_err());
        assert!(
            error.contains("allocate.latencies = no/such.csv"),
            "{error}"
        );
    }
}
