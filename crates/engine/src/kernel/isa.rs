//! Which instructions the processor has.

use crate::error::Error;

/// An instruction set that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// [`Isa::Avx512`] with BW, VL and VNNI: 64 products of bytes in an instruction.
    Avx512Vnni,
    /// x86-64 with AVX-512 (F): 32 registers of 16 floats. Integers as [`Isa::Avx2`].
    Avx512,
    /// [`Isa::Avx2`] with VNNI: 32 products of bytes in an instruction.
    AvxVnni,
    /// x86-64 with AVX2 and FMA: 16 registers of 8 floats.
    Avx2,
    /// [`Isa::Neon`] with the dot product: 16 products of bytes in an instruction.
    NeonDot,
    /// 64-bit ARM: 32 registers of 4 floats. Integers in plain Rust.
    Neon,
    /// Plain Rust, for every processor; multiplies and adds in two roundings.
    Portable,
}

impl Isa {
    /// All of them, the fastest first.
    pub const ALL: [Self; 7] = [
        Self::Avx512Vnni,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonDot,
        Self::Neon,
        Self::Portable,
    ];

    /// Those that this processor can run, the fastest first; never empty.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(Self::is_available).collect()
    }

    /// The fastest one that this processor can run.
    pub fn best() -> Self {
        Self::ALL
            .into_iter()
            .find(Self::is_available)
            .unwrap_or(Self::Portable)
    }

    /// Its name: `avx512-vnni`, `avx512`, `avx-vnni`, `avx2`, `neon-dot`, `neon`, `portable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512 => "avx512",
            Self::AvxVnni => "avx-vnni",
            Self::Avx2 => "avx2",
            Self::NeonDot => "neon-dot",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// The inverse of [`Isa::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// `self`, if this processor can run it.
    ///
    /// # Errors
    /// [`Error::Isa`].
    pub fn check(self) -> Result<Self, Error> {
        if self.is_available() {
            return Ok(self);
        }
        let names: Vec<_> = Self::available().into_iter().map(Self::name).collect();
        Err(Error::Isa {
            isa: self.name(),
            available: names.join(", "),
        })
    }

    fn is_available(&self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available()
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => {
                Self::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_first_available_and_what_is_missing_is_refused_by_name() {
        let available = Isa::available();
        assert_eq!(available.first(), Some(&Isa::best()));
        assert!(available.contains(&Isa::Portable));
        for isa in Isa::ALL {
            assert_eq!(Isa::parse(isa.name()), Some(isa));
            match isa.check() {
                Ok(found) => assert!(found == isa && available.contains(&isa)),
                Err(error) => {
                    let message = error.to_string();
                    assert!(message.contains(isa.name()) && message.contains("portable"));
                }
            }
        }
    }
}
