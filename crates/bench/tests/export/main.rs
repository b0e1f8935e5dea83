//! `export` as a user meets it, of settings, of finished runs and of a sweep, and what is in its files.

#[path = "../../../../testing/data.rs"]
mod data;
mod integers;
mod peers;
mod place;
#[path = "../program/mod.rs"]
mod program;
mod runs;
#[path = "../shipped/mod.rs"]
mod shipped;
mod sweeps;
