//! Plain Rust compiled for an instruction set's registers.
//!
//! What is called within a function that has a target feature, and inlined into it, is compiled for that feature: loops become wider
//! vectors, while every operation stays the same, because Rust never fuses a multiplication with an addition.

use crate::kernel::Isa;

/// `body()`, compiled for `isa`, which the processor must have: it is a result of [`Isa::check`].
#[inline(always)]
pub(crate) fn wide<T>(isa: Isa, body: impl FnOnce() -> T) -> T {
    match isa {
        // SAFETY, for both: the processor has the instructions.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => unsafe { x86::avx512(body) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::AvxVnni | Isa::Avx2 => unsafe { x86::avx2(body) },
        _ => body(),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn avx512<T>(body: impl FnOnce() -> T) -> T {
        body()
    }

    #[target_feature(enable = "avx2")]
    pub unsafe fn avx2<T>(body: impl FnOnce() -> T) -> T {
        body()
    }
}
