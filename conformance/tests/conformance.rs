//! The suite over the bare machine, in virtual time.

hitless_conformance::suite!(hitless_conformance::direct::Direct, virtual_time);
