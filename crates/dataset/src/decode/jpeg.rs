//! JPEG, through zune-jpeg.
//!
//! Pillow uses libjpeg-turbo, and decoders may differ: the standard fixes the inverse DCT within one level and says
//! nothing on how subsampled chroma is enlarged. Three were measured after resize and crop on 12 photographs of full
//! size and 8 odd ones (grey, CMYK, progressive, tiny, ...), against Pillow 13, in grey levels, milliseconds on one core:
//!
//! | decoder | mean of a file | largest mean | largest single | ms |
//! |---|---|---|---|---|
//! | zune-jpeg 0.5.15 with AVX2 | 0.01 at 4:4:4, 0.2 to 0.4 at 4:2:0 | 0.42 | 4 | 1.33 |
//! | zune-jpeg 0.5.15 portable | the same pixels | 0.42 | 4 | 1.63 |
//! | jpeg-decoder 0.3.2 | 0.04 at 4:4:4, 0.1 at 4:2:0; CMYK left to the caller | 0.15 | 3 | 1.8 |
//! | mozjpeg 0.10 (C, no assembler) | 0 | 0 | 0 | 2.3 |
//!
//! Chosen: zune-jpeg, pure Rust and the fastest, well inside one level. Its difference is where chroma is halved both ways:
//! it rounds between the two passes of the enlargement, libjpeg does not. Its portable code is used, not its vector
//! code, so that the pixels (and the data hash in every run id) are the same on every machine by construction.
//!
//! zune-jpeg is lenient, so what Pillow refuses is found here first, by walking the segments: a file without an end
//! marker is truncated, and 2 or more than 4 components have no colour. Not decoded, unlike in Pillow: arithmetic coding.
//!
//! CMYK follows Pillow: all four values are taken as inverted (as Adobe writes them), then
//! `R = K - K * (255 - C) / 255`, which is `C * K / 255` rounded to nearest. YCCK becomes CMYK first.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Rgb, bad, check_size};
use crate::Error;

pub(super) fn decode(bytes: &[u8]) -> Result<Rgb, Error> {
    let frame = walk(bytes)?;
    check_size(frame.width.into(), frame.height.into())?;
    if !matches!(frame.components, 1 | 3 | 4) {
        return Err(bad(format!(
            "a JPEG of {} components, where 1, 3 or 4 have a colour",
            frame.components
        )));
    }
    let options = DecoderOptions::default()
        .jpeg_set_out_colorspace(ColorSpace::RGB)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .set_use_unsafe(false);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder
        .decode()
        .map_err(|e| bad(format!("corrupt JPEG: {e:?}")))?;
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    if decoder.dimensions() != Some((width, height)) || pixels.len() != width * height * 3 {
        return Err(bad("corrupt JPEG: its headers contradict one another"));
    }
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}

/// What the frame header declares.
struct Frame {
    width: u16,
    height: u16,
    components: u8,
}

/// Follows the segments from the start marker to the end marker, through the entropy-coded data between them.
fn walk(bytes: &[u8]) -> Result<Frame, Error> {
    let truncated = || {
        bad(format!(
            "truncated JPEG: the file ends after {} bytes, before its end marker",
            bytes.len()
        ))
    };
    let mut frame = None;
    let mut scans = 0;
    let mut at = 2;
    loop {
        // To the next marker: 0xFF and a byte that is neither stuffing nor fill. Anything in between is coded data
        // (after a scan's header) or garbage, which decoders step over.
        at += bytes[at..]
            .iter()
            .position(|b| *b == 0xFF)
            .ok_or_else(truncated)?;
        while bytes.get(at) == Some(&0xFF) {
            at += 1;
        }
        let marker = *bytes.get(at).ok_or_else(truncated)?;
        at += 1;
        match marker {
            0x00 | 0x01 | 0xD0..=0xD8 => continue, // stuffing; markers without a segment
            0xD9 => break,
            _ => {}
        }
        let segment = bytes.get(at..at + 2).ok_or_else(truncated)?;
        let length = usize::from(u16::from_be_bytes([segment[0], segment[1]]));
        if length < 2 {
            return Err(bad("corrupt JPEG: a segment of less than 2 bytes"));
        }
        let segment = bytes.get(at + 2..at + length).ok_or_else(truncated)?;
        at += length;
        match marker {
            0xDA => scans += 1,
            // Every SOF; C4 (Huffman tables), C8 (reserved) and CC (arithmetic conditioning) lie among them.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => match *segment {
                [_, h1, h0, w1, w0, components, ..] => {
                    let (height, width) =
                        (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
                    // The first one counts, in libjpeg (which refuses a second) as in zune-jpeg (likewise).
                    frame.get_or_insert(Frame {
                        width,
                        height,
                        components,
                    });
                }
                _ => return Err(bad("corrupt JPEG: a short frame header")),
            },
            _ => {}
        }
    }
    match frame {
        Some(frame) if scans > 0 => Ok(frame),
        _ => Err(bad("corrupt JPEG: it ends before any image data")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const RGB: &[u8] = include_bytes!("../../tests/data/rgb.jpg");
    const PROGRESSIVE: &[u8] = include_bytes!("../../tests/data/progressive.jpg");
    const GRAY: &[u8] = include_bytes!("../../tests/data/gray.jpg");
    const CMYK: &[u8] = include_bytes!("../../tests/data/cmyk.jpg");
    const YCCK: &[u8] = include_bytes!("../../tests/data/ycck.jpg");

    /// 16 x 16 pixels, red rising to the right, green downwards, blue falling along the diagonal; written by Pillow.
    /// `ycck.jpg` is `cmyk.jpg` with another colour transform declared.
    pub(in crate::decode) const FILES: [&[u8]; 5] = [RGB, PROGRESSIVE, GRAY, CMYK, YCCK];

    /// Compares five pixels (the corners, and x = 4, y = 8) with those of Pillow.
    fn assert_like_pillow(file: &[u8], expected: [[u8; 3]; 5]) {
        let image = decode(file).unwrap();
        assert_eq!((image.width, image.height), (16, 16));
        let found = [(0, 0), (15, 0), (0, 15), (15, 15), (4, 8)].map(|(x, y)| {
            let at = (y * 16 + x) * 3;
            [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]]
        });
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!(
                found.abs_diff(*expected) <= 3,
                "{found} where Pillow has {expected}"
            );
        }
    }

    #[test]
    fn every_colour_space_comes_out_as_in_pillow() {
        assert_like_pillow(
            RGB,
            [
                [3, 3, 249],
                [236, 7, 134],
                [4, 232, 134],
                [236, 239, 24],
                [64, 131, 150],
            ],
        );
        assert_like_pillow(
            PROGRESSIVE,
            [
                [4, 4, 240],
                [236, 7, 133],
                [2, 234, 135],
                [235, 239, 30],
                [65, 129, 156],
            ],
        );
        assert_like_pillow(GRAY, [[31; 3], [90; 3], [153; 3], [214; 3], [113; 3]]);
        assert_like_pillow(
            CMYK,
            [
                [3, 1, 254],
                [237, 1, 135],
                [3, 238, 134],
                [237, 238, 17],
                [64, 128, 158],
            ],
        );
        assert_like_pillow(
            YCCK,
            [
                [75, 255, 255],
                [8, 0, 243],
                [244, 255, 57],
                [174, 0, 0],
                [149, 212, 191],
            ],
        );
    }

    #[test]
    fn a_file_cut_at_any_length_is_an_error() {
        for file in FILES {
            for n in 0..file.len() {
                assert!(
                    super::super::decode(&file[..n]).is_err(),
                    "cut at {n} of {}",
                    file.len()
                );
            }
            assert!(
                decode(&file[..file.len() - 1])
                    .unwrap_err()
                    .to_string()
                    .contains("truncated")
            );
        }
    }

    #[test]
    fn bytes_after_the_end_marker_are_passed_over() {
        assert_eq!(
            decode(&[RGB, b"more"].concat()).unwrap(),
            decode(RGB).unwrap()
        );
    }

    #[test]
    fn a_huge_size_is_refused_before_memory_is_taken() {
        let at = RGB
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap()
            + 5;
        let mut huge = RGB.to_vec();
        huge[at..at + 4].fill(0xFF);
        let error = decode(&huge).unwrap_err().to_string();
        assert!(
            error.contains("65535 x 65535") && error.contains("178956970"),
            "{error}"
        );
        huge[at..at + 4].fill(0);
        assert!(decode(&huge).unwrap_err().to_string().contains("0 x 0"));
    }

    #[test]
    fn two_components_have_no_colour() {
        let at = RGB
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap()
            + 9;
        let mut two = RGB.to_vec();
        two[at] = 2;
        assert!(
            decode(&two)
                .unwrap_err()
                .to_string()
                .contains("2 components")
        );
    }

    #[test]
    fn vector_code_would_give_the_same_pixels() {
        for file in FILES {
            let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
            let vector = JpegDecoder::new_with_options(ZCursor::new(file), options)
                .decode()
                .unwrap();
            assert_eq!(vector, decode(file).unwrap().pixels);
        }
    }
}
