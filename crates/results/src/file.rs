//! CSV files of rows: a header that must match to the letter, then records read by position.
//!
//! Numbers are written with Rust's `Display`, which is the shortest decimal that reads back as the same number and has
//! no exponent; the csv crate alone would write `1e-7`.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::Serializer;

use crate::error::Error;
use crate::rows::{Row, SCHEMA};

/// Writes a new file of `rows` and waits until it is on the disk.
///
/// # Errors
/// [`Error::Io`] when the file exists or cannot be written.
pub fn write_rows<R: Row>(path: &Path, rows: &[R]) -> Result<(), Error> {
    let file = File::create_new(path).map_err(Error::io("create", path))?;
    let mut buffer = put_rows(BufWriter::new(file), rows).map_err(Error::io("write", path))?;
    buffer.flush().map_err(Error::io("write", path))?;
    buffer.get_ref().sync_all().map_err(Error::io("sync", path))
}

/// What [`write_rows`] would write, for files that are replaced as a whole.
pub fn rows_text<R: Row>(rows: &[R]) -> String {
    let bytes = put_rows(Vec::new(), rows)
        .expect("a Vec takes everything, and a struct of scalars always serializes");
    String::from_utf8(bytes).expect("fields are UTF-8")
}

/// The header and the rows.
fn put_rows<W: Write, R: Row>(to: W, rows: &[R]) -> std::io::Result<W> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(to);
    writer.write_record(R::columns())?;
    for row in rows {
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|e| e.into_error())
}

/// Reads a file of rows.
///
/// # Errors
/// [`Error::Io`], [`Error::Version`], [`Error::Columns`], or [`Error::Line`] with the line and the column.
pub fn read_rows<R: Row>(path: &Path) -> Result<Vec<R>, Error> {
    // A pipe would keep us waiting, and a device has no end.
    let found = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !found.is_file() {
        let other = std::io::Error::other("no regular file");
        return Err(Error::io("read", path)(other));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(BufReader::new(file));
    let expected = R::columns();
    let mut rows = Vec::new();
    let mut header: Option<csv::StringRecord> = None;
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| read_error(path, e, &expected, 0))?
    {
        let line = record.position().map_or(0, csv::Position::line);
        let Some(header) = &header else {
            header = Some(record.clone());
            continue;
        };
        // The version is looked at before the columns: it explains them.
        if header.get(0) == Some("schema") && record.get(0) != Some(SCHEMA.to_string().as_str()) {
            let found = record.get(0).unwrap_or("").to_string();
            return Err(Error::Version {
                path: path.into(),
                found,
                allowed: SCHEMA,
            });
        }
        check_header(path, header, &expected, R::later())?;
        if record.len() != header.len() {
            let problem = format!(
                "{} fields, but the header has {}",
                record.len(),
                header.len()
            );
            return Err(Error::Line {
                path: path.into(),
                line,
                problem,
            });
        }
        rows.push(
            filled(&record, header, &expected)
                .deserialize(None)
                .map_err(|e| read_error(path, e, &expected, line))?,
        );
    }
    match &header {
        Some(header) => check_header(path, header, &expected, R::later())?,
        None => {
            return Err(Error::Columns {
                path: path.into(),
                problem: "empty file".into(),
                allowed: SCHEMA,
            });
        }
    }
    Ok(rows)
}

/// A record with an empty field for each column that its file lacks.
fn filled(
    record: &csv::StringRecord,
    header: &csv::StringRecord,
    expected: &[&str],
) -> csv::StringRecord {
    let mut fields = header.iter().zip(record).peekable();
    let field = |name: &&str| match fields.next_if(|(column, _)| column == name) {
        Some((_, field)) => field,
        None => "",
    };
    expected.iter().map(field).collect()
}

/// `serialize_with` for a number, a float32 or a float64, without an exponent.
pub(crate) fn plain<T: Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// `serialize_with` for an optional number without an exponent; empty when there is none.
pub(crate) fn plain_option<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn check_header(
    path: &Path,
    header: &csv::StringRecord,
    expected: &[&str],
    later: &[&str],
) -> Result<(), Error> {
    let has = |name: &&&str| header.iter().any(|h| h == **name);
    let may_lack = |name: &&&str| has(name) || !later.contains(*name);
    if header.iter().eq(expected.iter().filter(may_lack).copied()) {
        return Ok(());
    }
    let missing = expected
        .iter()
        .find(|name| !has(name) && !later.contains(*name));
    let unknown = header.iter().find(|name| !expected.contains(name));
    let problem = match (missing, unknown) {
        (Some(name), _) => format!("column `{name}` is missing"),
        (None, Some(name)) => format!("column `{name}` is unknown"),
        (None, None) => "columns are repeated or in another order".to_string(),
    };
    Err(Error::Columns {
        path: path.into(),
        problem,
        allowed: SCHEMA,
    })
}

fn read_error(path: &Path, error: csv::Error, columns: &[&str], line: u64) -> Error {
    let line = error.position().map_or(line, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::Io(_) => return Error::io("read", path)(error.into()),
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|i| columns.get(i as usize))
                .copied()
                .unwrap_or("?");
            format!("column `{column}`: {}", err.kind())
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".to_string(),
        _ => error.to_string(),
    };
    Error::Line {
        path: path.into(),
        line,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde::Serialize;

    use super::*;
    use crate::rows::{ManifestRow, MetricRow, PredictionRow, RunRow};
    use crate::{Config, Status};

    fn round_trip<R: Row + PartialEq + std::fmt::Debug>(rows: &[R]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        write_rows(&path, rows).unwrap();
        assert_eq!(read_rows::<R>(&path).unwrap(), rows);
        fs::read_to_string(&path).unwrap()
    }

    /// The fields of one record, as the file would show them before quoting.
    fn one_record<T: Serialize>(row: &T) -> Vec<String> {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        writer
            .serialize(row)
            .expect("a struct of scalars is a record");
        let bytes = writer.into_inner().expect("a Vec takes everything");
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(bytes.as_slice());
        let record = reader
            .records()
            .next()
            .expect("one record was written")
            .expect("it was written as UTF-8");
        record.iter().map(str::to_string).collect()
    }

    fn awkward_run() -> RunRow {
        let config = Config::default()
            .with("model_name", "name, with \"quotes\"")
            .with("weights_bits", 4)
            .with("weights_narrow", true)
            .with("weights_percentile", 99.999)
            .with("seed", u64::MAX);
        RunRow {
            status: Status::Failed,
            error: Some("line one\nline \"two\",\r\nZürich, 東京, \u{1F600} ".into()),
            seconds: 1e-9,
            ..RunRow::new("e", config, "w", "d", None)
        }
    }

    #[test]
    fn a_file_from_before_a_column_reads_as_if_it_were_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.csv");
        let run = awkward_run();
        write_rows(&path, std::slice::from_ref(&run)).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header = reader.headers().unwrap().clone();
        let kept = |record: &csv::StringRecord| -> csv::StringRecord {
            let fields = header.iter().zip(record);
            let later = ["qat_", "input_", "labels_", "data_folder", "executed"];
            let is_later = |name: &str| later.iter().any(|start| name.starts_with(start));
            let old = fields.filter(|(name, _)| !is_later(name));
            old.map(|(_, field)| field).collect()
        };
        let row = reader.records().next().unwrap().unwrap();
        let mut writer = csv::Writer::from_path(&path).unwrap();
        writer.write_record(&kept(&header)).unwrap();
        writer.write_record(&kept(&row)).unwrap();
        writer.flush().unwrap();
        assert_eq!(read_rows::<RunRow>(&path).unwrap(), [run]);
    }

    #[test]
    fn quotes_newlines_and_unicode_come_back_as_they_were() {
        round_trip(&[awkward_run()]);
        let image = |image: &str| PredictionRow {
            image: image.into(),
            label: 65535,
            top1: 0,
        };
        round_trip(&[
            image("n01/ä \"b\",\nc.JPEG"),
            image(""),
            image(" spaces "),
            image("#x"),
            image("\r"),
        ]);
        let row = |reason: &str| ManifestRow {
            run_id: "0123456789ab".into(),
            tensor: "conv1.weight".into(),
            kind: "weight".into(),
            quantized: true,
            bits: 8,
            reason: reason.into(),
        };
        round_trip(&[row("a, b"), row("")]);
    }

    #[test]
    fn numbers_have_no_exponent_and_lose_nothing() {
        let values = [
            0.0,
            -0.0,
            1.0,
            0.1,
            1.0 / 3.0,
            1e-300,
            5e-324,
            f64::MAX,
            -1.5e21,
            9180.0,
        ];
        let rows = values.map(|value| MetricRow {
            run_id: "123456789012".into(),
            layer: String::new(),
            metric: "loss_sum".into(),
            value,
            n: u64::MAX,
            unit: "nats".into(),
        });
        let text = round_trip(&rows);
        let numbers: Vec<&str> = text
            .lines()
            .skip(1)
            .map(|line| line.split(',').nth(3).unwrap())
            .collect();
        assert!(
            numbers.iter().all(|n| !n.contains(['e', 'E'])),
            "{numbers:?}"
        );
        assert!(
            numbers
                .iter()
                .zip(values)
                .all(|(n, v)| n.parse::<f64>().unwrap().to_bits() == v.to_bits())
        );
        assert_eq!(numbers[9], "9180");
    }

    #[test]
    fn no_rows_still_leave_a_header() {
        assert_eq!(round_trip::<PredictionRow>(&[]), "image,label,top1\n");
    }

    #[test]
    fn headers_are_the_serde_names_without_repetition() {
        let columns = RunRow::columns();
        let unique: std::collections::HashSet<_> = columns.iter().collect();
        assert_eq!(unique.len(), columns.len());
        assert_eq!(one_record(&awkward_run()).len(), columns.len());
        let head = |text: Vec<u8>| {
            String::from_utf8(text)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_string()
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer
            .serialize(MetricRow {
                run_id: String::new(),
                layer: String::new(),
                metric: String::new(),
                value: 0.0,
                n: 0,
                unit: String::new(),
            })
            .unwrap();
        assert_eq!(
            head(writer.into_inner().unwrap()),
            MetricRow::columns().join(",")
        );
    }

    fn error_of(text: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        fs::write(&path, text).unwrap();
        let error = read_rows::<PredictionRow>(&path).unwrap_err().to_string();
        assert!(error.contains("rows.csv"), "{error}");
        error
    }

    #[test]
    fn a_bad_file_is_named_with_its_line_and_column() {
        assert!(error_of(b"image,label,top1\na,1,2\nb,x,2\n").contains("line 3: column `label`"));
        assert!(error_of(b"image,label,top1\na,1,99999\n").contains("line 2: column `top1`"));
        assert!(
            error_of(b"image,label,top1\na,1\n").contains("line 2: 2 fields, but the header has 3")
        );
        assert!(error_of(b"image,label\na,1\n").contains("column `top1` is missing"));
        assert!(error_of(b"image,label,top1,top5\n").contains("column `top5` is unknown"));
        assert!(error_of(b"label,image,top1\n").contains("in another order"));
        assert!(error_of(b"image,label,top1\n\xff,1,1\n").contains("line 2: not UTF-8"));
        assert!(error_of(b"").contains("empty file"));
    }

    #[test]
    fn another_schema_version_is_named_before_its_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.csv");
        fs::write(&path, "schema,run_id,new\n99,0123456789ab,1\n").unwrap();
        let error = read_rows::<RunRow>(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Version { found, allowed: SCHEMA, .. } if found == "99"),
            "{error}"
        );
    }
}
