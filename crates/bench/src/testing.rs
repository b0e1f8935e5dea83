//! Made-up images for the tests of this crate.

use std::sync::Arc;

use dataset::{Dataset, Normalization, Record, Sampling, Source};

/// Images of 32x32 pixels out of `pixels`, 3072 values each; the classes take turns.
pub(crate) fn small_images(pixels: Vec<u8>, classes: usize) -> Dataset {
    let records = (0..pixels.len() / 3072)
        .map(|i| Record {
            offset: i * 3072,
            label: (i % classes) as u16,
            digest: None,
            id: None,
        })
        .collect();
    let source = Source {
        name: "made up".into(),
        preprocessing: "none".into(),
        classes: (0..classes).map(|class| class.to_string()).collect(),
        height: 32,
        width: 32,
        normalization: Normalization::IMAGENET,
        sampling: Sampling::First,
    };
    Dataset::new(source, Arc::new(pixels), records).expect("every record lies inside the pixels")
}
