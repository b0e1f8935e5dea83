//! The parts of a batch on several threads, with results that do not depend on how many.
//!
//! Each worker has a rayon pool of its own, because a device splits its work over the pool it finds itself in. Threads that are
//! left over when there are fewer parts than threads are spread over these pools.

use std::ops::Range;

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// Threads for the parts of a batch.
#[derive(Debug)]
pub struct Workers {
    pools: Vec<ThreadPool>,
}

impl Workers {
    /// `threads` threads for up to `parts` parts.
    ///
    /// # Errors
    /// Where the operating system refuses a thread.
    pub fn new(parts: usize, threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let workers = threads.clamp(1, parts.max(1));
        let pools = (0..workers)
            .map(|worker| {
                let own = (threads.max(1) + worker) / workers;
                ThreadPoolBuilder::new().num_threads(own).build()
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { pools })
    }

    /// `one` of each of `count` parts, in their order; none where its thread panicked.
    pub fn each<T: Send>(&self, count: usize, one: impl Fn(usize) -> T + Sync) -> Vec<Option<T>> {
        let mut results = Vec::new();
        results.resize_with(count, || None);
        std::thread::scope(|scope| {
            let workers: Vec<_> = self
                .pools
                .iter()
                .enumerate()
                .map(|(worker, pool)| {
                    let mine = (worker..count).step_by(self.pools.len());
                    let one = &one;
                    scope.spawn(move || {
                        pool.install(|| mine.map(|k| (k, one(k))).collect::<Vec<_>>())
                    })
                })
                .collect();
            for worker in workers {
                for (k, result) in worker.join().unwrap_or_default() {
                    results[k] = Some(result);
                }
            }
        });
        results
    }
}

/// `images` cut into `shards` runs whose lengths differ by at most one; fewer where there are not enough images.
pub fn shards(images: usize, shards: usize) -> Vec<Range<usize>> {
    (0..shards)
        .map(|k| k * images / shards..(k + 1) * images / shards)
        .filter(|range| !range.is_empty())
        .collect()
}
