//! The numbers that inputs are made from: xorshift64* (Vigna 2016, arXiv:1402.6246), begun by splitmix64. The same in every version, so
//! that an input can be named by its number.

/// A generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of a number.
    pub fn new(seed: u64) -> Self {
        let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((x ^ (x >> 31)) | 1)
    }

    /// Any number.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.bits() >> 32) as usize * n) >> 32
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `all`, which must not be empty.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A part of `0..len`, mostly a short one.
    pub fn range(&mut self, len: usize) -> std::ops::Range<usize> {
        let start = self.below(len + 1);
        let longest = match self.below(4) {
            0 => len - start,
            1 => 64,
            _ => 8,
        };
        start..start + self.below(longest.min(len - start) + 1)
    }
}

/// Numbers at which something happens: ends of types, powers of two and their neighbours.
pub fn awkward(random: &mut Random) -> u64 {
    let power = 1u64 << random.below(64);
    match random.below(8) {
        0 => random.below(4) as u64,
        1 => random.below(300) as u64,
        2 => power,
        3 => power.wrapping_sub(1),
        4 => power.wrapping_neg(),
        5 => power.wrapping_add(1),
        6 => u64::MAX - random.below(3) as u64,
        _ => random.bits(),
    }
}

/// The same as text, and texts that look like numbers.
pub fn awkward_text(random: &mut Random) -> String {
    const WORDS: &[&str] = &[
        "",
        "0",
        "-0",
        "-1",
        "1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e308",
        "1e-320",
        "1e999",
        "0x10",
        "1_000",
        "+1",
        "1.",
        ".5",
        "18446744073709551616",
        "-9223372036854775809",
        "4294967296",
        "2147483648",
        "99999999999999999999999999999999999",
        "true",
        "false",
        "\u{0}",
        "\u{7f}",
        "\u{1b}[2J",
        "\u{202e}",
        "\u{feff}",
        "a\nb",
        "a\r\nb",
        "\"",
        "\"\"",
        ",",
        ";",
        "=",
        "'",
        "\u{1F600}",
        "ok",
        "failed",
        "float",
        "kept",
    ];
    match random.below(4) {
        0 => (awkward(random) as i64).to_string(),
        1 => awkward(random).to_string(),
        2 => {
            let x = f64::from_bits(random.bits());
            if random.one_in(2) {
                x.to_string()
            } else {
                (x as f32 / 1e30).to_string()
            }
        }
        _ => (*random.pick(WORDS)).to_owned(),
    }
}
