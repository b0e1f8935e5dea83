//! The random numbers of the synthetic set: SplitMix64 (Steele, Lea and Flood 2014), fixed by its specification.
//!
//! Number n of a stream is `mix(key + (n + 1) * GAMMA)` modulo 2^64, so a stream is its key and a counter, and no
//! library's next version can change it. Everything is 64-bit integer arithmetic: the same on every machine.

/// The increment of the counter: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finalizer; a bijection, so different keys never collide.
pub fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One stream of numbers.
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of this key.
    pub fn new(key: u64) -> Random {
        Random { state: key }
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in `0..n`, up to a bias of n / 2^32; `n` from 1 to 2^31.
    pub fn below(&mut self, n: i32) -> i32 {
        (((self.bits() >> 32) * n as u64) >> 32) as i32
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below(high - low + 1)
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: i32) -> bool {
        self.below(100) < percent
    }

    /// -1 or 1.
    pub fn sign(&mut self) -> i32 {
        1 - 2 * self.below(2)
    }

    /// Bell-shaped around 0: the sum of four uniform values of 12 bits less their mean. Its standard deviation is
    /// 4096 / sqrt(3) = 2365 (less a millionth), its range -8190..=8190.
    pub fn bell(&mut self) -> i32 {
        let bits = self.bits();
        (0..4)
            .map(|k| ((bits >> (16 * k)) & 0xfff) as i32)
            .sum::<i32>()
            - 8190
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64_as_specified() {
        // The first outputs of the reference implementation (https://prng.di.unimi.it/splitmix64.c) for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let expected: [u64; 5] = [
            6457827717110365317,
            3203168211198807973,
            9817491932198370423,
            4593380528125082431,
            16408922859458223821,
        ];
        assert_eq!(expected.map(|_| random.bits()), expected);
    }

    #[test]
    fn ranges_are_covered_and_not_left() {
        let mut random = Random::new(7);
        let drawn: Vec<i32> = (0..1000).map(|_| random.between(-2, 3)).collect();
        for value in -2..=3 {
            assert!(drawn.iter().filter(|&&v| v == value).count() > 100);
        }
        assert!(drawn.iter().all(|v| (-2..=3).contains(v)));
    }

    #[test]
    fn the_bell_has_the_stated_width() {
        let mut random = Random::new(7);
        let n = 100_000;
        let drawn: Vec<f64> = (0..n).map(|_| f64::from(random.bell())).collect();
        let mean = drawn.iter().sum::<f64>() / f64::from(n);
        let deviation =
            (drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n)).sqrt();
        assert!(mean.abs() < 30.0, "{mean}");
        assert!((deviation - 2365.0).abs() < 25.0, "{deviation}");
    }
}
