//! Images and folders of them.

use anyhow::Result;

use super::{crates, with_ending};
use crate::mutate::images::{png, zlib};
use crate::mutate::joined;

/// The JPEG files of `dataset`'s tests, and PNG files of every kind.
pub fn images() -> Result<Vec<Vec<u8>>> {
    let mut found = with_ending(&crates().join("dataset/tests/data"), ".jpg")?;
    // Depth, colour, bytes of a row of three pixels.
    for (depth, colour, row) in [
        (1, 0, 1),
        (8, 0, 3),
        (16, 0, 6),
        (8, 2, 9),
        (16, 2, 18),
        (4, 3, 2),
        (8, 4, 6),
        (8, 6, 12),
        (16, 6, 24),
    ] {
        for interlace in [0, 1] {
            let mut header = [0u8; 13];
            header[3] = 3;
            header[7] = 2;
            header[8] = depth;
            header[9] = colour;
            header[12] = interlace;
            let data = zlib(&vec![1; 2 * (row + 1) + 12 * usize::from(interlace)]);
            let mut chunks = vec![(b"IHDR".to_vec(), header.to_vec())];
            if colour == 3 {
                chunks.push((b"PLTE".to_vec(), vec![9; 9]));
                chunks.push((b"tRNS".to_vec(), vec![0; 2]));
            }
            chunks.extend([(b"IDAT".to_vec(), data), (b"IEND".to_vec(), Vec::new())]);
            found.push(png(&chunks));
        }
    }
    Ok(found)
}

/// Trees: classes by name, by number, by WordNet id, with a list, with links, without classes.
pub fn folders() -> Result<Vec<Vec<u8>>> {
    let images = images()?;
    let image = |at: usize| &images[at % images.len()][..];
    Ok(vec![
        joined(&[
            ("cat/1.png", image(6)),
            ("dog/2.png", image(8)),
            ("dog/deep/3.jpg", image(3)),
        ]),
        joined(&[
            ("0/a.jpg", image(3)),
            ("1/b.jpg", image(1)),
            ("10/c.png", image(7)),
            ("outputs", b"\x0c"),
        ]),
        joined(&[
            ("n01440764/a.JPEG", image(3)),
            ("n02102040/b.JPEG", image(6)),
            ("skip", b""),
            ("n02102040/c.JPEG", b"no image"),
        ]),
        joined(&[
            ("b/a.png", image(8)),
            ("a/a.png", image(8)),
            ("classes.txt", b"a\nb\nn01440764 tench, Tinca tinca\n"),
        ]),
        joined(&[
            ("a/a.png", image(8)),
            ("a/again@", b"a"),
            ("a/up@", b"/"),
            ("b@", b"a"),
            ("c/nothing.png@", b"nowhere"),
        ]),
        joined(&[
            ("a.png", image(8)),
            ("b.jpg", image(3)),
            ("c.gif", b"GIF89a"),
        ]),
    ])
}

/// One row of each set.
pub fn cifar_binary() -> Vec<Vec<u8>> {
    let row = |first: u8, labels: usize| [vec![first], vec![7; labels], vec![100; 3072]].concat();
    vec![
        row(0, 1),
        row(1, 2),
        [row(0, 1), vec![1; 3073]].concat(),
        vec![0],
    ]
}

/// One row, as Python 2 and as Python 3 write it.
pub fn cifar_python() -> Vec<Vec<u8>> {
    let file = |start: &[u8], name: u8, bytes: u8, array: &[u8]| {
        let put = |out: &mut Vec<u8>, word: &str| {
            out.extend([name, word.len() as u8]);
            out.extend(word.as_bytes());
        };
        let mut out = start.to_vec();
        put(&mut out, "labels");
        out.extend(b"](K\x05e");
        put(&mut out, "data");
        out.extend(array);
        out.extend(b"(K\x01K\x01M\0\x0c\x86cnumpy\ndtype\n");
        put(&mut out, "u1");
        out.extend(b"K\0K\x01\x87R(K\x03");
        put(&mut out, "|");
        out.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89");
        out.push(bytes);
        out.extend(3072u32.to_le_bytes());
        out.extend([9; 3072]);
        out.extend(b"tbu.");
        out
    };
    vec![
        file(b"\x80\x02}q\x01(", b'U', b'T', b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\0\x85U\x01b\x87R"),
        file(
            b"\x80\x04\x95\0\0\0\0\0\0\0\0}\x94(",
            b'C',
            b'B',
            b"\x8c\x16numpy._core.multiarray\x94\x8c\x0c_reconstruct\x94\x93\x94\x8c\x05numpy\x94\x8c\x07ndarray\x94\x93\x94K\0\x85\x94C\x01b\x94\x87\x94R\x94",
        ),
    ]
}
