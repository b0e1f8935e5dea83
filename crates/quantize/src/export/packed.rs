//! Codes of 1 to 8 bits without gaps, in words of 32 bits: how compressed-tensors has them in its format `pack-quantized`.
//!
//! A row of signed codes q of b bits is one string of bits: code i, as q + 2^(b - 1), stands from bit b i on, its lowest bit first; bit k
//! is bit k mod 32 of word k / 32. Codes cross words where 32 is no multiple of b, and a row ends with zeros that fill its last word.
//! (Older versions of compressed-tensors leave the end of each word empty instead, which is the same for 1, 2, 4 and 8 bits.)

/// Most bits of a code that is packed.
pub(super) const MOST_BITS: u32 = 8;

/// Words that a row of so many codes takes.
pub(super) fn words(codes: usize, bits: u32) -> usize {
    (codes * bits as usize).div_ceil(32)
}

/// Whether each of `codes` is one of `bits` bits, and these can be packed.
pub(super) fn fits(codes: &[i32], bits: u32) -> bool {
    let half = 1_i64 << (bits - 1);
    bits <= MOST_BITS && codes.iter().all(|&q| (-half..half).contains(&q.into()))
}

/// A row of codes that [`fits`].
pub(super) fn row(codes: impl ExactSizeIterator<Item = i32>, bits: u32) -> Vec<i32> {
    let mut row = vec![0_u32; words(codes.len(), bits)];
    for (i, code) in codes.enumerate() {
        let unsigned = (code + (1 << (bits - 1))) as u32;
        let (word, shift) = (i * bits as usize / 32, i * bits as usize % 32);
        row[word] |= unsigned << shift;
        if shift + bits as usize > 32 {
            row[word + 1] |= unsigned >> (32 - shift);
        }
    }
    row.into_iter().map(|word| word as i32).collect()
}

/// `[rows, columns]` packed along the rows: `[rows, words(columns)]`.
pub(super) fn rows(codes: &[i32], columns: usize, bits: u32) -> Vec<i32> {
    let rows = codes.chunks(columns.max(1));
    rows.flat_map(|codes| row(codes.iter().copied(), bits))
        .collect()
}

/// `[rows, columns]` packed along the columns: `[words(rows), columns]`.
pub(super) fn columns(codes: &[i32], columns: usize, bits: u32) -> Vec<i32> {
    let column = |c: usize| row(codes.iter().skip(c).step_by(columns).copied(), bits);
    let packed: Vec<Vec<i32>> = (0..columns).map(column).collect();
    let words = words(codes.len() / columns.max(1), bits);
    let words = (0..words).flat_map(|word| packed.iter().map(move |column| column[word]));
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some numbers of `bits` bits, signed.
    fn some(n: usize, bits: u32) -> Vec<i32> {
        let half = 1 << (bits - 1);
        let code = |i: usize| (i * i * 31 + 7 * i) as i32 % (2 * half) - half;
        (0..n).map(code).collect()
    }

    /// Code `i` of a row, bit by bit.
    fn code(row: &[i32], i: usize, bits: u32) -> i32 {
        let bit = |k: usize| row[k / 32] as u32 >> (k % 32) & 1;
        let bits = bits as usize;
        let all = (0..bits).map(|j| bit(i * bits + j) << j).sum::<u32>();
        all as i32 - (1 << (bits - 1))
    }

    #[test]
    fn a_word_of_known_codes_is_the_one_that_compressed_tensors_makes() {
        let four = row([1, 2, 3, 4, 5, 6, 7, -8].into_iter(), 4);
        assert_eq!(four, [0x0FED_CBA9]);
        let two = row([-2, -1, 0, 1].into_iter(), 2);
        assert_eq!(two, [0b11_10_01_00]);
        let eight = row([-128, 127, 0, -1, 1].into_iter(), 8);
        assert_eq!(eight, [0x7F80_FF00, 0x81]);
        // The eleventh code of 3 bits has two of them in the first word.
        let three = row([-4, -4, -4, -4, -4, -4, -4, -4, -4, -4, 3].into_iter(), 3);
        assert_eq!(three, [0xC000_0000_u32 as i32, 1]);
    }

    #[test]
    fn each_code_stands_where_its_bits_belong_and_the_rest_is_zero() {
        for bits in 1..=MOST_BITS {
            for n in [0, 1, 7, 31, 32, 33, 100] {
                let codes = some(n, bits);
                assert!(fits(&codes, bits));
                let packed = row(codes.iter().copied(), bits);
                assert_eq!(packed.len(), (n * bits as usize).div_ceil(32));
                let back: Vec<i32> = (0..n).map(|i| code(&packed, i, bits)).collect();
                assert_eq!(back, codes, "{bits} bits, {n}");
                let used = n * bits as usize % 32;
                if used > 0 {
                    assert_eq!(packed[packed.len() - 1] as u32 >> used, 0);
                }
            }
        }
    }

    #[test]
    fn rows_and_columns_are_packed_each_by_itself() {
        let (bits, high, wide) = (3, 13, 5);
        let codes = some(high * wide, bits);
        let (along, across) = (rows(&codes, wide, bits), columns(&codes, wide, bits));
        assert_eq!((along.len(), across.len()), (high, 2 * wide));
        for r in 0..high {
            for c in 0..wide {
                let own = codes[r * wide + c];
                assert_eq!(code(&along[r..=r], c, bits), own);
                let column: Vec<i32> = across.iter().skip(c).step_by(wide).copied().collect();
                assert_eq!(code(&column, r, bits), own);
            }
        }
    }

    #[test]
    fn what_has_more_bits_does_not_fit() {
        assert!(fits(&[-8, 7], 4) && !fits(&[8], 4) && !fits(&[-9], 4));
        assert!(fits(&[-128, 127], 8) && !fits(&[0], 9));
    }
}
