//! Runs calibration images through the float network and gathers what every activation site sees.
//!
//! Workers take the next group of images as they become free; each keeps statistics of its own, merged in the end. What is
//! gathered does not depend on who took which group (see `quant_core`'s statistics), so the ranges are the same with any
//! number of threads. Memory: one set of statistics for each worker, whatever the number of images.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use dataset::Dataset;
use engine::{Options, Program};
use network::Network;
use quantize::{Epilogue, SiteStatistics, Sites};

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
    // Groups that do not reach over the end of a batch.
    let group = program.group().min(BATCH);
    let per_batch = BATCH.div_ceil(group);
    let count = images.len().div_ceil(BATCH) * per_batch;
    let next = AtomicUsize::new(0);
    let work = || -> Result<SiteStatistics> {
        let mut seen = SiteStatistics::new();
        let mut workspace = program.workspace();
        let mut pixels = vec![0.0; group * images.image_len()];
        let mut results = vec![0.0; group * classes];
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(seen);
            }
            if cancelled.load(Ordering::Relaxed) {
                bail!("cancelled");
            }
            let batch = index / per_batch;
            let start = batch * BATCH + index % per_batch * group;
            let end = (start + group).min((batch + 1) * BATCH).min(images.len());
            if start >= end {
                continue;
            }
            let n = end - start;
            let pixels = &mut pixels[..n * images.image_len()];
            images.write_batch(start..end, pixels);
            let mut failed = Ok(());
            let mut see = |site: &str, values: &[f32]| {
                if failed.is_ok() {
                    let site_seen = seen.entry(site.to_owned()).or_default();
                    failed = site_seen.add(site, batch as u64, values);
                }
            };
            see(engine::INPUT, pixels);
            let results = &mut results[..n * classes];
            program.run_observed(&mut workspace, pixels, results, &mut |node| {
                if let Some(site) = site_of[node.node] {
                    see(site, &node.to_planar());
                }
            })?;
            failed.context("calibration")?;
        }
    };
    let mut all = SiteStatistics::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let seen = worker.join().map_err(|_| anyhow!("a worker died"))??;
            for (site, statistics) in seen {
                all.entry(site).or_default().merge(&statistics);
            }
        }
        Ok::<(), anyhow::Error>(())
    })?;
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
