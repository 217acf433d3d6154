//! Counts allocations. Run by `hitless-bench`.
fn main() {}
