//! A network over a whole image set: logits, or per image the predicted class, top-5 membership and loss.
//!
//! Image i is always part of batch `i / batch`, and a batch is always computed by one thread, so the values depend on
//! the batch size alone and not on how many threads there are or which of them took which batch. For that, every
//! worker runs inside a rayon pool of its own with one thread: burn's flex device splits its work over the pool that
//! it finds itself in. Memory: one batch's activations per thread.
//!
//! Per image, with logits z (f32) and label y:
//! - top-1 is the first class with the largest logit;
//! - the label is in the top 5 if fewer than 5 classes come before it, where equal logits stand in the order of their
//!   classes, as for top-1 (PyTorch's `topk` leaves the order of equal values open);
//! - loss = log(sum_j exp(z_j - max z)) - (z_y - max z), in f64.
//!
//! A NaN among the logits has no order: such an image gets top-1 [`NO_CLASS`], is not in the top 5, and its loss is NaN.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use dataset::Dataset;
use rayon::ThreadPoolBuilder;
use resnet::ResNet;

/// The top-1 class of an image whose logits hold a NaN; no label equals it.
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
    /// The operating system refused a thread, or a worker died (its message is on stderr).
    #[error("evaluation worker failed: {0}; try fewer --threads or a smaller batch")]
    Worker(String),
}

/// The network's logits, `[images, classes]` row-major. Parameters as in [`evaluate`].
///
/// # Errors
/// [`EvaluateError::Zero`], [`EvaluateError::Cancelled`], [`EvaluateError::Worker`].
pub fn logits(
    net: &ResNet,
    data: &Dataset,
    device: &Device,
    threads: usize,
    batch: usize,
    progress: &(dyn Fn(usize) + Sync),
    cancelled: &AtomicBool,
) -> Result<Vec<f32>, EvaluateError> {
    let keep = |_: Range<usize>, logits: Vec<f32>, _: usize| Ok(logits);
    let work = Work {
        data,
        device,
        progress,
        cancelled,
    };
    Ok(work.batches(net, threads, batch, &keep)?.concat())
}

/// What the network makes of each image, in the set's order.
///
/// `net` lives on `device`, a device without autodiff (on an autodiff device BatchNorm would train). `threads` workers
/// take batches of `batch` images; each finished batch tells `progress` its images and its hits; raising
/// `cancelled` stops at the end of the batches in flight.
///
/// # Errors
/// [`EvaluateError::Zero`], [`EvaluateError::Label`], [`EvaluateError::Cancelled`], [`EvaluateError::Worker`].
pub fn evaluate(
    net: &ResNet,
    data: &Dataset,
    device: &Device,
    threads: usize,
    batch: usize,
    progress: &(dyn Fn(usize, usize) + Sync),
    cancelled: &AtomicBool,
) -> Result<Vec<Outcome>, EvaluateError> {
    let score = |range: Range<usize>, logits: Vec<f32>, classes: usize| {
        let scores = range
            .clone()
            .zip(logits.chunks_exact(classes))
            .map(|(image, logits)| {
                let label = data.label(image);
                outcome(logits, label).ok_or(EvaluateError::Label {
                    image,
                    label,
                    classes,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let hits = range
            .zip(&scores)
            .filter(|(image, score)| score.top1 == data.label(*image))
            .count();
        progress(scores.len(), hits);
        Ok(scores)
    };
    let work = Work {
        data,
        device,
        progress: &|_| {},
        cancelled,
    };
    Ok(work.batches(net, threads, batch, &score)?.concat())
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
    let (mut top1, mut largest) = (0, f32::NEG_INFINITY);
    for (class, &z) in logits.iter().enumerate() {
        if z > largest {
            (top1, largest) = (class, z);
        }
    }
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

struct Work<'a> {
    data: &'a Dataset,
    device: &'a Device,
    progress: &'a (dyn Fn(usize) + Sync),
    cancelled: &'a AtomicBool,
}

type Score<'a, T> =
    &'a (dyn Fn(Range<usize>, Vec<f32>, usize) -> Result<Vec<T>, EvaluateError> + Sync);

impl Work<'_> {
    /// What `score` makes of each batch (image range, logits, classes), in batch order.
    fn batches<T: Send>(
        &self,
        net: &ResNet,
        threads: usize,
        batch: usize,
        score: Score<'_, T>,
    ) -> Result<Vec<Vec<T>>, EvaluateError> {
        for (name, count) in [("threads", threads), ("batch", batch)] {
            if count == 0 {
                return Err(EvaluateError::Zero(name));
            }
        }
        let images = self.data.len();
        let count = images.div_ceil(batch);
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let done = Mutex::new(Vec::with_capacity(count));
        // A module is Send but not Sync: each worker gets a clone, which shares the weights.
        let worker = |net: ResNet| -> Result<(), EvaluateError> {
            while !failed.load(Ordering::Relaxed) {
                if self.cancelled.load(Ordering::Relaxed) {
                    return Err(EvaluateError::Cancelled);
                }
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                let range = index * batch..images.min((index + 1) * batch);
                let finished = range.len();
                let (logits, classes) = self.forward(&net, range.clone())?;
                let scores = score(range, logits, classes)?;
                done.lock()
                    .map_err(|_| EvaluateError::Worker("another worker died".into()))?
                    .push((index, scores));
                (self.progress)(finished);
            }
            Ok(())
        };
        let run = |net: ResNet| -> Result<(), EvaluateError> {
            let pool = ThreadPoolBuilder::new()
                .num_threads(1)
                .build()
                .map_err(|e| EvaluateError::Worker(e.to_string()))?;
            let result = pool.install(|| worker(net));
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            result
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.min(count))
                .map(|_| {
                    let net = net.clone();
                    let run = &run;
                    scope.spawn(move || run(net))
                })
                .collect();
            let results: Vec<_> = workers.into_iter().map(|w| w.join()).collect();
            results.into_iter().try_for_each(|result| match result {
                Ok(result) => result,
                Err(_) => Err(EvaluateError::Worker("it panicked".into())),
            })
        })?;
        let mut done = done
            .into_inner()
            .map_err(|_| EvaluateError::Worker("a worker died".into()))?;
        done.sort_unstable_by_key(|&(index, _)| index);
        Ok(done.into_iter().map(|(_, scores)| scores).collect())
    }

    fn forward(
        &self,
        net: &ResNet,
        range: Range<usize>,
    ) -> Result<(Vec<f32>, usize), EvaluateError> {
        let shape = [range.len(), 3, self.data.height(), self.data.width()];
        let mut values = vec![0.0; range.len() * self.data.image_len()];
        self.data.write_batch(range, &mut values);
        let images = Tensor::<4>::from_data(TensorData::new(values, shape), self.device);
        let logits = net.forward(images);
        let [_, classes] = logits.dims();
        let logits = logits
            .try_into_data()
            .map_err(|e| EvaluateError::Worker(format!("{e:?}")))?
            .convert::<f32>()
            .try_to_vec::<f32>()
            .map_err(|e| EvaluateError::Worker(format!("{e:?}")))?;
        Ok((logits, classes))
    }
}

#[cfg(test)]
mod tests {
    use resnet::Arch;

    use super::*;
    use crate::testing::small_images;

    fn images(n: usize) -> Dataset {
        let pixels = (0..n * 3072).map(|i| (i * i % 251) as u8).collect();
        small_images(pixels, 10)
    }

    fn net(classes: usize) -> (ResNet, Device) {
        let device = Device::flex();
        let arch = Arch::parse("cifar-resnet20").unwrap().with_classes(classes);
        (ResNet::init(&arch, &device), device)
    }

    static RUNNING: AtomicBool = AtomicBool::new(false);

    #[test]
    fn every_thread_count_gives_the_same_bits_in_the_same_order() {
        let (net, device) = net(10);
        let data = images(23);
        let seen = AtomicUsize::new(0);
        let count = |n: usize| {
            seen.fetch_add(n, Ordering::Relaxed);
        };
        let run = |threads| {
            let logits = logits(&net, &data, &device, threads, 4, &count, &RUNNING).unwrap();
            logits.iter().map(|z| z.to_bits()).collect::<Vec<_>>()
        };
        let one = run(1);
        assert_eq!(one.len(), 230);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
        assert_eq!(seen.into_inner(), 3 * 23);

        let mut all = vec![0.0; 23 * 3072];
        data.write_batch(0..23, &mut all);
        let all = Tensor::<4>::from_data(TensorData::new(all, [23, 3, 32, 32]), &device);
        let whole = net.forward(all).into_data().try_to_vec::<f32>().unwrap();
        for (a, b) in one.iter().zip(&whole) {
            let a = f32::from_bits(*a);
            assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    #[test]
    fn outcomes_are_those_of_the_logits() {
        let (net, device) = net(10);
        let data = images(9);
        let logits = logits(&net, &data, &device, 1, 4, &|_| (), &RUNNING).unwrap();
        let outcomes = evaluate(&net, &data, &device, 2, 4, &|_, _| (), &RUNNING).unwrap();
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
    fn cancelling_zero_counts_and_foreign_labels_are_errors() {
        let (net, device) = net(5);
        let data = images(9);
        let run = |threads, batch, cancelled: &AtomicBool| {
            evaluate(&net, &data, &device, threads, batch, &|_, _| (), cancelled)
        };
        assert!(matches!(
            run(1, 4, &AtomicBool::new(true)),
            Err(EvaluateError::Cancelled)
        ));
        assert!(matches!(
            run(0, 4, &RUNNING),
            Err(EvaluateError::Zero("threads"))
        ));
        assert!(matches!(
            run(1, 0, &RUNNING),
            Err(EvaluateError::Zero("batch"))
        ));
        match run(2, 9, &RUNNING) {
            Err(EvaluateError::Label { label, classes, .. }) => {
                assert_eq!((label, classes), (5, 5));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn no_images_give_no_outcomes() {
        let (net, device) = net(10);
        let data = images(1).subset(0);
        let none = evaluate(&net, &data, &device, 2, 4, &|_, _| (), &RUNNING).unwrap();
        assert!(none.is_empty());
    }
}
