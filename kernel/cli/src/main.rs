//! The `carapace` binary.
fn main() {}
