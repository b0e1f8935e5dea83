//! The readers under libFuzzer, the one that `QUANTLAB_FUZZ` names; docs/hostile-files.md has the command.

#![no_main]

use std::alloc::System;
use std::sync::LazyLock;

use fuzz::random::Random;
use fuzz::{Allocator, READERS, Reader, driver, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new(System, usize::MAX);

static READER: LazyLock<&Reader> = LazyLock::new(|| {
    driver::watch();
    let name = std::env::var("QUANTLAB_FUZZ").expect("QUANTLAB_FUZZ names a reader");
    READERS.iter().find(|reader| reader.name == name).expect("QUANTLAB_FUZZ names a reader")
});

static PLACE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder for inputs")
});

fuzz_target!(|input: &[u8]| {
    if let Err(error) = driver::hold(&READER, Some(&ALLOCATOR), PLACE.path(), input) {
        eprintln!("{error:#}");
        std::process::abort();
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(seed.into());
    if random.one_in(4) {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    let other = random.pick(&SEEDS).clone();
    mutate::mutate(&mut input, &other, READER.grammar, &mut random);
    input.truncate(max_size);
    data[..input.len()].copy_from_slice(&input);
    input.len()
});

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| fuzz::seeds::of(&READER).expect("seeds"));
