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

mod arg;
mod buffer;
mod command;
mod decoder;
mod element;
mod encode;
mod error;
mod frame;

mod limits;
mod line;
mod stack;
mod work;

pub use arg::ToArg;
pub use command::{Command, cmd, encode_command};
pub use decoder::Decoder;
pub use error::{DecodeError, DecodeErrorKind, Limit};
pub use frame::Frame;
pub use limits::Limits;
