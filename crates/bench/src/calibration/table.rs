//! Calibration statistics as the rows of a [`CalibrationTable`], and back.
//!
//! Both ways are exact: what comes back is equal to what went in, counts, ends and batches. A table may come from anywhere, so each site
//! is checked by the constructors of its statistics, and an error names the site.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use quant_core::{Histogram, Statistics};
use results::{BatchRow, BinRow, CalibrationTable, SiteRow, SourceRow};

/// The table of these sites, in their order, and of what they saw.
pub fn to_table<'a>(
    source: SourceRow,
    sites: impl IntoIterator<Item = (&'a str, &'a Statistics)>,
) -> CalibrationTable {
    let mut table = CalibrationTable {
        source,
        ..CalibrationTable::default()
    };
    for (site, statistics) in sites {
        let histogram = statistics.histogram();
        let (min, max) = statistics.range().unzip();
        table.sites.push(SiteRow {
            site: site.to_string(),
            n: histogram.count(),
            zeros: histogram.zeros(),
            min,
            max,
        });
        table.bins.extend(histogram.bins().map(|bin| BinRow {
            site: site.to_string(),
            bin: bin.index,
            exponent: histogram.exponent(),
            count: bin.count,
        }));
        let batches = statistics.batches().map(|(batch, (min, max))| BatchRow {
            site: site.to_string(),
            batch,
            min,
            max,
        });
        table.batches.extend(batches);
    }
    table
}

/// The statistics of each site, in the order of the table.
///
/// # Errors
/// The site, and what of it no values lead to.
pub fn from_table(table: &CalibrationTable) -> Result<Vec<(String, Statistics)>> {
    table.validate()?;
    let mut bins: HashMap<&str, Vec<&BinRow>> = HashMap::new();
    for row in &table.bins {
        bins.entry(&row.site).or_default().push(row);
    }
    let mut batches: HashMap<&str, Vec<&BatchRow>> = HashMap::new();
    for row in &table.batches {
        batches.entry(&row.site).or_default().push(row);
    }
    let rows = |site: &SiteRow| {
        let bins = bins.remove(site.site.as_str()).unwrap_or_default();
        let batches = batches.remove(site.site.as_str()).unwrap_or_default();
        let statistics = statistics(site, &bins, &batches)
            .with_context(|| format!("calibration of `{}`", site.site))?;
        Ok((site.site.clone(), statistics))
    };
    table.sites.iter().map(rows).collect()
}

fn statistics(site: &SiteRow, bins: &[&BinRow], batches: &[&BatchRow]) -> Result<Statistics> {
    let range = match (site.min, site.max) {
        (Some(min), Some(max)) => Some((min, max)),
        (None, None) => None,
        _ => anyhow::bail!("a minimum without a maximum, or the other way round"),
    };
    let exponent = bins
        .first()
        .map_or(Histogram::FINEST_EXPONENT, |row| row.exponent);
    let counts = bins.iter().map(|row| (row.bin, row.count));
    let histogram = Histogram::from_parts(exponent, site.zeros, range, counts)?;
    ensure!(
        histogram.count() == site.n,
        "n = {}, but zeros and bins hold {} values",
        site.n,
        histogram.count()
    );
    let ranges = batches.iter().map(|row| (row.batch, (row.min, row.max)));
    Ok(Statistics::from_parts(histogram, ranges)?)
}

#[cfg(test)]
mod tests {
    use quant_core::uniform;

    use super::*;

    fn sites() -> Vec<(String, Statistics)> {
        let relu = |seed, batch: u64| -> Vec<f32> {
            let x = (0..3000).map(|i| uniform(seed, i + 3000 * batch) - 0.5);
            x.map(|x| (x * x * x * 17.0).max(0.0)).collect()
        };
        let mut first = Statistics::new();
        let mut second = Statistics::new();
        for batch in [4, 0, 11] {
            first.add("conv1", batch, &relu(1, batch)).unwrap();
            second
                .add("fc", batch, &[-1e-45, batch as f32, f32::MIN, 1.0 / 3.0])
                .unwrap();
        }
        let mut dead = Statistics::new();
        dead.add("dead", 0, &[0.0; 8]).unwrap();
        let unseen = Statistics::new();
        [
            ("conv1", first),
            ("dead", dead),
            ("unseen", unseen),
            ("fc", second),
        ]
        .map(|(site, statistics)| (site.to_string(), statistics))
        .into()
    }

    fn table() -> CalibrationTable {
        let source = SourceRow::default();
        to_table(source, sites().iter().map(|(site, s)| (site.as_str(), s)))
    }

    #[test]
    fn statistics_come_back_from_disk_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        table().write(&path).unwrap();
        let read = CalibrationTable::read(&path).unwrap();
        assert_eq!(from_table(&read).unwrap(), sites());
    }

    #[test]
    fn a_table_in_any_order_of_rows_is_the_same() {
        let mut table = table();
        table.bins.reverse();
        table.batches.reverse();
        assert_eq!(from_table(&table).unwrap(), sites());
    }

    #[test]
    fn a_table_that_was_tampered_with_names_the_site_and_what_is_wrong() {
        let error = |change: fn(&mut CalibrationTable)| {
            let mut table = table();
            change(&mut table);
            format!("{:#}", from_table(&table).unwrap_err())
        };
        for (change, site, says) in [
            (
                (|t| t.sites[0].n += 1) as fn(&mut CalibrationTable),
                "conv1",
                "n = 9001",
            ),
            (|t| t.bins[3].count += 1, "conv1", "hold 9001"),
            (|t| t.bins[3].count = 0, "conv1", "count = 0 of bin"),
            (|t| t.bins[3].count = u64::MAX, "conv1", "2^53"),
            (|t| t.bins[0].bin = i32::MIN, "conv1", "bin = -2147483648"),
            (
                |t| t.sites[0].max = None,
                "conv1",
                "minimum without a maximum",
            ),
            (
                |t| t.sites[0].max = Some(f32::NAN),
                "conv1",
                "finite and in order",
            ),
            (|t| t.sites[1].min = Some(-1.0), "dead", "exponent"),
            (|t| t.sites[2].zeros = 5, "unseen", "minimum = nothing"),
            (|t| t.batches[0].max = 99.0, "conv1", "range of all batches"),
        ] {
            let message = error(change);
            assert!(
                message.contains(&format!("`{site}`")) && message.contains(says),
                "{message}"
            );
        }
    }
}
