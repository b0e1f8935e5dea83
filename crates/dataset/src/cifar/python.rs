//! CIFAR's Python version: pickled dictionaries with `data`, an array `[n, 3072]` of bytes, and `labels` or `fine_labels`.

use std::borrow::Cow;
use std::path::Path;

use super::pickle::Dict;
use super::{IMAGE, Images, Kind, LARGEST};
use crate::Error;

/// Adds the images of one file.
pub(super) fn append(path: &Path, kind: Kind, images: &mut Images) -> Result<(), Error> {
    let fail = |problem: String| Error::Pickle {
        path: path.into(),
        problem,
    };
    let size = std::fs::metadata(path).map_err(Error::io(path))?.len();
    if size > LARGEST {
        return Err(fail(format!("{size} bytes are more than {LARGEST}")));
    }
    let file = std::fs::read(path).map_err(Error::io(path))?;
    let dict = Dict::read(&file).map_err(fail)?;
    let (labels, planes) = parts(kind, &dict).map_err(fail)?;
    let rows = planes.chunks_exact(IMAGE).zip(labels);
    let rows = rows.map(|(planes, label)| (u16::try_from(label).unwrap_or(u16::MAX), planes));
    images.append(path, kind, &rows.collect::<Vec<_>>())
}

/// As many labels as images `[3, 32, 32]`.
fn parts<'d>(kind: Kind, dict: &'d Dict<'_>) -> Result<(Vec<i64>, Cow<'d, [u8]>), String> {
    let labels = dict.numbers(match kind {
        Kind::Ten => "labels",
        Kind::Hundred => "fine_labels",
    })?;
    let planes = dict.rows("data", IMAGE)?;
    if planes.len() / IMAGE != labels.len() {
        return Err(format!(
            "{} images have {} labels",
            planes.len() / IMAGE,
            labels.len()
        ));
    }
    Ok((labels, planes))
}
