//! Plain Rust compiled for an instruction set's registers.
//!
//! What is inlined into a function that has a target feature is compiled for that feature: loops become wider vectors, while every
//! operation stays the same, because Rust never fuses a multiplication with an addition. Closures will not do: no attribute makes
//! sure that one is inlined, and one that is not stays as narrow as the rest of the program.

use crate::kernel::Isa;

/// A loop over slices.
pub(crate) trait Body {
    type Out;
    /// Runs it. Implementations and what they spend their time in are `#[inline(always)]`.
    fn run(self) -> Self::Out;
}

/// `body.run()`, compiled for `isa`, which the processor must have: it is a result of [`Isa::check`] or [`Isa::best`].
pub(crate) fn wide<B: Body>(isa: Isa, body: B) -> B::Out {
    match isa {
        // SAFETY, for both: the processor has the instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { x86::avx512(body) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::AvxVnni | Isa::Avx2 => unsafe { x86::avx2(body) },
        _ => body.run(),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Body;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn avx512<B: Body>(body: B) -> B::Out {
        body.run()
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2<B: Body>(body: B) -> B::Out {
        body.run()
    }
}
