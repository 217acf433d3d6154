//! Printing that ends the process quietly when nobody reads any more, as in `cargo xtask breakages --list | head -1`.
//!
//! The macros take the place of those of std, which panic then.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// What a shell reports for a program that the signal SIGPIPE has ended.
const BROKEN_PIPE: i32 = 128 + 13;

macro_rules! print {
    ($($argument:tt)*) => { $crate::print::print(format_args!($($argument)*)) };
}

macro_rules! println {
    ($($argument:tt)*) => { $crate::print::print(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Writes `text` to the standard output.
///
/// # Panics
/// When the output cannot be written for any other reason than that its reader is gone.
pub(crate) fn print(text: Arguments<'_>) {
    if cfg!(test) {
        // The test harness captures nothing but what goes through the macros of std.
        std::print!("{text}");
        return;
    }
    match std::io::stdout().write_fmt(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(BROKEN_PIPE),
        written => written.expect("the standard output can be written"),
    }
}
