//! A short round of every reader, the same inputs each time; and that the bounds are kept by force.

use std::alloc::System;
use std::process::Command;

use fuzz::mutate::Grammar;
use fuzz::{Allocator, READERS, Reader, Round, Verdict, driver};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new(System, usize::MAX);

/// Inputs of each reader; those that make many files are slower.
fn inputs(reader: &Reader) -> u64 {
    match reader.grammar {
        Grammar::Csv | Grammar::Tree | Grammar::Zip => 1000,
        _ => 3000,
    }
}

const CHILD: &str = "QUANTLAB_FUZZ_CHILD";

/// Runs a test of this file once more, in a process of its own; what it said, and whether it passed.
fn child(test: &str, limits: &str) -> (String, bool) {
    let output = Command::new("sh")
        .args(["-c", &format!("{limits}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env("RAYON_NUM_THREADS", "2")
        .env("MALLOC_ARENA_MAX", "2")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (said.into_owned(), output.status.success())
}

fn is_child(test: &str) -> bool {
    std::env::var_os(CHILD).is_some_and(|name| name == test)
}

/// What C allocates, the JPEG decoder's part, only the system can refuse.
#[cfg(unix)]
#[test]
fn every_reader_takes_or_refuses_every_input_within_its_bounds() {
    let (said, passed) = child("round", "ulimit -v 4194304");
    assert!(passed && said.contains("1 passed"), "{said}");
    let rounds = said
        .lines()
        .filter(|line| line.contains(" inputs, "))
        .count();
    assert_eq!(rounds, READERS.len(), "{said}");
}

#[test]
fn round() {
    if !is_child("round") {
        return;
    }
    for reader in READERS {
        let mut round = Round::new(reader, Some(&ALLOCATOR), 0, None).unwrap();
        while round.inputs < inputs(reader) {
            round.step().unwrap_or_else(|error| panic!("{error:#}"));
        }
        // Refusals of many kinds: what is refused by its first bytes tests nothing.
        assert!(
            round.verdicts() > 4,
            "{}: {} verdicts",
            reader.name,
            round.verdicts()
        );
        println!(
            "{}: {} inputs, {} verdicts",
            reader.name,
            round.inputs,
            round.verdicts()
        );
    }
}

const fn reader(read: fn(&std::path::Path, &[u8]) -> Verdict) -> Reader {
    Reader {
        name: "made-up",
        grammar: Grammar::Bytes,
        memory: 1 << 20,
        read,
    }
}

fn held(reader: &Reader) -> String {
    driver::watch();
    let place = tempfile::tempdir().unwrap();
    match driver::hold(reader, Some(&ALLOCATOR), place.path(), b"input") {
        Ok((verdict, _)) => format!("{verdict:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn panics_caught_ones_too_and_long_words_and_several_lines_are_faults() {
    if !is_child("panics_caught_ones_too_and_long_words_and_several_lines_are_faults") {
        let (said, passed) = child(
            "panics_caught_ones_too_and_long_words_and_several_lines_are_faults",
            ":",
        );
        return assert!(passed && said.contains("1 passed"), "{said}");
    }
    assert_eq!(held(&reader(|_, _| Verdict::Taken)), "Taken");
    assert_eq!(held(&reader(|_, _| panic!("here"))), "a panic");
    let caught = reader(|_, _| {
        let _ = std::panic::catch_unwind(|| panic!("there"));
        Verdict::Taken
    });
    assert_eq!(held(&caught), "a panic that was caught");
    let lines = reader(|_, _| Verdict::Refused("one\ntwo".to_owned()));
    assert!(held(&lines).starts_with("a refusal that is no line"));
    let long = reader(|_, _| Verdict::Refused("x".repeat(10_000)));
    assert!(held(&long).starts_with("a refusal of 10000 bytes"));
    let slow = reader(|_, _| {
        std::thread::sleep(driver::LONGEST_TIME);
        Verdict::Taken
    });
    assert!(held(&slow).contains("for an input of 5 bytes"));
}

#[cfg(unix)]
#[test]
fn memory_beyond_the_bound_ends_the_program() {
    let name = "memory_beyond_the_bound_ends_the_program";
    if is_child(name) {
        let large = reader(|_, _| {
            std::hint::black_box(vec![1u8; 2 << 20]);
            Verdict::Taken
        });
        println!("{}", held(&large));
        return;
    }
    let (said, passed) = child(name, ":");
    assert!(
        !passed && said.contains("memory allocation of 2097152 bytes failed"),
        "{said}"
    );
}
