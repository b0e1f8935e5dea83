//! PNG, through the png crate; lossless, so every pixel is Pillow's.
//!
//! `convert("RGB")` in Pillow: 1, 2 and 4-bit grey are spread over 0..255, palettes looked up (0, 0, 0 beyond their end),
//! alpha and tRNS dropped. Of 16-bit channels the upper byte is taken, except for 16-bit grey without an alpha channel,
//! which Pillow opens in a mode of its own (`I;16`) and clips: every value above 255 becomes 255.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Transformations};

use super::{Rgb, bad, check_size};
use crate::Error;

pub(super) fn decode(bytes: &[u8]) -> Result<Rgb, Error> {
    // Pillow lets a file end anywhere after its last pixel, so it accepts some that lack their last 20 bytes or fewer;
    // here they are truncated.
    let corrupt = |e: png::DecodingError| match e {
        png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            bad(format!(
                "truncated PNG: the file ends after {} bytes, before its end chunk",
                bytes.len()
            ))
        }
        e => bad(format!("corrupt PNG: {e}")),
    };
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(corrupt)?;
    check_size(header.width.into(), header.height.into())?;
    let (width, height) = (header.width as usize, header.height as usize);
    let clipped =
        header.color_type == ColorType::Grayscale && header.bit_depth == BitDepth::Sixteen;
    let strip = if clipped {
        Transformations::IDENTITY
    } else {
        Transformations::STRIP_16
    };
    decoder.set_transformations(Transformations::EXPAND | strip);

    // Beside the image the crate allocates 64 MiB at most.
    let mut reader = decoder.read_info().map_err(corrupt)?;
    // The crate looks colours up in threes without a check.
    let palette = reader.info().palette.as_ref().map_or(3, |p| p.len());
    if palette == 0 || palette % 3 != 0 || palette > 768 {
        return Err(bad("corrupt PNG: a palette that is no list of colours"));
    }
    let size = reader
        .output_buffer_size()
        .ok_or_else(|| bad("corrupt PNG: its size overflows"))?;
    let mut samples = vec![0; size];
    let frame = reader.next_frame(&mut samples).map_err(corrupt)?;
    if (frame.width as usize, frame.height as usize) != (width, height) {
        return Err(bad("an animated PNG whose first frame does not cover it"));
    }
    samples.truncate(frame.buffer_size());

    let pixels = match (frame.color_type, frame.bit_depth) {
        (ColorType::Rgb, BitDepth::Eight) => samples,
        (ColorType::Rgba, BitDepth::Eight) => samples
            .chunks_exact(4)
            .flat_map(|p| [p[0], p[1], p[2]])
            .collect(),
        (ColorType::Grayscale, BitDepth::Eight) => samples.iter().flat_map(|v| [*v; 3]).collect(),
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => {
            samples.chunks_exact(2).flat_map(|p| [p[0]; 3]).collect()
        }
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            samples.chunks_exact(2).flat_map(|p| [clip(p); 3]).collect()
        }
        // With a tRNS chunk, EXPAND adds an alpha channel.
        (ColorType::GrayscaleAlpha, BitDepth::Sixteen) => {
            samples.chunks_exact(4).flat_map(|p| [clip(p); 3]).collect()
        }
        (color, depth) => {
            return Err(bad(format!(
                "a PNG that decodes to {color:?} of {depth:?}-bit samples"
            )));
        }
    };
    if pixels.len() != width * height * 3 {
        return Err(bad("corrupt PNG: its pixels do not fill it"));
    }
    Ok(Rgb {
        width,
        height,
        pixels,
    })
}

/// A big-endian 16-bit sample as `I;16` becomes 8 bits in Pillow.
fn clip(sample: &[u8]) -> u8 {
    if sample[0] == 0 { sample[1] } else { 255 }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Chunks<'a> {
        palette: Option<&'a [u8]>,
        transparent: Option<&'a [u8]>,
    }

    const NONE: Chunks = Chunks {
        palette: None,
        transparent: None,
    };

    fn encode(
        width: u32,
        color: ColorType,
        depth: BitDepth,
        data: &[u8],
        chunks: Chunks,
    ) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if let Some(palette) = chunks.palette {
            encoder.set_palette(palette.to_vec());
        }
        if let Some(transparent) = chunks.transparent {
            encoder.set_trns(transparent.to_vec());
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        file
    }

    /// The first channel of each pixel of a one-row image.
    fn first_channel(file: &[u8]) -> Vec<u8> {
        decode(file)
            .unwrap()
            .pixels
            .chunks_exact(3)
            .map(|p| p[0])
            .collect()
    }

    fn sixteen(samples: &[u16]) -> Vec<u8> {
        samples.iter().flat_map(|v| v.to_be_bytes()).collect()
    }

    // Expected values: Pillow 13.0 on the same images.
    #[test]
    fn grey_of_few_bits_is_spread_over_the_whole_range() {
        let gray = |depth, width, byte| {
            first_channel(&encode(width, ColorType::Grayscale, depth, &[byte], NONE))
        };
        assert_eq!(gray(BitDepth::One, 4, 0b1010_0000), [255, 0, 255, 0]);
        assert_eq!(gray(BitDepth::Two, 4, 0b0001_1011), [0, 85, 170, 255]);
        assert_eq!(gray(BitDepth::Four, 2, 0x3C), [51, 204]);
    }

    #[test]
    fn sixteen_bit_grey_is_clipped_and_other_sixteen_bit_channels_lose_their_lower_byte() {
        let data = sixteen(&[0, 100, 255, 256, 5000, 65535]);
        let gray = encode(6, ColorType::Grayscale, BitDepth::Sixteen, &data, NONE);
        assert_eq!(first_channel(&gray), [0, 100, 255, 255, 255, 255]);
        let transparent = Chunks {
            transparent: Some(&[0, 100]),
            ..NONE
        };
        let gray = encode(
            6,
            ColorType::Grayscale,
            BitDepth::Sixteen,
            &data,
            transparent,
        );
        assert_eq!(first_channel(&gray), [0, 100, 255, 255, 255, 255]);

        let rgb = encode(
            1,
            ColorType::Rgb,
            BitDepth::Sixteen,
            &sixteen(&[255, 256, 65535]),
            NONE,
        );
        assert_eq!(decode(&rgb).unwrap().pixels, [0, 1, 255]);
        let rgba = encode(
            1,
            ColorType::Rgba,
            BitDepth::Sixteen,
            &sixteen(&[255, 511, 65535, 0]),
            NONE,
        );
        assert_eq!(decode(&rgba).unwrap().pixels, [0, 1, 255]);
        let alpha = encode(
            2,
            ColorType::GrayscaleAlpha,
            BitDepth::Sixteen,
            &sixteen(&[5000, 0, 65535, 9]),
            NONE,
        );
        assert_eq!(first_channel(&alpha), [19, 255]);
    }

    #[test]
    fn a_palette_that_ends_within_a_colour_is_refused() {
        for bytes in [0, 1, 2, 4, 5] {
            let palette = Chunks {
                palette: Some(&[9; 5][..bytes]),
                transparent: Some(&[0]),
            };
            let file = encode(2, ColorType::Indexed, BitDepth::Eight, &[0, 1], palette);
            let message = decode(&file).unwrap_err().to_string();
            assert!(message.starts_with("corrupt PNG: "), "{bytes}: {message}");
        }
    }

    #[test]
    fn alpha_and_transparency_are_dropped() {
        let rgba = encode(
            2,
            ColorType::Rgba,
            BitDepth::Eight,
            &[1, 2, 3, 0, 4, 5, 6, 128],
            NONE,
        );
        assert_eq!(decode(&rgba).unwrap().pixels, [1, 2, 3, 4, 5, 6]);
        let alpha = encode(
            2,
            ColorType::GrayscaleAlpha,
            BitDepth::Eight,
            &[7, 0, 200, 9],
            NONE,
        );
        assert_eq!(decode(&alpha).unwrap().pixels, [7, 7, 7, 200, 200, 200]);
        let transparent = Chunks {
            transparent: Some(&[0, 1, 0, 2, 0, 3]),
            ..NONE
        };
        let rgb = encode(1, ColorType::Rgb, BitDepth::Eight, &[1, 2, 3], transparent);
        assert_eq!(decode(&rgb).unwrap().pixels, [1, 2, 3]);
    }

    #[test]
    fn palettes_are_looked_up_and_black_beyond_their_end() {
        let palette = || Chunks {
            palette: Some(&[10, 20, 30, 40, 50, 60]),
            transparent: None,
        };
        let eight = encode(
            4,
            ColorType::Indexed,
            BitDepth::Eight,
            &[0, 1, 2, 200],
            palette(),
        );
        assert_eq!(
            decode(&eight).unwrap().pixels,
            [10, 20, 30, 40, 50, 60, 0, 0, 0, 0, 0, 0]
        );
        let transparent = Chunks {
            transparent: Some(&[0, 128]),
            ..palette()
        };
        let two = encode(2, ColorType::Indexed, BitDepth::Eight, &[1, 0], transparent);
        assert_eq!(decode(&two).unwrap().pixels, [40, 50, 60, 10, 20, 30]);
        let one = encode(
            4,
            ColorType::Indexed,
            BitDepth::One,
            &[0b1010_0000],
            palette(),
        );
        assert_eq!(first_channel(&one), [40, 10, 40, 10]);
    }

    #[test]
    fn a_file_cut_at_any_length_is_an_error() {
        let data: Vec<u8> = (0..96).map(|i| (i * i * 7) as u8).collect();
        let file = encode(32, ColorType::Rgb, BitDepth::Eight, &data, NONE);
        // The end chunk is 12 bytes without content; once its header is there nothing is missing.
        for n in 0..file.len() - 4 {
            let cut = super::super::decode(&file[..n]);
            assert!(cut.is_err(), "cut at {n} of {}", file.len());
        }
        assert_eq!(decode(&file).unwrap().pixels, data);
        assert!(
            decode(&file[..40])
                .unwrap_err()
                .to_string()
                .contains("truncated")
        );
    }

    #[test]
    fn a_changed_byte_is_an_error() {
        let data: Vec<u8> = (0..96).map(|i| (i * i * 7) as u8).collect();
        let file = encode(32, ColorType::Rgb, BitDepth::Eight, &data, NONE);
        for at in 8..file.len() - 20 {
            let mut changed = file.clone();
            changed[at] ^= 0x10;
            assert!(
                decode(&changed).map_or(true, |image| image.pixels == data),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_huge_size_is_refused_before_memory_is_taken() {
        // IHDR of a 60000 x 60000 image, with its checksum; nothing else is read.
        let mut file =
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0".to_vec();
        file.extend(0u32.to_be_bytes());
        let mut crc = u32::MAX;
        for byte in &file[12..29] {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 {
                    crc >> 1 ^ 0xEDB8_8320
                } else {
                    crc >> 1
                };
            }
        }
        file[29..].copy_from_slice(&(!crc).to_be_bytes());
        let error = decode(&file).unwrap_err().to_string();
        assert!(error.contains("60000 x 60000 is more than"), "{error}");
    }
}
