//! A calibration in a folder: written once, read back instead of running the images again.
//!
//! What was gathered belongs to the weights that were run. Their hash is kept beside it, and a folder of other weights is
//! refused. Ranges are not kept but taken from the statistics again, so one folder serves every scheme; to the bit, since
//! statistics come back as they were.

use std::path::Path;

use anyhow::{Context, Result, bail};
use quantize::{SiteStatistics, Sites};
use results::{CalibrationTable, SourceRow};

use super::table::{from_table, to_table};
use crate::sources::{Model, TestSet};

/// What the sites of `model` saw of `images`, into a new folder.
///
/// # Errors
/// The folder exists or cannot be written.
pub fn save(
    folder: &Path,
    model: &Model,
    images: &TestSet,
    statistics: &SiteStatistics,
) -> Result<()> {
    let source = SourceRow {
        model: model.name.clone(),
        arch: model.checkpoint.architecture.clone(),
        weights_sha256: model.checkpoint.sha256.clone(),
        dataset: images.name.clone(),
        images: images.data.len() as u64,
        data_sha256: images.sha256.clone(),
        normalization: Some(images.data.normalization().to_string()),
    };
    let sites = Sites::new(model.checkpoint.network.topology());
    let seen = sites
        .names()
        .filter_map(|site| Some((site, statistics.get(site)?)));
    Ok(to_table(source, seen).write(folder)?)
}

/// What [`save`] wrote for `model`, and of which images.
///
/// # Errors
/// The folder is of other weights, its sites are not those of the model, or it was tampered with.
pub fn load(folder: &Path, model: &Model) -> Result<(SourceRow, SiteStatistics)> {
    let name = folder.display();
    let table = CalibrationTable::read(folder)?;
    let checkpoint = &model.checkpoint;
    let short = |hash: &str| hash.chars().take(8).collect::<String>();
    let source = &table.source;
    if source.weights_sha256 != checkpoint.sha256 {
        bail!(
            "{name}: a calibration of {} (weights {}), not of {} (weights {}); make one with --save-calibration",
            source.model.escape_default(),
            short(&source.weights_sha256).escape_default(),
            model.name,
            short(&checkpoint.sha256)
        );
    }
    let expected = Sites::new(checkpoint.network.topology());
    let expected: Vec<&str> = expected.names().collect();
    let found: Vec<&str> = table.sites.iter().map(|row| row.site.as_str()).collect();
    if found != expected {
        let differs = expected
            .iter()
            .zip(&found)
            .find(|(one, other)| one != other);
        let differs = differs.map_or_else(
            || format!("{} sites, not {}", found.len(), expected.len()),
            |(one, other)| format!("`{}` where `{one}` should be", other.escape_default()),
        );
        bail!(
            "{name}: not the activation sites of {} ({differs}); make one with --save-calibration",
            checkpoint.architecture.clone()
        );
    }
    let sites = from_table(&table).with_context(|| name.to_string())?;
    Ok((table.source, sites.into_iter().collect()))
}

#[cfg(all(test, feature = "burn"))]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::Device;
    use quant_core::{ActivationRange, ActivationScheme, Bits, CodeRange, Mapping, Rounding};
    use quantize::{ActivationQuantization, ShortcutPolicy};
    use resnet::{Arch, Checkpoint};

    use super::*;
    use crate::settings::Input;
    use crate::testing::small_images;

    fn model(arch: &str) -> Model {
        let arch = Arch::parse(arch).unwrap();
        let state = train::initial(&resnet::topology(&arch), &Device::flex()).unwrap();
        Model {
            name: "made up".into(),
            file: PathBuf::new(),
            dataset: None,
            input: Input::default(),
            checkpoint: Checkpoint {
                network: resnet::network(&arch, state).unwrap(),
                architecture: arch.name(),
                arch: Some(arch),
                sha256: "0123456789abcdef".into(),
                file_sha256: String::new(),
                folded: false,
                quantizers: quantize::StoredQuantizers::default(),
                assumptions: Vec::new(),
                ignored: Vec::new(),
                taken: Vec::new(),
            },
        }
    }

    fn seen(model: &Model) -> (TestSet, SiteStatistics) {
        let data = small_images((0..40 * 3072).map(|i| (i * i % 251) as u8).collect(), 10);
        let running = std::sync::atomic::AtomicBool::new(false);
        let network = &model.checkpoint.network;
        let statistics = super::super::collect(network, &data, 2, &running).unwrap();
        (TestSet::plain("noise".into(), data), statistics)
    }

    #[test]
    fn every_method_finds_the_same_ranges_to_the_bit() {
        let model = model("cifar-resnet20");
        let (images, statistics) = seen(&model);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        save(&path, &model, &images, &statistics).unwrap();
        let (source, read) = load(&path, &model).unwrap();
        assert_eq!((source.images, source.dataset.as_str()), (40, "noise"));
        assert_eq!(read, statistics);
        let sites = Sites::new(model.checkpoint.network.topology());
        for range in ["minmax", "moving_average", "percentile", "mse", "entropy"] {
            for shortcut in [ShortcutPolicy::Shared, ShortcutPolicy::Rescale] {
                let range: ActivationRange = range.parse().unwrap();
                let (bits, mapping) = (Bits::new(4).unwrap(), Mapping::Affine);
                let (codes, rounding) = (CodeRange::Narrow, Rounding::HalfEven);
                let how = ActivationQuantization {
                    scheme: ActivationScheme::new(bits, mapping, codes, range, rounding).unwrap(),
                    first_bits: None,
                    last_bits: None,
                    bits_of: Default::default(),
                    shortcut,
                };
                let [before, after] = [&statistics, &read].map(|s| sites.fit(s, &how).unwrap());
                assert_eq!(before.len(), after.len());
                for (site, code) in before {
                    assert_eq!(code.scale.to_bits(), after[&site].scale.to_bits(), "{site}");
                    assert_eq!(code, after[&site], "{site}");
                }
            }
        }
    }

    #[test]
    fn a_folder_of_other_weights_or_other_sites_is_refused_in_a_line() {
        let own = model("cifar-resnet20");
        let (images, statistics) = seen(&own);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("calibration");
        save(&path, &own, &images, &statistics).unwrap();
        let message = |path: &Path, model: &Model| {
            let message = format!("{:#}", load(path, model).unwrap_err());
            assert!(
                !message.contains('\n') && message.contains("--save-calibration"),
                "{message}"
            );
            message
        };
        let mut other = model("cifar-resnet20");
        other.checkpoint.sha256 = "fedcba9876543210".into();
        let weights = message(&path, &other);
        assert!(
            weights.contains("01234567") && weights.contains("fedcba98"),
            "{weights}"
        );
        // The hash says the same, and yet it is another network.
        let deeper = message(&path, &model("cifar-resnet32"));
        assert!(
            deeper.contains("`layer2.0.conv1` where `layer1.3.conv1`"),
            "{deeper}"
        );
        let mut table = CalibrationTable::read(&path).unwrap();
        table.bins.retain(|row| row.site != "linear");
        table.batches.retain(|row| row.site != "linear");
        assert_eq!(table.sites.pop().unwrap().site, "linear");
        let short = folder.path().join("short");
        table.write(&short).unwrap();
        let short = message(&short, &own);
        assert!(short.contains("30 sites, not 31"), "{short}");
        let none = load(&folder.path().join("none"), &own).unwrap_err();
        assert!(none.to_string().contains("source.csv"), "{none}");
    }
}
