//! fetch
fn main() {}
