//! Bytes to RESP2 and RESP3 frames, and back.
//!
//! [`Decoder`] turns what was read from a connection into [`Frame`]s, [`cmd`] builds what is written to it. The
//! crate does no I/O, keeps no clock and knows no command: it is the bottom layer of a client, of a server or of a
//! proxy.
//!
//! ```
//! use resp3_codec::{Decoder, Frame, Limits, cmd};
//!
//! let request = cmd("SET").arg("greeting").arg("hello").into_bytes();
//! assert_eq!(&request[..], b"*3\r\n$3\r\nSET\r\n$8\r\ngreeting\r\n$5\r\nhello\r\n");
//!
//! let mut decoder = Decoder::new(Limits::default());
//! decoder.buffer().extend_from_slice(b"+OK\r\n:4"); // one read, cut anywhere
//! assert_eq!(decoder.poll_frame()?, Some(Frame::simple("OK")));
//! assert_eq!(decoder.poll_frame()?, None); // needs more bytes
//! decoder.buffer().extend_from_slice(b"2\r\n");
//! assert_eq!(decoder.poll_frame()?, Some(Frame::Integer(42)));
//! # Ok::<(), resp3_codec::DecodeError>(())
//! ```
//!
//! # Types
//!
//! Every type of both versions is decoded and encoded: simple and blob errors, doubles with `inf` and `nan`, big
//! numbers, verbatim strings, booleans, the three nulls, maps and sets in their order of arrival, attributes, pushes,
//! and the streamed forms of strings (`$?`) and aggregates (`*?`, `~?`, `%?`). The version needs no switch: the types
//! of RESP2 are a subset. Pushes come out as [`Frame::Push`], a variant of their own, so that a client can route them
//! before anything else is looked at. Inline commands are not RESP frames and are refused.
//!
//! # Any cut, no rescan
//!
//! However a stream is cut into reads, the frames are the same, and so is the error if there is one. Decoding goes on
//! where it stopped: the open aggregates are kept on an explicit stack, each with the elements that have arrived; a
//! read inside a string of known length costs one comparison; the search for the end of a long line goes on where the
//! last read ended. Twice the input takes twice the time in any chunking.
//!
//! # Memory
//!
//! In steady state a scalar or a string is decoded without an allocation, an aggregate with one (attributes with two;
//! aggregates that are streamed, or of more than 26 000 elements, grow as they arrive).
//! Strings are slices of the memory that was read into. What a frame keeps alive that way is bounded:
//!
//! - Reads go to blocks of 64 KiB, so a small frame keeps 64 KiB alive at most. A block is used again when the frames
//!   in it are gone; two full ones are kept for that.
//! - A string of more than 32 KiB gets an allocation of its own, reserved up to its end as soon as its length is known
//!   (or as it arrives, beyond 2 MiB). What follows it in the same read is moved out. The allocation is kept for the
//!   next large string, if it is no more than 2 MiB, for 32 reads.
//! - [`Decoder::frugal_buffer`] begins with 4 KiB, for connections of which most are quiet.
//! - [`Decoder::shrink`] gives back what is kept for reuse, [`Frame::compact`] copies a frame that is to be kept for
//!   long out of its block.
//!
//! # Hostile peers
//!
//! [`Limits`] bound depth, lines, strings, elements and whole frames. What is announced costs nothing before it
//! arrives, but for room: at most 2 MiB for a string and 1 MiB for elements. An error names what was wrong, at which
//! byte, and which limit; it holds no payload. Nothing panics, whatever the bytes.
//!
//! # Debug output
//!
//! A [`Frame`] shows its values, cut to a bounded length whatever the peer has sent. A [`Command`] shows its name and
//! the number of its arguments, because arguments may be secrets, and a [`Decoder`] shows how much it holds.

mod arg;
mod buffer;
mod command;
mod debug;
mod decoder;
mod element;
mod encode;
mod error;
mod frame;

mod limits;
mod line;
mod stack;
mod work;

pub use arg::{ToArg, ToArgs};
pub use command::{Command, cmd, encode_command};
pub use decoder::Decoder;
pub use error::{DecodeError, DecodeErrorKind, Limit};
pub use frame::Frame;
pub use limits::Limits;
