//! A network over a whole image set: logits, or per image the predicted class, top-5 membership and loss.
//!
//! Batches are looked at as [`crate::observe`] has it, and image i is always computed in the same way (see
//! [`crate::executable`]), so the values do not depend on the number of threads. Memory does not grow with the number of
//! images, beyond the results.
//!
//! Per image, with logits z (f32) and label y:
//! - top-1 is the first class with the largest logit;
//! - the label is in the top 5 if fewer than 5 classes come before it, where equal logits stand in the order of their
//!   classes, as for top-1 (PyTorch's `topk` leaves the order of equal values open);
//! - loss = log(sum_j exp(z_j - max z)) - (z_y - max z), in f64.
//!
//! Logits that are not finite have no order and no loss: they end the evaluation with an error that names the first image
//! that has some, and the first layer, in execution order, whose output for it is not finite.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use dataset::Dataset;
use quantize::{LogitError, first_largest};

use crate::executable::{Executable, Worker};
use crate::observe::{Interrupted, cut, observe};

/// The top-1 class of an image whose logits hold a NaN, as [`outcome`] gives it; no label equals it, and no run has it.
pub const NO_CLASS: u16 = u16::MAX;

/// What the network made of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// The first class with the largest logit, or [`NO_CLASS`].
    pub top1: u16,
    /// Whether fewer than five classes come before the label, equal logits in the order of their classes.
    pub in_top5: bool,
    /// Cross-entropy in nats, in f64 from the f32 logits; NaN where a logit is NaN or the largest one is infinite.
    pub loss: f64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The caller's flag was raised.
    #[error("evaluation was cancelled")]
    Cancelled,
    /// A count that must be positive is zero.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// The set has labels that the network does not know.
    #[error(
        "image {image} has label {label}, but the network has {classes} classes; use a network trained for this image set"
    )]
    Label {
        /// Index of the image.
        image: usize,
        /// Its label.
        label: u16,
        /// Logits per image.
        classes: usize,
    },
    /// A network that makes numbers of no image: its weights or BatchNorm statistics overflow float32 on the way.
    #[error("image {id}: a logit is {value}; {}", whose(layer.as_deref()))]
    NotFinite {
        /// Index of the first such image.
        image: usize,
        /// What the set calls it.
        id: String,
        /// The first logit that is not finite.
        value: f32,
        /// The first layer whose output for that image is not finite.
        layer: Option<String>,
    },
    /// The operating system refused a thread, or a worker died (its message is on stderr).
    #[error("evaluation worker failed: {0}; try fewer --threads")]
    Worker(String),
}

impl From<Interrupted> for EvaluateError {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled => Self::Cancelled,
            died => Self::Worker(died.to_string()),
        }
    }
}

/// The end of a message about logits that are not finite.
fn whose(layer: Option<&str>) -> String {
    match layer {
        Some(layer) => format!(
            "{layer} is the first layer whose output is not finite: look at its weights and BatchNorm statistics"
        ),
        None => "every layer's output is finite when it is looked at alone".to_owned(),
    }
}

/// The network's logits, `[images, classes]` row-major. Parameters as in [`evaluate`].
///
/// # Errors
/// [`EvaluateError::Zero`], [`EvaluateError::NotFinite`], [`EvaluateError::Cancelled`], [`EvaluateError::Worker`].
pub fn logits(
    net: &Executable,
    data: &Dataset,
    threads: usize,
    progress: &(dyn Fn(usize) + Sync),
    cancelled: &AtomicBool,
) -> Result<Vec<f32>, EvaluateError> {
    let keep = |range: Range<usize>, logits: &[f32]| {
        progress(range.len());
        Ok(logits.to_vec())
    };
    Ok(batches(net, data, threads, cancelled, &keep)?.concat())
}

/// What the network makes of each image, in the set's order.
///
/// `threads` workers take a batch of images at a time; each finished batch tells `progress` its images and its hits;
/// raising `cancelled` stops at the end of the batches in flight.
///
/// # Errors
/// [`EvaluateError::Zero`], [`EvaluateError::Label`], [`EvaluateError::NotFinite`], [`EvaluateError::Cancelled`],
/// [`EvaluateError::Worker`].
pub fn evaluate(
    net: &Executable,
    data: &Dataset,
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancelled: &AtomicBool,
) -> Result<Vec<Outcome>, EvaluateError> {
    let score = |range: Range<usize>, logits: &[f32]| scored(data, range, logits, progress);
    Ok(batches(net, data, threads, cancelled, &score)?.concat())
}

/// [`evaluate`], and how its logits differ from `reference`, those of another network on the same images, `[images, classes]`.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_beside(
    net: &Executable,
    data: &Dataset,
    reference: &[f32],
    threads: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancelled: &AtomicBool,
) -> Result<(Vec<Outcome>, LogitError), EvaluateError> {
    let classes = net.classes();
    let score = |range: Range<usize>, logits: &[f32]| {
        let mut error = LogitError::default();
        let others = &reference[range.start * classes..range.end * classes];
        let pairs = others
            .chunks_exact(classes)
            .zip(logits.chunks_exact(classes));
        for ((other, logits), image) in pairs.zip(range.clone()) {
            error.add(other, logits, data.label(image));
        }
        Ok(vec![(scored(data, range, logits, progress)?, error)])
    };
    let mut outcomes = Vec::with_capacity(data.len());
    let mut all = LogitError::default();
    for (scores, error) in batches(net, data, threads, cancelled, &score)?.concat() {
        outcomes.extend(scores);
        all.merge(&error);
    }
    Ok((outcomes, all))
}

/// What is made of a batch's `logits`, told to `progress`.
fn scored(
    data: &Dataset,
    range: Range<usize>,
    logits: &[f32],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Outcome>, EvaluateError> {
    let classes = logits.len() / range.len().max(1);
    let each = range.clone().zip(logits.chunks_exact(classes.max(1)));
    let scores = each.map(|(image, logits)| {
        let label = data.label(image);
        outcome(logits, label).ok_or(EvaluateError::Label {
            image,
            label,
            classes,
        })
    });
    let scores = scores.collect::<Result<Vec<_>, _>>()?;
    let pairs = range.zip(&scores);
    let hits = pairs.filter(|(image, score)| score.top1 == data.label(*image));
    progress(scores.len(), hits.count());
    Ok(scores)
}

/// The three numbers of one image; `None` where the label has no logit.
pub fn outcome(logits: &[f32], label: u16) -> Option<Outcome> {
    let of_label = *logits.get(usize::from(label))?;
    if logits.iter().any(|z| z.is_nan()) {
        return Some(Outcome {
            top1: NO_CLASS,
            in_top5: false,
            loss: f64::NAN,
        });
    }
    let top1 = first_largest(logits);
    let largest = logits[top1];
    let before = logits
        .iter()
        .enumerate()
        .filter(|&(class, &z)| z > of_label || (z == of_label && class < usize::from(label)))
        .count();
    let max = f64::from(largest);
    let sum: f64 = logits.iter().map(|&z| (f64::from(z) - max).exp()).sum();
    Some(Outcome {
        top1: u16::try_from(top1).unwrap_or(NO_CLASS),
        in_top5: before < 5,
        loss: sum.ln() - (f64::from(of_label) - max),
    })
}

/// What is made of a batch: its images, their logits.
type Score<'a, T> = &'a (dyn Fn(Range<usize>, &[f32]) -> Result<Vec<T>, EvaluateError> + Sync);

/// What `score` makes of each batch, in batch order.
fn batches<T: Send>(
    net: &Executable,
    data: &Dataset,
    threads: usize,
    cancelled: &AtomicBool,
    score: Score<'_, T>,
) -> Result<Vec<Vec<T>>, EvaluateError> {
    if threads == 0 {
        return Err(EvaluateError::Zero("threads"));
    }
    let batches: Vec<_> = cut(0..data.len(), net.batch()).collect();
    let worker = || Ok((net.worker()?, Vec::new()));
    let run =
        |(worker, logits): &mut (Worker<'_>, Vec<f32>), images: Range<usize>, pixels: &[f32]| {
            logits.resize(images.len() * net.classes(), 0.0);
            worker.run(pixels, logits)?;
            check_finite(worker, data, images.start, pixels, logits)?;
            score(images, logits)
        };
    let all = observe(data, &batches, (threads, cancelled), worker, run)?;
    Ok(all.batches)
}

/// Fails for the first image of a batch, which begins with image `start`, that has a logit that is not finite.
fn check_finite(
    worker: &mut Worker<'_>,
    data: &Dataset,
    start: usize,
    pixels: &[f32],
    logits: &[f32],
) -> Result<(), EvaluateError> {
    let Some(place) = logits.iter().position(|z| !z.is_finite()) else {
        return Ok(());
    };
    let n = pixels.len() / data.image_len();
    let index = place / (logits.len() / n);
    let pixels = &pixels[index * data.image_len()..][..data.image_len()];
    Err(EvaluateError::NotFinite {
        image: start + index,
        id: data.id(start + index),
        value: logits[place],
        layer: worker.first_not_finite(pixels)?,
    })
}

#[cfg(all(test, feature = "burn"))]
mod tests {
    use burn::tensor::Device;
    use engine::Options;
    use network::StateDict;
    use resnet::Arch;

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::device::Target;
    use crate::testing::small_images;

    fn images(n: usize) -> Dataset {
        let pixels = (0..n * 3072).map(|i| (i * i % 251) as u8).collect();
        small_images(pixels, 10)
    }

    fn weights(classes: usize) -> (Arch, StateDict) {
        static RANDOM: Mutex<()> = Mutex::new(());
        let arch = Arch::parse("cifar-resnet20").unwrap().with_classes(classes);
        let device = Device::flex();
        // The generator belongs to the device, which the tests share.
        let _alone = RANDOM.lock().unwrap();
        device.seed(3);
        let state = train::initial(&resnet::topology(&arch), &device).unwrap();
        (arch, state)
    }

    fn net(target: &Target, classes: usize) -> Executable {
        let (arch, state) = weights(classes);
        let network = resnet::network(&arch, state).unwrap();
        Executable::new(target, network, [32, 32], Options::default()).unwrap()
    }

    static RUNNING: AtomicBool = AtomicBool::new(false);

    #[test]
    fn every_thread_count_gives_the_same_bits_in_the_same_order() {
        let data = images(71);
        let mut all = Vec::new();
        for target in [Target::Engine, Target::Burn(Device::flex())] {
            let net = net(&target, 10);
            let seen = AtomicUsize::new(0);
            let count = |n: usize| {
                seen.fetch_add(n, Ordering::Relaxed);
            };
            let run = |threads| {
                let logits = logits(&net, &data, threads, &count, &RUNNING).unwrap();
                logits.iter().map(|z| z.to_bits()).collect::<Vec<_>>()
            };
            let one = run(1);
            assert_eq!(one.len(), 710);
            for threads in [2, 3, 8] {
                assert_eq!(one, run(threads), "{target:?}, {threads} threads");
            }
            assert_eq!(seen.into_inner(), 4 * 71);
            all.push(one);
        }
        let largest = all[1].iter().map(|&z| f32::from_bits(z).abs());
        let largest = largest.fold(0.0, f32::max);
        for (a, b) in all[0].iter().zip(&all[1]) {
            let (a, b) = (f32::from_bits(*a), f32::from_bits(*b));
            assert!((a - b).abs() <= 1e-4 * largest, "engine {a}, flex {b}");
        }
    }

    #[test]
    fn outcomes_are_those_of_the_logits() {
        let net = net(&Target::Engine, 10);
        let data = images(9);
        let logits = logits(&net, &data, 1, &|_| (), &RUNNING).unwrap();
        let outcomes = evaluate(&net, &data, 2, &|_, _| (), &RUNNING).unwrap();
        assert_eq!(outcomes.len(), 9);
        for (i, found) in outcomes.into_iter().enumerate() {
            let expected = outcome(&logits[10 * i..10 * i + 10], data.label(i));
            assert_eq!(Some(found), expected);
        }
    }

    #[test]
    fn ties_and_nan_have_a_defined_outcome() {
        let tied = outcome(&[1.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0], 2).unwrap();
        assert_eq!((tied.top1, tied.in_top5), (1, true));
        let fifth = outcome(&[5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 4).unwrap();
        assert!(fifth.in_top5);
        let tied_behind = outcome(&[5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 5).unwrap();
        assert!(!tied_behind.in_top5);
        let constant = (0..10).filter(|&label| outcome(&[0.0; 10], label).unwrap().in_top5);
        assert_eq!(constant.count(), 5);
        let sixth = outcome(&[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 5).unwrap();
        assert!(!sixth.in_top5);
        let nan = outcome(&[f32::NAN, 1.0], 1).unwrap();
        assert_eq!((nan.top1, nan.in_top5), (NO_CLASS, false));
        assert!(nan.loss.is_nan());
        assert!(outcome(&[0.0, 1.0], 2).is_none());
    }

    #[test]
    fn loss_is_the_cross_entropy_and_does_not_overflow() {
        let uniform = outcome(&[7.0; 10], 3).unwrap();
        assert!((uniform.loss - 10f64.ln()).abs() < 1e-12);
        let far = outcome(&[1000.0, 0.0], 1).unwrap();
        assert_eq!(far.loss, 1000.0);
        let close = outcome(&[1.0, 2.0, 3.0], 2).unwrap();
        let expected = (1f64.exp() + 2f64.exp() + 3f64.exp()).ln() - 3.0;
        assert!((close.loss - expected).abs() < 1e-12);
    }

    #[test]
    fn cancelling_zero_threads_and_foreign_labels_are_errors() {
        let net = net(&Target::Engine, 5);
        let data = images(9);
        let run =
            |threads, cancelled: &AtomicBool| evaluate(&net, &data, threads, &|_, _| (), cancelled);
        assert!(matches!(
            run(1, &AtomicBool::new(true)),
            Err(EvaluateError::Cancelled)
        ));
        assert!(matches!(
            run(0, &RUNNING),
            Err(EvaluateError::Zero("threads"))
        ));
        match run(2, &RUNNING) {
            Err(EvaluateError::Label { label, classes, .. }) => {
                assert_eq!((label, classes), (5, 5));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn logits_that_are_not_finite_name_the_first_image_and_the_first_layer() {
        let (arch, mut state) = weights(10);
        // The first convolution's outputs are finite, what the next makes of them is not.
        let bn = state.get_mut("layer2.0.bn1.weight").unwrap();
        bn.data.fill(f32::MAX);
        let data = images(71);
        for target in [Target::Engine, Target::Burn(Device::flex())] {
            let network = resnet::network(&arch, state.clone()).unwrap();
            let net = Executable::new(&target, network, [32, 32], Options::default()).unwrap();
            for threads in [1, 2, 8] {
                let error = evaluate(&net, &data, threads, &|_, _| (), &RUNNING).unwrap_err();
                let EvaluateError::NotFinite { image, layer, .. } = &error else {
                    panic!("{error}");
                };
                assert_eq!((*image, layer.as_deref()), (0, Some("layer2.0.conv1")));
                let text = error.to_string();
                let says = text.starts_with(&format!("image {}: a logit is ", data.id(0)));
                assert!(says && text.contains("layer2.0.conv1"), "{text}");
                assert!(logits(&net, &data, threads, &|_| (), &RUNNING).is_err());
            }
        }
    }

    #[test]
    fn no_images_give_no_outcomes() {
        let net = net(&Target::Engine, 10);
        let data = images(1).subset(0);
        let none = evaluate(&net, &data, 2, &|_, _| (), &RUNNING).unwrap();
        assert!(none.is_empty());
    }
}
