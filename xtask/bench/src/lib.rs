//! Benchmarks of this workspace's crates, side by side with the crates that people would use instead.
//!
//! `hitless-bench` takes the times, `hitless-bench-allocations` counts allocations of the same work. All contenders
//! of a case run in one process, in turns, many rounds long: only the ratios between them mean anything.

pub mod codec;
pub mod measure;
