//! CSV files as polars frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;
use results::{MetricRow, PredictionRow, Row};

use crate::error::Error;

/// A row that polars reads too.
pub(crate) trait Frame: Row {
    /// The type of each column, in order.
    const TYPES: &'static [DataType];
}

impl Frame for MetricRow {
    const TYPES: &'static [DataType] = &[
        DataType::String,
        DataType::String,
        DataType::String,
        DataType::Float64,
        DataType::Int64,
        DataType::String,
    ];
}

impl Frame for PredictionRow {
    const TYPES: &'static [DataType] = &[DataType::String, DataType::Int64, DataType::Int64];
}

/// A file of rows as polars sees it: the header is checked to the letter, the types are given and not guessed (a run id
/// of digits is still text), an empty field of text is an empty text.
pub(crate) fn scan<R: Frame>(path: &Path) -> Result<LazyFrame, Error> {
    results::check_columns::<R>(path)?;
    let fields = R::columns()
        .into_iter()
        .zip(R::TYPES)
        .map(|(name, t)| Field::new(name.into(), t.clone()));
    let text = path.to_str().ok_or_else(|| Error::Disagree {
        path: path.to_path_buf(),
        problem: "the path is not Unicode, which polars needs".into(),
    })?;
    LazyCsvReader::new(text.into())
        .with_has_header(true)
        .with_schema(Some(Arc::new(Schema::from_iter(fields))))
        .with_missing_is_null(false)
        .with_glob(false)
        .finish()
        .map_err(polars_error(path))
}

/// How often a condition holds.
pub(crate) fn count(condition: Expr) -> Expr {
    condition.sum().cast(DataType::Int64)
}

/// The only number of a column.
pub(crate) fn scalar(frame: &DataFrame, name: &str) -> PolarsResult<u64> {
    Ok(frame.column(name)?.i64()?.get(0).unwrap_or(0).max(0) as u64)
}

/// polars names neither file nor line; the row reader does, so the files are read once more for a better message.
pub(crate) fn explain<R: Row>(
    paths: impl IntoIterator<Item = PathBuf>,
    error: PolarsError,
    path: &Path,
) -> Error {
    for path in paths {
        if let Err(precise) = results::read_rows::<R>(&path) {
            return precise.into();
        }
    }
    polars_error(path)(error)
}

/// For `map_err`.
pub(crate) fn polars_error(path: &Path) -> impl FnOnce(PolarsError) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Polars { path, error }
}
