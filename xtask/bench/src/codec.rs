//! Decoding and encoding.

pub mod cases;
pub mod decoders;
pub mod encoders;
