//! JPEG, through mozjpeg: libjpeg-turbo in C, built without its assembler.
//!
//! Pillow uses libjpeg-turbo, and decoders may differ: the standard fixes the inverse DCT within one level and says
//! nothing on how subsampled chroma is enlarged. Three were measured after resize and crop on 12 photographs of full
//! size and 8 odd ones (grey, CMYK, progressive, tiny, ...), against Pillow 13, in grey levels, milliseconds on one core:
//!
//! | decoder | mean of a file | largest mean | largest single | ms |
//! |---|---|---|---|---|
//! | zune-jpeg 0.5.15 | 0.01 at 4:4:4, 0.2 to 0.4 at 4:2:0 | 0.42 | 4 | 1.63, with AVX2 1.33 |
//! | jpeg-decoder 0.3.2 | 0.04 at 4:4:4, 0.1 at 4:2:0; CMYK left to the caller | 0.15 | 3 | 1.8 |
//! | mozjpeg 0.10 (C, no assembler) | 0 | 0 | 0 | 2.3 |
//!
//! Chosen: mozjpeg, with the settings that are libjpeg's defaults and Pillow's (the slow integer DCT, smooth enlargement
//! of chroma). Less than half a level of difference moved counts of a coarsely quantized ImageNet network by two images.
//! The assembler would need nasm and is not there on every platform. It gives the same pixels of every sound file; where
//! damage makes coefficients overflow, it saturates and the C code wraps: there alone Pillow (which has it) differs.
//!
//! libjpeg is lenient: where data ends it warns and goes on in grey. What Pillow refuses is found here first, by walking
//! the segments: a file without an end marker is truncated, and 2 or more than 4 components have no colour. A file that
//! makes libjpeg read beyond its last byte all the same is an error, as in Pillow. Damaged coded data that libjpeg only
//! warns of is decoded, as in Pillow. Not decoded, unlike in Pillow: arithmetic coding and lossless JPEG.
//!
//! libjpeg reports errors by a call that must not return; mozjpeg unwinds from there through the C code, past the panic
//! hook, so nothing is printed. It is caught here. (Built with `panic = "abort"`, a corrupt file would end the program.)
//!
//! CMYK follows Pillow: all four values are taken as inverted (as Adobe writes them), then
//! `R = K - K * (255 - C) / 255`, which is `C * K / 255` rounded to nearest. YCCK becomes CMYK first.

use std::io::{self, BufRead, Read};
use std::panic::{catch_unwind, resume_unwind};

use mozjpeg::{ColorSpace, Decompress};

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
    let pixels = catch_unwind(|| pixels(bytes, &frame)).unwrap_or_else(|payload| {
        // What libjpeg says is marked as such; any other panic is a defect and none of this function's business.
        let said = payload.downcast_ref::<String>();
        match said.and_then(|said| said.strip_prefix("libjpeg fatal error: ")) {
            Some(reason) => Err(corrupt(reason)),
            None => resume_unwind(payload),
        }
    })?;
    Ok(Rgb {
        width: frame.width.into(),
        height: frame.height.into(),
        pixels,
    })
}

/// Decodes a file whose frame header has been checked. Unwinds where libjpeg meets an error.
fn pixels(bytes: &[u8], frame: &Frame) -> Result<Vec<u8>, Error> {
    let contradiction = || corrupt("its headers contradict one another");
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let decoder = Decompress::builder()
        .from_reader(ToTheEnd(bytes))
        .map_err(corrupt)?;
    // Before any memory is taken for pixels: what was checked is what libjpeg has found.
    if decoder.size() != (width, height)
        || decoder.components().len() != usize::from(frame.components)
    {
        return Err(contradiction());
    }
    let mut decoder = decoder
        .to_colorspace(if frame.components == 4 {
            ColorSpace::JCS_CMYK
        } else {
            ColorSpace::JCS_RGB
        })
        .map_err(corrupt)?;
    let mut pixels: Vec<u8> = decoder.read_scanlines().map_err(corrupt)?;
    decoder.finish().map_err(corrupt)?;
    if frame.components == 4 {
        pixels = (pixels.as_chunks::<4>().0.iter())
            .flat_map(|[c, m, y, k]| [c, m, y].map(|ink| scaled(*ink, *k)))
            .collect();
    }
    if pixels.len() != width * height * 3 {
        return Err(contradiction());
    }
    Ok(pixels)
}

/// `a * b / 255`, rounded to nearest.
fn scaled(a: u8, b: u8) -> u8 {
    ((u16::from(a) * u16::from(b) + 127) / 255) as u8
}

/// A JPEG that is not to be decoded.
fn corrupt(reason: impl std::fmt::Display) -> Error {
    bad(format!("corrupt JPEG: {reason}"))
}

/// A file in memory whose end is an error to read beyond: given an ordinary end, mozjpeg makes up an end marker.
struct ToTheEnd<'a>(&'a [u8]);

impl Read for ToTheEnd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for ToTheEnd<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(self.0)
    }

    fn consume(&mut self, n: usize) {
        self.0.consume(n);
    }
}

/// What the frame header declares.
struct Frame {
    width: u16,
    height: u16,
    components: u8,
}

/// Scans of a file: a progressive one has some ten. Each is a walk over the whole image, whatever few bytes it has, so that a small file of
/// many would take hours.
const MOST_SCANS: usize = 200;

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
            0xDA => {
                scans += 1;
                if scans > MOST_SCANS {
                    return Err(bad(format!("a JPEG of more than {MOST_SCANS} scans")));
                }
            }
            // Every SOF; C4 (Huffman tables), C8 (reserved) and CC (arithmetic conditioning) lie among them.
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => match *segment {
                [_, h1, h0, w1, w0, components, ..] => {
                    let (height, width) =
                        (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
                    // The first one counts, in libjpeg too, which refuses a second.
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
    use sha2::{Digest, Sha256};

    const RGB: &[u8] = include_bytes!("../../tests/data/rgb.jpg");
    #[test]
    fn a_file_of_thousands_of_scans_is_refused_before_it_is_decoded() {
        let scan = PROGRESSIVE
            .windows(2)
            .position(|pair| pair == [0xFF, 0xDA])
            .unwrap();
        let (start, end) = PROGRESSIVE.split_at(scan);
        let mut bytes = start.to_vec();
        bytes.extend(b"\xFF\xDA\0\x08\x01\x01\0\0\x3F\0".repeat(3000));
        bytes.extend(end);
        let message = decode(&bytes).unwrap_err().to_string();
        assert!(message.contains("200 scans"), "{message}");
    }

    const PROGRESSIVE: &[u8] = include_bytes!("../../tests/data/progressive.jpg");
    const GRAY: &[u8] = include_bytes!("../../tests/data/gray.jpg");
    const CMYK: &[u8] = include_bytes!("../../tests/data/cmyk.jpg");
    const YCCK: &[u8] = include_bytes!("../../tests/data/ycck.jpg");

    /// 16 x 16 pixels, red rising to the right, green downwards, blue falling along the diagonal; written by Pillow.
    /// `ycck.jpg` is `cmyk.jpg` with another colour transform declared.
    pub(in crate::decode) const FILES: [&[u8]; 5] = [RGB, PROGRESSIVE, GRAY, CMYK, YCCK];

    /// Compares five pixels (the corners, and x = 4, y = 8), and the sha256 of all, with those of Pillow 13.0.
    fn assert_as_in_pillow(file: &[u8], expected: [[u8; 3]; 5], sha256: &str) {
        let image = decode(file).unwrap();
        assert_eq!((image.width, image.height), (16, 16));
        let found = [(0, 0), (15, 0), (0, 15), (15, 15), (4, 8)].map(|(x, y)| {
            let at = (y * 16 + x) * 3;
            [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]]
        });
        assert_eq!(found, expected);
        let digest = Sha256::digest(&image.pixels);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, sha256);
    }

    #[test]
    fn every_pixel_of_every_colour_space_is_that_of_pillow() {
        assert_as_in_pillow(
            RGB,
            [
                [3, 3, 249],
                [236, 7, 134],
                [4, 232, 134],
                [236, 239, 24],
                [64, 131, 150],
            ],
            "71fb6d20e33d61bbc6d6e3cb340672ea9521be002f0d84cb278842a653e1a558",
        );
        assert_as_in_pillow(
            PROGRESSIVE,
            [
                [4, 4, 240],
                [236, 7, 133],
                [2, 234, 135],
                [235, 239, 30],
                [65, 129, 156],
            ],
            "1e6fc97808419ced5464532ae6468ee620a88eff569135bfd64224bb2ff217db",
        );
        assert_as_in_pillow(
            GRAY,
            [[31; 3], [90; 3], [153; 3], [214; 3], [113; 3]],
            "55d4e8ae0dd115ebb4ebe394a7cfabdc2cc8d75714966d33fd8ac57e236358cf",
        );
        assert_as_in_pillow(
            CMYK,
            [
                [3, 1, 254],
                [237, 1, 135],
                [3, 238, 134],
                [237, 238, 17],
                [64, 128, 158],
            ],
            "9ec7c591cbf9c357399baf4ab7c499cffbc5a092a10cdae88130080f8674d933",
        );
        assert_as_in_pillow(
            YCCK,
            [
                [75, 255, 255],
                [8, 0, 243],
                [244, 255, 57],
                [174, 0, 0],
                [149, 212, 191],
            ],
            "04760a4f9beac6751377c7a1439c1fcd46c772cd96d65bc602e0b263117e0949",
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
    fn an_end_marker_put_behind_a_cut_header_is_an_error() {
        for file in FILES {
            let scan = (file.windows(2))
                .position(|pair| pair == [0xFF, 0xDA])
                .unwrap();
            for n in 3..scan {
                assert!(decode(&[&file[..n], &[0xFF, 0xD9]].concat()).is_err());
            }
        }
    }

    #[test]
    fn a_second_frame_header_is_an_error_however_large() {
        let at = RGB
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC0])
            .unwrap();
        let mut second = RGB[at..at + 19].to_vec();
        second[5..9].fill(0xFF);
        for at in [2, at + 19] {
            let file = [&RGB[..at], &second, &RGB[at..]].concat();
            assert!(decode(&file).is_err());
        }
    }

    #[test]
    fn what_libjpeg_refuses_is_an_error_in_its_words_and_reaches_no_panic_hook() {
        use std::sync::atomic::{AtomicBool, Ordering};

        static CALLED: AtomicBool = AtomicBool::new(false);
        let here = std::thread::current().id();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == here {
                CALLED.store(true, Ordering::Relaxed);
            }
            before(info);
        }));
        let at = RGB
            .windows(2)
            .position(|pair| pair == [0xFF, 0xC4])
            .unwrap();
        let mut file = RGB.to_vec();
        file[at + 5..at + 21].fill(0xFF); // more codes of each length than there can be
        let error = super::super::decode(&file).unwrap_err().to_string();
        assert_eq!(error, "corrupt JPEG: Bogus Huffman table definition");
        assert!(!CALLED.load(Ordering::Relaxed));
    }

    #[test]
    fn reading_beyond_the_last_byte_is_an_error() {
        let mut end = ToTheEnd(&[1]);
        assert_eq!(end.fill_buf().unwrap(), [1]);
        end.consume(1);
        assert!(end.fill_buf().is_err());
        // What the walk would have refused first.
        let frame = walk(RGB).unwrap();
        let cut = catch_unwind(|| pixels(&RGB[..RGB.len() - 2], &frame));
        let said = cut.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains("read error"), "{said}");
    }
}
