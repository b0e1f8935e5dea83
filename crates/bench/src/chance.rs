//! Whether a float network is any better than guessing: if not, its images or labels are most likely not what it was trained
//! with, which no error tells.
//!
//! ```text
//! p0     = 1 / outputs                            what guessing gets right
//! k      = min { k : P(X >= k) < 0.001 }          X binomial (n, p0): fewer hits than k are no better than guessing
//! judged : k <= n (p0 + (1 - p0) / 4)             with fewer images nothing could be said of an ordinary network
//! at chance : hits < k, or hits < n (p0 + (1 - p0) / 20)
//! ```
//!
//! The second bound is for many images, where a hit or two in a hundred more than by chance are significant, as between two
//! orders of classes that have some in common, and yet no network's.

/// P(X >= k) below this is no chance.
const SIGNIFICANCE: f64 = 1e-3;

/// A sentence about `hits` of `n` images of a network with `outputs` outputs, if that is what guessing would get.
pub fn warning(name: &str, hits: u64, n: u64, outputs: usize) -> Option<String> {
    if outputs < 2 || n == 0 {
        return None;
    }
    let guess = 1.0 / outputs as f64;
    let above = |part: f64| n as f64 * (guess + (1.0 - guess) * part);
    let significant = significant(n, guess)?;
    if significant as f64 > above(0.25) {
        return None;
    }
    let words = if hits < significant {
        "no better"
    } else if (hits as f64) < above(0.05) {
        "hardly better"
    } else {
        return None;
    };
    Some(format!(
        "{name} in float gets {hits} of {n} images right, {words} than guessing one of {outputs} classes: are images and labels \
         what it was trained with? see input.normalization, the order of the classes (labels.class_list, labels.offset) and \
         which network of its file is meant (model.key)"
    ))
}

/// The smallest number of hits that guessing hardly ever gets; `None` if all would not be enough.
fn significant(n: u64, guess: f64) -> Option<u64> {
    // ln P(X = k), from k = 0 upwards.
    let mut log = n as f64 * (1.0 - guess).ln();
    let mut below = 0.0;
    for k in 0..=n {
        if 1.0 - below < SIGNIFICANCE {
            return Some(k);
        }
        below += log.exp();
        log += ((n - k) as f64 / (k + 1) as f64 * guess / (1.0 - guess)).ln();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warns(hits: u64, n: u64, outputs: usize) -> bool {
        warning("net", hits, n, outputs).is_some()
    }

    #[test]
    fn the_bound_is_that_of_the_binomial_distribution() {
        // P(X >= 7 | 20, 0.1) = 0.00239, P(X >= 8) = 0.00042.
        assert_eq!(significant(20, 0.1), Some(8));
        assert_eq!(significant(1, 0.5), None);
        // Far beyond the mean of 50,000 draws: 5000 + 3.09 standard deviations of 67.1, and a little.
        let many = significant(50_000, 0.1).unwrap();
        assert!((5207..5212).contains(&many), "{many}");
    }

    #[test]
    fn a_network_at_chance_is_told_from_one_that_works() {
        assert!(warns(1000, 10_000, 10));
        assert!(warns(1030, 10_000, 10));
        assert!(warns(1300, 10_000, 10), "hardly better");
        assert!(!warns(2500, 10_000, 10));
        assert!(!warns(33, 60, 1000));
        assert!(warns(0, 60, 1000));
        assert!(warns(96, 1000, 10));
        assert!(!warns(180, 200, 2));
    }

    #[test]
    fn few_images_say_nothing() {
        assert!(!warns(1, 20, 10));
        assert!(!warns(0, 1, 1000));
        assert!(!warns(50, 100, 2));
        assert!(!warns(0, 0, 10));
        assert!(!warns(1, 1, 1));
    }

    #[test]
    fn the_sentence_names_what_to_look_at() {
        let text = warning("net", 1000, 10_000, 10).unwrap();
        for part in [
            "1000 of 10000",
            "input.normalization",
            "labels.offset",
            "labels.class_list",
            "model.key",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
