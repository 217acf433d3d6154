//! Benchmarks of this workspace's crates, side by side with the crates that people would use instead.
//!
//! `hitless-bench` takes the times, `hitless-bench-allocations` counts allocations of the same work. All contenders
//! of a codec's case run in one process, those of a client's load in a process each, always in turns and many rounds
//! long: only the ratios between them mean anything.

pub mod client;
pub mod codec;
pub mod counting;
pub mod handoff;
pub mod measure;
pub mod moves;
mod program;
mod results;
