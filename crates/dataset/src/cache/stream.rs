//! Items made in parallel, taken in order, with bounded memory.

use rayon::prelude::*;

/// Makes items `0..n` on all threads and hands them to `take` in order.
///
/// At most two windows of items exist at a time: while one is taken (written to disk), the next is made.
///
/// # Errors
/// The first error of `take`; nothing is taken after it.
pub(super) fn in_order<T: Send, E: Send>(
    n: usize,
    window: usize,
    make: &(dyn Fn(usize) -> T + Sync),
    mut take: impl FnMut(T) -> Result<(), E> + Send,
) -> Result<(), E> {
    let mut ready = Vec::new();
    let mut next = 0;
    while next < n || !ready.is_empty() {
        let range = next..(next + window).min(n);
        next = range.end;
        let (taken, made) = rayon::join(
            || ready.into_iter().try_for_each(&mut take),
            || range.into_par_iter().map(make).collect::<Vec<_>>(),
        );
        taken?;
        ready = made;
    }
    Ok(())
}

/// How many items of `bytes` each make a window: 32 MB, but enough for every thread to have a few.
pub(super) fn window(bytes: usize) -> usize {
    ((32 << 20) / bytes.max(1)).clamp(4 * rayon::current_num_threads(), 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn items_arrive_in_order_and_no_more_than_two_windows_are_alive() {
        let alive = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let mut seen = Vec::new();
        let make = |i| {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            i
        };
        let take = |i| -> Result<(), ()> {
            alive.fetch_sub(1, Ordering::SeqCst);
            seen.push(i);
            Ok(())
        };
        in_order(1003, 10, &make, take).unwrap();
        assert_eq!(seen, (0..1003).collect::<Vec<_>>());
        assert!(most.into_inner() <= 20);
    }

    #[test]
    fn an_error_ends_it() {
        let made = AtomicUsize::new(0);
        let make = |i| {
            made.fetch_add(1, Ordering::SeqCst);
            i
        };
        let result = in_order(
            1000,
            10,
            &make,
            |i| if i == 5 { Err("full") } else { Ok(()) },
        );
        assert_eq!(result, Err("full"));
        assert!(made.into_inner() <= 20);
    }

    #[test]
    fn nothing_to_make_is_nothing_taken() {
        assert_eq!(in_order(0, 10, &|i| i, |_| Err("taken")), Ok(()));
    }
}
