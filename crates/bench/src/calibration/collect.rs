//! Runs calibration images through the float network and gathers what every activation site sees.
//!
//! Each thread keeps statistics of its own, merged in the end. What is gathered does not depend on who took which group (see
//! `quant_core`'s statistics), so the ranges are the same with any number of threads. Memory: one set of statistics for each
//! thread, whatever the number of images.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use dataset::Dataset;
use engine::{Options, Program, Workspace};
use network::Network;
use quantize::{Epilogue, SiteStatistics, Sites};

use crate::observe::{cut, observe};

/// Images in a batch, the unit of a moving average.
const BATCH: usize = 32;

/// What the sites of the float `network` see of `images`. `cancelled` ends it early, with an error.
///
/// # Errors
/// A site that saw NaN or infinity, by name; images too small for the network.
pub fn collect(
    network: &Network,
    images: &Dataset,
    threads: usize,
    cancelled: &AtomicBool,
) -> Result<SiteStatistics> {
    let size = [images.height(), images.width()];
    let graph = quantize::lower(network.clone(), size, Epilogue::Separate)?;
    let program = Program::new(graph, Options::default())?;
    let classes = network.topology().classes();
    let sites = Sites::new(network.topology()).sites;
    let site_of: Vec<Option<&str>> = program
        .nodes()
        .map(|node| {
            let site = sites.iter().find(|site| site.node == node.name);
            site.map(|site| site.name.as_str())
        })
        .collect();
    let group = program.group().min(BATCH);
    // Groups that do not reach over the end of a batch.
    let groups = cut(0..images.len(), BATCH).flat_map(|batch| cut(batch, group));
    let groups: Vec<_> = groups.collect();
    let worker = || Ok((SiteStatistics::new(), program.workspace(), Vec::new()));
    type Own = (SiteStatistics, Workspace, Vec<f32>);
    let look = |(seen, workspace, logits): &mut Own, images: Range<usize>, pixels: &[f32]| {
        let batch = images.start / BATCH;
        let mut failed = Ok(());
        let mut see = |site: &str, values: &[f32]| {
            if failed.is_ok() {
                let site_seen = seen.entry(site.to_owned()).or_default();
                failed = site_seen.add(site, batch as u64, values);
            }
        };
        see(engine::INPUT, pixels);
        logits.resize(images.len() * classes, 0.0);
        program.run_observed(workspace, pixels, logits, &mut |node| {
            if let Some(site) = site_of[node.node] {
                see(site, &node.to_planar());
            }
        })?;
        failed.context("calibration")
    };
    let gathered = observe(images, &groups, (threads, cancelled), worker, look)?;
    let mut all = SiteStatistics::new();
    for (seen, ..) in gathered.workers {
        for (site, statistics) in seen {
            all.entry(site).or_default().merge(&statistics);
        }
    }
    Ok(all)
}

#[cfg(all(test, feature = "burn"))]
mod tests {
    use super::*;
    use crate::testing::small_images;
    use burn::tensor::Device;
    use resnet::Arch;

    #[test]
    fn any_number_of_threads_sees_the_same() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let state = train::initial(&resnet::topology(&arch), &Device::flex()).unwrap();
        let pixels = (0..71 * 3072).map(|i| (i * i % 251) as u8).collect();
        let images = small_images(pixels, 10);
        let network = resnet::network(&arch, state).unwrap();
        let running = AtomicBool::new(false);
        let one = collect(&network, &images, 1, &running).unwrap();
        assert_eq!(one.len(), Sites::new(network.topology()).sites.len());
        assert_eq!(one["input"].histogram().count(), 71 * 3072);
        assert_eq!(one["input"].batches().len(), 3);
        for threads in [2, 3, 8] {
            assert_eq!(collect(&network, &images, threads, &running).unwrap(), one);
        }
    }

    #[test]
    fn a_site_that_sees_nan_is_named() {
        let arch = Arch::parse("cifar-resnet20").unwrap();
        let mut state = train::initial(&resnet::topology(&arch), &Device::flex()).unwrap();
        let weights = state.get_mut("layer1.0.conv1.weight").unwrap();
        weights.data.fill(f32::MAX);
        let images = small_images(vec![9; 4 * 3072], 10);
        let network = resnet::network(&arch, state).unwrap();
        let error = collect(&network, &images, 2, &AtomicBool::new(false)).unwrap_err();
        assert!(format!("{error:#}").contains("layer1.0.conv"), "{error:#}");
    }
}
