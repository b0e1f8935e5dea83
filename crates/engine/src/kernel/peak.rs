//! The processor's own float32 peak: multiply-adds on registers alone, nothing loaded, nothing stored.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::kernel::{Isa, float32};

/// Floating-point operations per second (a multiply-add is two) of `threads` threads at once, from the best of a few
/// runs that last about `time` together. The upper bound of what [`crate::Program`] can reach on the machine as it is.
///
/// # Errors
/// [`Error::Isa`].
pub fn peak(isa: Isa, threads: usize, time: Duration) -> Result<f64, Error> {
    let kernels = float32(isa.check()?);
    let rounds = |count: u64| {
        let start = Instant::now();
        // SAFETY: `check` has just made sure that the processor has the instruction set.
        black_box(unsafe { (kernels.peak)(black_box(count)) });
        start.elapsed()
    };
    const RUNS: u32 = 5;
    let mut count = 1 << 16;
    while rounds(count) < time / (2 * RUNS) {
        count *= 2;
    }
    let barrier = Barrier::new(threads);
    let measure = || {
        let mut best = Duration::MAX;
        for _ in 0..RUNS {
            barrier.wait();
            let start = Instant::now();
            rounds(count);
            barrier.wait();
            best = best.min(start.elapsed());
        }
        best
    };
    let slowest = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(measure)).collect();
        workers
            .into_iter()
            .filter_map(|worker| worker.join().ok())
            .max()
            .unwrap_or(Duration::MAX)
    });
    let operations = count * kernels.peak_operations * threads as u64;
    Ok(operations as f64 / slowest.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_available_instruction_set_has_a_peak() {
        for isa in Isa::available() {
            let peak = peak(isa, 1, Duration::from_millis(20)).unwrap();
            assert!((1e8..1e13).contains(&peak), "{isa}: {peak}");
        }
    }
}
