//! The clock of the measurements: what an operation costs, where others use the processor too.
//!
//! Included by `#[path]`, as `data.rs` is.

use std::sync::LazyLock;
use std::time::Instant;

/// Seconds that this thread has run for. Linux tells; elsewhere, time that passes.
pub fn now() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let ran = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ran = ran.and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    ran.map_or_else(|| START.elapsed().as_secs_f64(), |ran| ran / 1e9)
}

/// The median of some rounds, in seconds; a round is long enough for a clock that ticks every 4 ms.
pub fn seconds(mut body: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..5)
        .map(|_| {
            let (start, mut count) = (now(), 0.0);
            while now() - start < 0.04 {
                body();
                count += 1.0;
            }
            (now() - start) / count
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}
