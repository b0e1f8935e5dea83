//! Images through whatever looks at them, batch by batch, on several threads: the one pool of everything that runs over a set.
//!
//! - Batches are the caller's, and each is looked at by one thread, as a whole.
//! - Threads take the next batch as they become free. What is made of batches comes back in the order of the batches, so it
//!   is the same for any number of threads. What a thread gathered on the way comes back beside it; which batches are in which
//!   thread's is left open, so only what does not depend on that may be made of it: counts, sums of whole numbers, statistics
//!   of a multiset.
//! - An error ends it: no further batch is begun, those in flight are finished. Of several the first batch's is
//!   returned; batches are begun in their order, so it is among them whatever the number of threads. A panic is such an error.
//! - A raised flag ends it in the same way, unless a batch failed too. All batches finished is finished, flag or not.
//! - Memory: pixels of one batch and the caller's own things for each thread, and what is made of all batches.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, scope};

use dataset::Dataset;

/// Why not all batches were looked at, apart from what a look itself says.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The caller's flag was raised.
    #[error("cancelled")]
    Cancelled,
    /// A look panicked; its message is on stderr.
    #[error("a worker died at images {} to {}", images.start, images.end.saturating_sub(1))]
    Died {
        /// The batch that it was looking at.
        images: Range<usize>,
    },
    /// The operating system refused a thread.
    #[error("there is no thread for a worker: {0}")]
    Thread(std::io::Error),
}

/// What was made of the images.
#[derive(Debug)]
pub struct Observed<T, W> {
    /// What each batch gave, in the order of the batches.
    pub batches: Vec<T>,
    /// What each thread worked with, in no order that means anything.
    pub workers: Vec<W>,
}

/// `images` cut from their start into runs of `most`, the last one shorter where they do not come out even.
pub fn cut(images: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = images.end;
    let starts = images.step_by(most.max(1));
    starts.map(move |start| start..end.min(start + most.max(1)))
}

/// `look` at the images of each of `batches`, on up to `threads` threads, each with a `worker` of its own. `look` is told which
/// images they are and has their pixels, `[n, c, height, width]`, normalised.
///
/// # Errors
/// The first that `look` or `worker` gives, and [`Interrupted`].
pub fn observe<W: Send, T: Send, E: From<Interrupted> + Send>(
    data: &Dataset,
    batches: &[Range<usize>],
    (threads, cancelled): (usize, &AtomicBool),
    worker: impl Fn() -> Result<W, E>,
    look: impl Fn(&mut W, Range<usize>, &[f32]) -> Result<T, E> + Sync,
) -> Result<Observed<T, W>, E> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    // Until there is no batch left, or it failed: at which batch and why.
    let work = |worker: &mut W, made: &mut Vec<(usize, T)>| -> Result<(), (usize, E)> {
        let mut pixels = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            if next.load(Ordering::Relaxed) < batches.len() && cancelled.load(Ordering::Relaxed) {
                return Err((usize::MAX, Interrupted::Cancelled.into()));
            }
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(images) = batches.get(index) else {
                break;
            };
            let seen = catch_unwind(AssertUnwindSafe(|| {
                pixels.resize(images.len() * data.image_len(), 0.0);
                data.write_batch(images.clone(), &mut pixels);
                look(worker, images.clone(), &pixels)
            }));
            let images = images.clone();
            let seen = seen.unwrap_or_else(|_| Err(Interrupted::Died { images }.into()));
            made.push((index, seen.map_err(|error| (index, error))?));
        }
        Ok(())
    };
    let run = |mut worker: W| {
        let mut made = Vec::new();
        let result = work(&mut worker, &mut made);
        if result.is_err() {
            failed.store(true, Ordering::Relaxed);
        }
        (worker, made, result.err())
    };
    let workers = (0..threads.max(1).min(batches.len())).map(|_| worker());
    let workers = workers.collect::<Result<Vec<W>, E>>()?;
    let (ended, refused) = scope(|scope| {
        let (mut threads, mut refused) = (Vec::new(), None);
        for worker in workers {
            let run = &run;
            match Builder::new().spawn_scoped(scope, move || run(worker)) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    refused = Some((usize::MAX, Interrupted::Thread(error).into()));
                    break;
                }
            }
        }
        let threads = threads.into_iter();
        let ended =
            threads.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (ended.collect::<Vec<_>>(), refused)
    });
    let (mut made, mut workers, mut errors) = (Vec::new(), Vec::new(), Vec::from_iter(refused));
    for (worker, of_batches, error) in ended {
        workers.push(worker);
        made.extend(of_batches);
        errors.extend(error);
    }
    if let Some((_, error)) = errors.into_iter().min_by_key(|&(index, _)| index) {
        return Err(error);
    }
    made.sort_unstable_by_key(|&(index, _)| index);
    Ok(Observed {
        batches: made.into_iter().map(|(_, made)| made).collect(),
        workers,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::testing::small_images;

    type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

    static RUNNING: AtomicBool = AtomicBool::new(false);

    fn images(n: usize) -> Dataset {
        small_images((0..n * 3072).map(|i| (i * i % 251) as u8).collect(), 10)
    }

    fn batches(data: &Dataset) -> Vec<Range<usize>> {
        cut(0..data.len(), 4).collect()
    }

    /// The line that an observation ends with whose look at a batch, given its first image, is `look`.
    fn error(threads: usize, look: impl Fn(usize) -> Result<()> + Sync) -> String {
        let data = images(40);
        let look = |(): &mut (), images: Range<usize>, _: &[f32]| look(images.start);
        let on = (threads, &RUNNING);
        let all: Result<_> = observe(&data, &batches(&data), on, || Ok(()), look);
        all.unwrap_err().to_string()
    }

    #[test]
    fn cuts_are_as_long_as_said_but_the_last_and_leave_nothing_out() {
        let all = |images, most| cut(images, most).collect::<Vec<_>>();
        assert_eq!(all(0..9, 4), [0..4, 4..8, 8..9]);
        assert_eq!(all(4..9, 4), [4..8, 8..9]);
        assert_eq!(all(3..5, 0), [3..4, 4..5]);
        assert!(all(7..7, 4).is_empty());
    }

    #[test]
    fn batches_come_back_in_their_order_with_their_pixels_for_any_number_of_threads() {
        let data = images(39);
        for threads in [0, 1, 2, 3, 8, 100] {
            // Later batches are ready earlier.
            let look = |(): &mut (), images: Range<usize>, pixels: &[f32]| -> Result<_> {
                std::thread::sleep(std::time::Duration::from_micros(40 - images.start as u64));
                Ok((images, pixels.to_vec()))
            };
            let on = (threads, &RUNNING);
            let all = observe(&data, &batches(&data), on, || Ok(()), look).unwrap();
            assert_eq!(all.workers.len(), threads.clamp(1, 10));
            assert_eq!(all.batches.len(), 10);
            for ((images, pixels), asked) in all.batches.iter().zip(batches(&data)) {
                assert_eq!(*images, asked, "{threads} threads");
                let mut own = vec![0.0; images.len() * data.image_len()];
                data.write_batch(images.clone(), &mut own);
                assert_eq!(*pixels, own, "{threads} threads");
            }
        }
    }

    #[test]
    fn every_batch_is_in_exactly_one_workers_own_things() {
        let data = images(39);
        let look = |seen: &mut Vec<usize>, images: Range<usize>, _: &[f32]| -> Result<()> {
            seen.extend(images);
            Ok(())
        };
        let all = observe(&data, &batches(&data), (3, &RUNNING), || Ok(vec![]), look).unwrap();
        let mut seen = all.workers.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..39).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failing_batch_is_the_error_even_where_a_later_one_fails_before_it() {
        for threads in [1, 2, 8] {
            let line = error(threads, |start| {
                if start == 12 {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                anyhow::ensure!(start < 12, "no image {start}");
                Ok(())
            });
            assert_eq!(line, "no image 12", "{threads} threads");
        }
    }

    #[test]
    fn no_batch_is_begun_after_an_error() {
        let begun = Mutex::new(Vec::new());
        let line = error(1, |start| {
            begun.lock().unwrap().push(start);
            anyhow::ensure!(start < 8, "no image {start}");
            Ok(())
        });
        assert_eq!(line, "no image 8");
        assert_eq!(*begun.lock().unwrap(), [0, 4, 8]);
    }

    #[test]
    fn a_panic_is_an_error_that_names_its_images() {
        for threads in [1, 2, 8] {
            let line = error(threads, |start| {
                assert_ne!(start, 16, "what a look dies of");
                Ok(())
            });
            assert_eq!(
                line, "a worker died at images 16 to 19",
                "{threads} threads"
            );
        }
    }

    #[test]
    fn a_flag_that_is_raised_ends_it_but_not_once_every_batch_is_looked_at() {
        let data = images(40);
        for (raised_at, finished) in [(8, false), (36, true)] {
            let (flag, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
            let look = |(): &mut (), images: Range<usize>, _: &[f32]| -> Result<()> {
                seen.fetch_add(1, Ordering::Relaxed);
                flag.fetch_or(images.start == raised_at, Ordering::Relaxed);
                Ok(())
            };
            let all = observe(&data, &batches(&data), (1, &flag), || Ok(()), look);
            assert_eq!(all.is_ok(), finished);
            assert_eq!(seen.into_inner(), raised_at / 4 + 1);
            if let Err(error) = all {
                assert_eq!(error.to_string(), "cancelled");
            }
        }
    }

    #[test]
    fn a_worker_that_cannot_be_made_is_the_error_and_nothing_is_looked_at() {
        let data = images(8);
        let worker = || -> Result<()> { anyhow::bail!("no device") };
        let look = |(): &mut (), _: Range<usize>, _: &[f32]| -> Result<()> { unreachable!() };
        let all = observe(&data, &batches(&data), (2, &RUNNING), worker, look);
        assert_eq!(all.unwrap_err().to_string(), "no device");
    }

    #[test]
    fn no_batches_need_no_worker() {
        let data = images(1);
        let worker = || -> Result<()> { unreachable!() };
        let look = |(): &mut (), _: Range<usize>, _: &[f32]| -> Result<()> { unreachable!() };
        let all = observe(&data, &[], (2, &RUNNING), worker, look).unwrap();
        assert!(all.batches.is_empty() && all.workers.is_empty());
    }
}
