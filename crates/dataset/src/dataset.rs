//! The common form of every image set: 8-bit RGB images of one size, labels, and a hash of what is in them.
//!
//! The hash is sha256 over the preprocessing id, the image count, height and width, then for every image the sha256
//! of its pixels and its label (integers as 8 little-endian bytes). The pixels are hashed once, when the set is
//! opened (a cache stores the digests), so the hash of a subset reads no pixels.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::normalization::{Normalization, Table};

/// Where the pixels live: a `Vec<u8>`, a memory map, anything that is one run of bytes and can be shared by threads.
pub type Pixels = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Which images [`Dataset::subset`] takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The first n: right where the order has nothing to do with the class.
    First,
    /// n evenly spaced ones, image k being number k * len / n: right where images are sorted by class.
    EvenlySpaced,
}

/// What is true of a whole set.
#[derive(Clone, Debug)]
pub struct Source {
    /// For people: `cifar10 test`, `synthetic`, the name of a folder.
    pub name: String,
    /// Names every step between the source files and the pixels; part of the content hash.
    pub preprocessing: String,
    /// Class names by label.
    pub classes: Vec<String>,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// What the networks for this set were trained with.
    pub normalization: Normalization,
    /// How a subset is drawn.
    pub sampling: Sampling,
}

/// One image of a set.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where its `height * width * 3` bytes start in the [`Pixels`].
    pub offset: usize,
    /// Index of its class.
    pub label: u16,
    /// sha256 of its pixels, if already known.
    pub digest: Option<[u8; 32]>,
    /// Path relative to the set's root, with `/`; `None`: its index in the set.
    pub id: Option<String>,
}

/// An image set in memory (or mapped into it). Cloning and taking subsets share the pixels.
#[derive(Clone)]
pub struct Dataset {
    source: Arc<Source>,
    table: Arc<Table>,
    pixels: Pixels,
    images: Vec<Image>,
    unreadable: Arc<[(String, String)]>,
    classes_from: Option<Arc<str>>,
}

#[derive(Clone)]
struct Image {
    offset: usize,
    label: u16,
    digest: [u8; 32],
    id: Id,
}

#[derive(Clone)]
enum Id {
    Index(usize),
    Path(Arc<str>),
}

impl Dataset {
    /// A set of the given images, in this order; digests that are missing are computed here, in parallel.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if the image size is zero, an image reaches past the pixels, or a label has no class.
    pub fn new(source: Source, pixels: Pixels, records: Vec<Record>) -> Result<Dataset, Error> {
        let bytes = source.height * source.width * 3;
        let found = (*pixels).as_ref().len();
        let fail = |detail: String| {
            Err(Error::Inconsistent {
                name: source.name.clone(),
                detail,
            })
        };
        if bytes == 0 {
            return fail(format!(
                "images of {} x {} pixels",
                source.width, source.height
            ));
        }
        for (i, record) in records.iter().enumerate() {
            if record
                .offset
                .checked_add(bytes)
                .is_none_or(|end| end > found)
            {
                let at = record.offset;
                return fail(format!(
                    "image {i} needs {bytes} bytes from {at}, but there are {found}"
                ));
            }
            if usize::from(record.label) >= source.classes.len() {
                let classes = source.classes.len();
                return fail(format!(
                    "image {i} has label {}, but there are {classes} classes",
                    record.label
                ));
            }
        }
        Ok(Dataset::assemble(source, pixels, records))
    }

    /// [`Dataset::new`] where the caller has built offsets and labels so that they fit.
    pub(crate) fn assemble(source: Source, pixels: Pixels, records: Vec<Record>) -> Dataset {
        let bytes = source.height * source.width * 3;
        let all = (*pixels).as_ref();
        let images = records
            .into_par_iter()
            .enumerate()
            .map(|(i, record)| Image {
                offset: record.offset,
                label: record.label,
                digest: record.digest.unwrap_or_else(|| {
                    Sha256::digest(&all[record.offset..record.offset + bytes]).into()
                }),
                id: record.id.map_or(Id::Index(i), |path| Id::Path(path.into())),
            })
            .collect();
        let table = Arc::new(Table::new(source.normalization));
        Dataset {
            source: Arc::new(source),
            table,
            pixels,
            images,
            unreadable: Arc::new([]),
            classes_from: None,
        }
    }

    /// The same set, with the files that were skipped because they could not be decoded: (path, reason).
    pub fn with_unreadable(mut self, unreadable: Vec<(String, String)>) -> Dataset {
        self.unreadable = unreadable.into();
        self
    }

    /// The same set, with the rule by which its labels were told, where no file says it.
    pub fn with_classes_from(mut self, rule: &str) -> Dataset {
        self.classes_from = Some(rule.into());
        self
    }

    /// The same images for a network that was trained with other statistics. That is a step of preprocessing like others: the
    /// content hash is another one, unless the statistics are those that the set has anyway.
    pub fn with_normalization(mut self, normalization: Normalization) -> Dataset {
        if normalization == self.normalization() {
            return self;
        }
        let preprocessing = format!("{}; normalization {normalization}", self.preprocessing());
        let source = Source {
            normalization,
            preprocessing,
            ..(*self.source).clone()
        };
        self.table = Arc::new(Table::new(normalization));
        self.source = Arc::new(source);
        self
    }

    /// The same images for a network with `outputs` outputs, of which that of class k is `k + offset`.
    ///
    /// # Errors
    /// [`Error::LabelOffset`] if that is no output for some image.
    pub fn with_label_offset(mut self, offset: i32, outputs: usize) -> Result<Dataset, Error> {
        let shifted = |label: u16| {
            let shifted = usize::try_from(i64::from(label) + i64::from(offset)).ok();
            let shifted = shifted.filter(|&output| output < outputs);
            shifted.and_then(|output| u16::try_from(output).ok())
        };
        for i in 0..self.len() {
            let label = self.images[i].label;
            self.images[i].label = shifted(label).ok_or_else(|| Error::LabelOffset {
                name: self.name().to_owned(),
                image: self.id(i),
                label,
                offset,
                outputs,
            })?;
        }
        let mut classes: Vec<String> = (0..outputs).map(|k| format!("output {k}")).collect();
        for (label, name) in (0..=u16::MAX).zip(self.classes()) {
            if let Some(output) = shifted(label) {
                classes[usize::from(output)].clone_from(name);
            }
        }
        self.source = Arc::new(Source {
            classes,
            ..(*self.source).clone()
        });
        Ok(self)
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether there is no image at all.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// For people.
    pub fn name(&self) -> &str {
        &self.source.name
    }

    /// What was done to the source files, as it enters the content hash.
    pub fn preprocessing(&self) -> &str {
        &self.source.preprocessing
    }

    /// Class names by label; there may be classes without an image.
    pub fn classes(&self) -> &[String] {
        &self.source.classes
    }

    /// How labels were told, for people, where no file says which folder is which class.
    pub fn classes_from(&self) -> Option<&str> {
        self.classes_from.as_deref()
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.source.height
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.source.width
    }

    /// The statistics that [`Dataset::write_batch`] applies.
    pub fn normalization(&self) -> Normalization {
        self.source.normalization
    }

    /// RGB, interleaved: `[height, width, 3]`. Panics if there is no image `i`.
    pub fn image(&self, i: usize) -> &[u8] {
        let offset = self.images[i].offset;
        &(*self.pixels).as_ref()[offset..offset + self.image_len()]
    }

    /// The index of the image's class. Panics if there is no image `i`.
    pub fn label(&self, i: usize) -> u16 {
        self.images[i].label
    }

    /// Names the image in result files: path relative to the set's root with `/`, or index in the whole set.
    /// Panics if there is no image `i`.
    pub fn id(&self, i: usize) -> String {
        match &self.images[i].id {
            Id::Index(index) => index.to_string(),
            Id::Path(path) => path.to_string(),
        }
    }

    /// Files that were skipped because they could not be decoded: (path, reason).
    pub fn unreadable(&self) -> &[(String, String)] {
        &self.unreadable
    }

    /// Values in one image: height * width * 3.
    pub fn image_len(&self) -> usize {
        self.height() * self.width() * 3
    }

    /// sha256 of the content, 64 hex digits; see the module's header for what is hashed.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.preprocessing());
        for n in [self.len(), self.height(), self.width()] {
            hash.update((n as u64).to_le_bytes());
        }
        for image in &self.images {
            hash.update(image.digest);
            hash.update(u64::from(image.label).to_le_bytes());
        }
        hash.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The images at `indices`, in that order. Panics where one is out of range.
    pub fn select(&self, indices: &[usize]) -> Dataset {
        Dataset {
            images: indices.iter().map(|&i| self.images[i].clone()).collect(),
            ..self.clone()
        }
    }

    /// The first image of this set whose pixels are also those of an image of `other`: its index here and there.
    pub fn overlap(&self, other: &Dataset) -> Option<(usize, usize)> {
        let theirs: HashMap<[u8; 32], usize> = other
            .images
            .iter()
            .enumerate()
            .map(|(i, image)| (image.digest, i))
            .collect();
        let mut own = self.images.iter().enumerate();
        own.find_map(|(i, image)| Some((i, *theirs.get(&image.digest)?)))
    }

    /// `n` of the images (all, if there are fewer), chosen as the set's [`Sampling`] says; shares the pixels.
    pub fn subset(&self, n: usize) -> Dataset {
        let n = n.min(self.len());
        let images = match self.source.sampling {
            Sampling::First => self.images[..n].to_vec(),
            Sampling::EvenlySpaced => (0..n)
                .map(|k| self.images[k * self.len() / n].clone())
                .collect(),
        };
        Dataset {
            images,
            ..self.clone()
        }
    }

    /// Images `range`, normalised, planar: `[n, 3, height, width]`.
    ///
    /// Panics if `range` reaches past the set or `out` does not hold exactly `n * image_len()` values.
    pub fn write_batch(&self, range: Range<usize>, out: &mut [f32]) {
        assert_eq!(
            out.len(),
            range.len() * self.image_len(),
            "one value per pixel and channel of every image"
        );
        for (i, out) in range.zip(out.chunks_exact_mut(self.image_len())) {
            self.write_image(i, out);
        }
    }

    /// Image `i`, normalised, planar: `[3, height, width]`. For batches in another order than the set's.
    ///
    /// Panics if there is no image `i` or `out` does not hold exactly `image_len()` values.
    pub fn write_image(&self, i: usize, out: &mut [f32]) {
        assert_eq!(
            out.len(),
            self.image_len(),
            "one value per pixel and channel"
        );
        self.table.apply(self.image(i), out);
    }
}

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Dataset({}: {} images of {} x {})",
            self.name(),
            self.len(),
            self.width(),
            self.height()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(sampling: Sampling) -> Source {
        Source {
            name: "test".into(),
            preprocessing: "none".into(),
            classes: vec!["a".into(), "b".into()],
            height: 1,
            width: 2,
            normalization: Normalization::IMAGENET,
            sampling,
        }
    }

    /// Image i is the 6 bytes 6i.., its label i % 2.
    fn set(n: usize, sampling: Sampling) -> Dataset {
        let pixels: Vec<u8> = (0..n * 6).map(|v| v as u8).collect();
        let records = (0..n)
            .map(|i| Record {
                offset: 6 * i,
                label: i as u16 % 2,
                digest: None,
                id: None,
            })
            .collect();
        Dataset::new(source(sampling), Arc::new(pixels), records).unwrap()
    }

    #[test]
    fn a_batch_is_planar_and_normalised_in_the_stated_order() {
        let set = set(3, Sampling::First);
        let mut out = vec![0.0; 12];
        set.write_batch(1..3, &mut out);
        let expected = |v: u8, c: usize| {
            let Normalization { mean, std, .. } = set.normalization();
            (f32::from(v) / 255.0 - mean[c]) / std[c]
        };
        let first = [(6, 0), (9, 0), (7, 1), (10, 1), (8, 2), (11, 2)];
        for (k, (v, c)) in first.into_iter().enumerate() {
            assert_eq!(out[k], expected(v, c));
            assert_eq!(out[6 + k], expected(v + 6, c));
        }
    }

    #[test]
    fn subsets_follow_the_sampling_and_keep_their_ids() {
        let ids = |set: &Dataset| (0..set.len()).map(|i| set.id(i)).collect::<Vec<_>>();
        assert_eq!(ids(&set(7, Sampling::First).subset(3)), ["0", "1", "2"]);
        assert_eq!(
            ids(&set(7, Sampling::EvenlySpaced).subset(3)),
            ["0", "2", "4"]
        );
        assert_eq!(ids(&set(2, Sampling::EvenlySpaced).subset(9)), ["0", "1"]);
        assert!(set(2, Sampling::EvenlySpaced).subset(0).is_empty());
    }

    #[test]
    fn the_hash_depends_on_pixels_labels_order_and_preprocessing_and_not_on_how_the_set_was_made() {
        let whole = set(4, Sampling::First);
        assert_eq!(whole.subset(2).sha256(), set(2, Sampling::First).sha256());
        assert_ne!(whole.sha256(), whole.subset(3).sha256());

        let pixels: Pixels = Arc::new((0..24).collect::<Vec<u8>>());
        let record = |offset, label| Record {
            offset,
            label,
            digest: None,
            id: None,
        };
        let with = |records| {
            Dataset::new(source(Sampling::First), pixels.clone(), records)
                .unwrap()
                .sha256()
        };
        assert_eq!(
            with(vec![record(0, 0), record(6, 1)]),
            whole.subset(2).sha256()
        );
        assert_ne!(
            with(vec![record(0, 0), record(6, 0)]),
            whole.subset(2).sha256()
        );
        assert_ne!(
            with(vec![record(6, 1), record(0, 0)]),
            whole.subset(2).sha256()
        );
        assert_ne!(
            with(vec![record(1, 0), record(6, 1)]),
            whole.subset(2).sha256()
        );

        let other = Source {
            preprocessing: "flipped".into(),
            ..source(Sampling::First)
        };
        let other = Dataset::new(other, pixels.clone(), vec![record(0, 0), record(6, 1)]).unwrap();
        assert_ne!(other.sha256(), whole.subset(2).sha256());
    }

    #[test]
    fn another_normalization_is_another_hash_and_the_own_one_is_not() {
        let set = set(2, Sampling::First);
        let own = set.clone().with_normalization(Normalization::IMAGENET);
        assert_eq!(own.sha256(), set.sha256());
        let half = set.clone().with_normalization(Normalization::HALF);
        assert_ne!(half.sha256(), set.sha256());
        let mut out = vec![0.0; 6];
        half.write_batch(0..1, &mut out);
        assert_eq!(out[0], -1.0);
        assert_eq!(half.overlap(&set), Some((0, 0)));
    }

    #[test]
    fn an_offset_moves_labels_and_their_names_and_is_refused_where_there_is_no_output() {
        let moved = set(3, Sampling::First).with_label_offset(1, 4).unwrap();
        assert_eq!(
            (0..3).map(|i| moved.label(i)).collect::<Vec<_>>(),
            [1, 2, 1]
        );
        assert_eq!(moved.classes(), ["output 0", "a", "b", "output 3"]);
        assert_ne!(moved.sha256(), set(3, Sampling::First).sha256());
        let refused = |offset, outputs| {
            let moved = set(3, Sampling::First).with_label_offset(offset, outputs);
            moved.unwrap_err().to_string()
        };
        let below = refused(-1, 4);
        assert!(below.contains("label 0") && below.contains("-1"), "{below}");
        assert!(refused(1, 2).contains("labels.offset"), "{}", refused(1, 2));
        assert!(refused(i32::MIN, 2).contains("image 0"));
    }

    #[test]
    fn contradictions_are_errors_that_give_the_values() {
        let fails = |height, offset, label| {
            let source = Source {
                height,
                ..source(Sampling::First)
            };
            let record = Record {
                offset,
                label,
                digest: None,
                id: None,
            };
            Dataset::new(source, Arc::new(vec![0u8; 12]), vec![record])
                .unwrap_err()
                .to_string()
        };
        assert!(fails(1, 7, 0).contains("image 0 needs 6 bytes from 7, but there are 12"));
        assert!(fails(1, usize::MAX, 0).contains("but there are 12"));
        assert!(fails(1, 0, 2).contains("label 2, but there are 2 classes"));
        assert!(fails(0, 0, 0).contains("2 x 0 pixels"));
    }
}
