//! Timers between the nodes of a program, in a pass of their own so that rounds are not slowed by them.

use std::time::{Duration, Instant};

use anyhow::Result;
use engine::Shape;

use super::rig::Rig;

/// One node while all threads work.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerTime {
    /// Its name.
    pub layer: String,
    /// What it makes of one image.
    pub shape: Shape,
    /// Operations for one image; 0 without weights.
    pub operations: u64,
    /// Its part of the time that an image takes, all threads together: a thread's time divided by their number.
    pub seconds: f64,
    /// Its part of the whole network's time, 0 to 1.
    pub share: f64,
}

impl LayerTime {
    /// Operations in 1e-9 seconds, all threads together; `None` without operations.
    pub fn gflops(&self) -> Option<f64> {
        (self.operations > 0 && self.seconds > 0.0)
            .then(|| self.operations as f64 / self.seconds / 1e9)
    }
}

/// Every node's time, in the order in which they run, from groups of images that last about `time` on every thread.
/// Reading the images belongs to the first node.
///
/// # Errors
/// If a thread fails.
pub fn layer_times(rig: &mut Rig<'_>, time: Duration) -> Result<Vec<LayerTime>> {
    let (program, threads) = (rig.program(), rig.threads());
    let sums = rig.together(&|worker| {
        let mut seconds = vec![0.0; program.nodes().len()];
        let mut images = 0;
        let start = Instant::now();
        while images == 0 || start.elapsed() < time {
            let mut last = Instant::now();
            program.run_observed(
                &mut worker.workspace,
                &worker.images,
                &mut worker.results,
                &mut |seen| {
                    let now = Instant::now();
                    seconds[seen.node] += (now - last).as_secs_f64();
                    last = now;
                },
            )?;
            images += program.group();
        }
        Ok((seconds, images))
    })?;
    let images: usize = sums.iter().map(|sum| sum.1).sum();
    let whole: f64 = sums.iter().flat_map(|sum| &sum.0).sum();
    let layers = program.nodes().enumerate().map(|(index, node)| {
        let seconds: f64 = sums.iter().map(|sum| sum.0[index]).sum();
        LayerTime {
            layer: node.name.to_owned(),
            shape: node.shape,
            operations: node.operations,
            seconds: seconds / (images * threads).max(1) as f64,
            share: if whole > 0.0 { seconds / whole } else { 0.0 },
        }
    });
    Ok(layers.collect())
}

#[cfg(test)]
mod tests {
    use engine::Isa;

    use super::*;
    use crate::throughput::{Model, Precision, Subject};

    #[test]
    fn shares_add_up_to_one_and_layers_stand_as_they_run() {
        let model = Model::parse("cifar-resnet20").unwrap();
        let subject = Subject::new(&model, Precision::Float32, Isa::best());
        let subject = subject.unwrap();
        let mut rig = Rig::new(&subject.program, 2);
        let layers = layer_times(&mut rig, Duration::from_millis(20)).unwrap();
        let names: Vec<_> = layers.iter().map(|layer| layer.layer.as_str()).collect();
        let expected: Vec<_> = subject.program.nodes().map(|node| node.name).collect();
        assert_eq!(names, expected);
        let sum: f64 = layers.iter().map(|layer| layer.share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        for layer in &layers {
            assert!(layer.seconds > 0.0, "{}", layer.layer);
            assert_eq!(layer.gflops().is_some(), layer.operations > 0);
        }
    }
}
