//! The cases: what a client must do, whatever it runs on.
//!
//! Each is a function of a [`Host`](crate::world::Host). The comment above it says what must be observed and which rows
//! of INVARIANTS.md it proves; [`CASES`](crate::suite::CASES) reads it from there.

pub mod handshake;
pub mod moving;

/// The text of each file of cases.
pub(crate) mod source {
    #![allow(non_upper_case_globals, reason = "named as the modules are")]

    pub(crate) const handshake: &str = include_str!("handshake.rs");
    pub(crate) const moving: &str = include_str!("moving.rs");
}
