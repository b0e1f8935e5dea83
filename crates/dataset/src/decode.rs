//! Bytes of a JPEG or PNG file to 8-bit RGB, as Pillow's `Image.open(file).convert("RGB")` makes it: for files
//! that are not damaged, to the last bit.
//!
//! The format is told by the first bytes, never by the name: real sets hold PNG bytes in files called `.JPEG`. Alpha and
//! transparency are dropped, not blended; EXIF orientation, gamma and colour profiles are ignored: so does torchvision.
//!
//! Images come from strangers. An image is an error, never a panic, when it is truncated (Pillow refuses those too: a
//! JPEG that stops before its end marker, a PNG whose pixels stop early), corrupt, or declares more than [`MAX_PIXELS`].
//! The declared size is read before anything is allocated.

mod jpeg;
mod png;

use crate::Error;

/// An image as decoded: `[height, width, 3]`, interleaved RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels from left to right, at least 1.
    pub width: usize,
    /// Pixels from top to bottom, at least 1.
    pub height: usize,
    /// `height * width * 3` values.
    pub pixels: Vec<u8>,
}

/// The largest image that is decoded, in pixels: twice Pillow's `MAX_IMAGE_PIXELS`, where Pillow refuses as well.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Names the decoders and their versions, so that pixels cached from other decoders are not mistaken for theirs.
pub const DECODER: &str = "mozjpeg 0.10.13; mozjpeg-sys 2.2.3; png 0.18.1";

/// Decodes a JPEG or PNG file.
///
/// # Errors
/// [`Error::Image`] with the reason, as in the module's header.
pub fn decode(bytes: &[u8]) -> Result<Rgb, Error> {
    let decoder = match bytes {
        [0xFF, 0xD8, 0xFF, ..] => jpeg::decode,
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => png::decode,
        _ => return Err(unknown(bytes)),
    };
    // What libjpeg reports by unwinding is caught by `jpeg`. Beyond that neither decoder is known to panic, but neither
    // promises not to, and one bad file must not end a long run.
    std::panic::catch_unwind(|| decoder(bytes))
        .unwrap_or_else(|_| Err(bad("corrupt: its decoder gave up")))
}

/// Says what a file is that is neither of the two formats.
fn unknown(bytes: &[u8]) -> Error {
    let looks_like = match bytes {
        [] => return bad("the file is empty"),
        [b'G', b'I', b'F', b'8', ..] => "GIF",
        [b'B', b'M', ..] => "BMP",
        [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..] => "TIFF",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "WebP",
        [b'P', b'1'..=b'7', b'\n' | b' ' | b'\r' | b'\t', ..] => "PNM",
        [b'<', ..] => "HTML or XML, perhaps a failed download",
        _ => return bad("neither JPEG nor PNG"),
    };
    bad(format!("neither JPEG nor PNG: it looks like {looks_like}"))
}

/// An undecodable image.
fn bad(detail: impl Into<String>) -> Error {
    Error::Image {
        detail: detail.into(),
    }
}

/// Refuses sizes that no real image has.
fn check_size(width: u64, height: u64) -> Result<(), Error> {
    if width == 0 || height == 0 {
        return Err(bad(format!("corrupt: its size is {width} x {height}")));
    }
    if width.saturating_mul(height) > MAX_PIXELS {
        return Err(bad(format!(
            "{width} x {height} is more than the {MAX_PIXELS} pixels that are decoded"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_image_is_an_error_that_says_so() {
        let reason = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(reason(b""), "the file is empty");
        assert!(reason(b"<!DOCTYPE html>").contains("failed download"));
        assert!(reason(b"RIFF\0\0\0\0WEBPVP8 ").contains("WebP"));
        assert!(reason(b"GIF89a").contains("GIF"));
        assert!(reason(b"hello").contains("neither JPEG nor PNG"));
        assert!(reason(&[0xFF, 0xD8]).contains("neither"));
    }

    #[test]
    fn the_version_string_names_the_locked_decoders() {
        let lock =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"))
                .unwrap();
        for decoder in DECODER.split("; ") {
            let mut words = decoder.split(' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(
                lock.replace("\r\n", "\n").contains(&entry),
                "{decoder}: not the version in Cargo.lock"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            start in prop::sample::select(vec![&[0xFF, 0xD8, 0xFF][..], b"\x89PNG\r\n\x1a\n", b""]),
            bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let _ = decode(&[start, &bytes].concat());
        }

        #[test]
        fn no_damage_makes_it_panic(
            file in prop::sample::select(jpeg::tests::FILES.to_vec()),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let mut bytes = file.to_vec();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            // Not through `decode`, which would catch a panic.
            if bytes.starts_with(&[0xFF, 0xD8, 0xFF]) {
                let _ = jpeg::decode(&bytes);
            }
        }
    }
}
