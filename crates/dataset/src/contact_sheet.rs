//! Many images on one sheet, to look at.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Dataset, Error};

/// Pixels between two images.
const GAP: usize = 2;

/// An 8-bit RGB picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// A white sheet with one class a column, in the order of the labels, and the first images of each from top to
/// bottom. `columns` is the number of classes shown, `rows` the number of images of each; every pixel becomes `zoom`
/// x `zoom`. Places without an image stay white.
pub fn contact_sheet(set: &Dataset, columns: usize, rows: usize, zoom: usize) -> Picture {
    let zoom = zoom.max(1);
    let (wide, high) = (set.width() * zoom + GAP, set.height() * zoom + GAP);
    let (width, height) = (columns * wide + GAP, rows * high + GAP);
    let mut rgb = vec![255; width * height * 3];
    let mut filled = vec![0; columns];
    for i in 0..set.len() {
        let column = usize::from(set.label(i));
        if column >= columns || filled[column] == rows {
            continue;
        }
        let (left, top) = (column * wide + GAP, filled[column] * high + GAP);
        filled[column] += 1;
        let image = set.image(i);
        for y in 0..set.height() * zoom {
            for x in 0..set.width() * zoom {
                let from = (y / zoom * set.width() + x / zoom) * 3;
                let to = ((top + y) * width + left + x) * 3;
                rgb[to..to + 3].copy_from_slice(&image[from..from + 3]);
            }
        }
    }
    Picture { width, height, rgb }
}

impl Picture {
    /// Writes a PNG file.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be created, [`Error::Encode`] if writing it fails or a side is zero.
    pub fn write_png(&self, path: &Path) -> Result<(), Error> {
        let file = File::create(path).map_err(Error::io(path))?;
        self.encode(BufWriter::new(file), path)
    }

    /// A PNG file in memory.
    ///
    /// # Errors
    /// [`Error::Encode`] if a side is zero.
    pub fn png(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.encode(&mut bytes, Path::new("a picture"))?;
        Ok(bytes)
    }

    fn encode(&self, to: impl Write, path: &Path) -> Result<(), Error> {
        let fail = |detail: String| Error::Encode {
            path: path.to_path_buf(),
            detail,
        };
        let side =
            |n: usize| u32::try_from(n).map_err(|_| fail(format!("{n} pixels are too many")));
        let mut encoder = png::Encoder::new(to, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|e| fail(e.to_string()))?;
        writer
            .write_image_data(&self.rgb)
            .map_err(|e| fail(e.to_string()))?;
        writer.finish().map_err(|e| fail(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{self, Split};

    #[test]
    fn a_sheet_shows_each_class_in_its_column_and_survives_the_way_through_a_file() {
        let set = synthetic::generate(1, Split::Test, 15);
        let sheet = contact_sheet(&set, 10, 2, 3);
        assert_eq!((sheet.width, sheet.height), (10 * 98 + 2, 2 * 98 + 2));
        let (class, image) = (usize::from(set.label(0)), set.image(0));
        let at = |x: usize, y: usize| {
            let p = ((GAP + y) * sheet.width + GAP + class * 98 + x) * 3;
            &sheet.rgb[p..p + 3]
        };
        assert_eq!(at(0, 0), &image[..3]);
        assert_eq!(at(5, 2), &image[3..6]);
        assert_eq!(at(95, 95), &image[31 * 99..31 * 99 + 3]);
        assert_eq!(at(96, 0), &[255; 3]);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sheet.png");
        sheet.write_png(&path).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(&path).unwrap()))
            .read_info()
            .unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut rgb).unwrap();
        assert_eq!(rgb, sheet.rgb);

        let error = sheet
            .write_png(&folder.path().join("no/sheet.png"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("sheet.png"), "{error}");
        assert!(
            contact_sheet(&set.subset(0), 0, 0, 1)
                .write_png(&path)
                .is_ok()
        );
    }
}
