//! Work of the codec and of the core's machines that `cargo xtask guards` counts: instructions by valgrind, allocations by an
//! allocator that counts. No socket, no runtime and no clock decides how much of either there is.

pub mod cluster;
pub mod codec;
pub mod figures;
pub mod gets;
pub mod meter;
pub mod replies;
pub mod world;
