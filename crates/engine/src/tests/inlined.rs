//! Whether the compiler put every instruction where it is used.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use object::{Object, ObjectSymbol};

/// An intrinsic within a closure that is not inlined has no registers of its own: it becomes a function of one instruction, which passes
/// its operands through memory, and nothing but the time shows it.
#[test]
fn no_instruction_of_a_kernel_is_a_call() {
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let program = object::File::parse(&*program).unwrap();
    let names = || program.symbols().filter_map(|symbol| symbol.name().ok());
    assert!(
        names().any(|name| name.contains("quarters")),
        "names are there"
    );
    let calls: Vec<_> = names()
        .filter(|name| name.contains("core_arch") && name.contains("avx"))
        .collect();
    assert_eq!(calls, [""; 0]);
}
