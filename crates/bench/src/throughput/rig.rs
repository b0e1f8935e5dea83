//! Our threads: one workspace each, whole groups of images each, as evaluation does it.
//!
//! A round is a fixed number of groups, taken by whichever thread is free; its time runs from the first start to the last
//! finish, so that a thread that is late counts, as it would for a user.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use engine::{Error, Program, Workspace};
use quant_core::uniform;

use super::subject::SEED;

/// A program and its threads' memory.
pub struct Rig<'a> {
    program: &'a Program,
    workers: Vec<Worker>,
    groups: usize,
}

/// One thread's memory.
pub(super) struct Worker {
    pub workspace: Workspace,
    pub images: Vec<f32>,
    pub results: Vec<f32>,
}

/// What one thread does.
type Work<'w, T> = &'w (dyn Fn(&mut Worker) -> Result<T, Error> + Sync);

impl<'a> Rig<'a> {
    /// Memory and random images for `threads` threads.
    pub fn new(program: &'a Program, threads: usize) -> Self {
        let worker = |index: usize| {
            let len = program.group() * program.input().len();
            let first = (index * len) as u64;
            Worker {
                workspace: program.workspace(),
                images: (0..len as u64)
                    .map(|i| 4.0 * uniform(SEED, first + i) - 2.0)
                    .collect(),
                results: vec![0.0; program.group() * program.output().len()],
            }
        };
        Self {
            program,
            workers: (0..threads).map(worker).collect(),
            groups: threads,
        }
    }

    /// The program.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Runs until processor and memory are at work, and from then on makes a round last about `time`.
    ///
    /// # Errors
    /// If a thread fails.
    pub fn warm_up(&mut self, time: Duration) -> Result<()> {
        let threads = self.threads();
        let mut rounds = 1;
        loop {
            self.groups = rounds * threads;
            let taken = self.run()?.as_secs_f64().max(1e-9);
            let wanted = time.as_secs_f64() / taken;
            if wanted <= 4.0 {
                // A whole number of groups for each thread: none has to wait long for the last.
                self.groups = (rounds as f64 * wanted).ceil().max(1.0) as usize * threads;
                return Ok(());
            }
            rounds *= 4;
        }
    }

    /// Images per second of one round.
    ///
    /// # Errors
    /// If a thread fails.
    pub fn round(&mut self) -> Result<f64> {
        let images = self.groups * self.program.group();
        Ok(images as f64 / self.run()?.as_secs_f64().max(1e-9))
    }

    /// How long [`Rig::groups`] groups take.
    fn run(&mut self) -> Result<Duration> {
        let (program, groups) = (self.program, self.groups);
        let next = AtomicUsize::new(0);
        let spans = self.together(&|worker| {
            let start = Instant::now();
            while next.fetch_add(1, Ordering::Relaxed) < groups {
                program.run(&mut worker.workspace, &worker.images, &mut worker.results)?;
            }
            Ok((start, Instant::now()))
        })?;
        let start = spans.iter().map(|span| span.0).min();
        let end = spans.iter().map(|span| span.1).max();
        match (start, end) {
            (Some(start), Some(end)) => Ok(end - start),
            _ => Err(anyhow!("no thread to run on")),
        }
    }

    /// What every thread makes of `work`. They start together, after a group that warms the caches.
    pub(super) fn together<T: Send>(&mut self, work: Work<'_, T>) -> Result<Vec<T>> {
        let program = self.program;
        let barrier = Barrier::new(self.workers.len());
        let barrier = &barrier;
        std::thread::scope(|scope| {
            let handles: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| {
                    scope.spawn(move || {
                        let images = &worker.images;
                        let warm = program.run(&mut worker.workspace, images, &mut worker.results);
                        // Before the error goes out: the others wait here.
                        barrier.wait();
                        warm?;
                        work(worker)
                    })
                })
                .collect();
            let results: Vec<_> = handles.into_iter().map(|handle| handle.join()).collect();
            results
                .into_iter()
                .map(|result| Ok(result.map_err(|_| anyhow!("a worker thread died"))??))
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use engine::Isa;

    use super::*;
    use crate::throughput::{Model, Precision, Subject};

    #[test]
    fn a_round_is_as_long_as_asked_and_every_thread_has_images_of_its_own() {
        let model = Model::parse("cifar-resnet20").unwrap();
        let subject = Subject::new(&model, Precision::Float32, Isa::best());
        let subject = subject.unwrap();
        let mut rig = Rig::new(&subject.program, 2);
        assert_ne!(rig.workers[0].images, rig.workers[1].images);
        rig.warm_up(Duration::from_millis(50)).unwrap();
        assert_eq!(rig.groups % 2, 0);
        let rate = rig.round().unwrap();
        assert!(rate > 1.0, "{rate}");
        // What they computed are logits, not what the vector was made with.
        assert!(
            rig.workers
                .iter()
                .all(|w| w.results.iter().all(|z| *z != 0.0))
        );
        assert!(rig.workers[0].results.iter().all(|z| z.is_finite()));
    }
}
