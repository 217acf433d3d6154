//! One line per operation.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::hitless::{Delivery, Error, RequestError, SendError};
use super::summary::Summary;

/// The longest status.
const STATUS: usize = 90;

/// Ties the monotonic clock to the calendar once, so that differences between times are exact.
#[derive(Clone, Copy)]
pub(crate) struct Epoch {
    instant: Instant,
    since_epoch: Duration,
}

impl Epoch {
    #[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), since_epoch }
    }

    /// Seconds from 1970 to `instant`.
    pub(crate) fn seconds(&self, instant: Instant) -> f64 {
        (self.since_epoch + instant.saturating_duration_since(self.instant)).as_secs_f64()
    }
}

#[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Incr,
    Set,
    Get,
    Message,
    /// BLPOP.
    Pop,
    /// MSET of a pair.
    SetPair,
    /// MGET of it.
    GetPair,
}

/// What became of one operation.
pub(crate) struct Record {
    /// Seconds since 1970.
    pub(crate) start: f64,
    pub(crate) latency: Duration,
    pub(crate) op: Op,
    pub(crate) status: String,
    pub(crate) worker: u32,
    pub(crate) value: String,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = match self.op {
            Op::Incr => 'I',
            Op::Set => 'S',
            Op::Get => 'G',
            Op::Message => 'M',
            Op::Pop => 'B',
            Op::SetPair => 'P',
            Op::GetPair => 'Q',
        };
        let Self { start, latency, status, worker, value, .. } = self;
        write!(f, "{start:.6},{},{op},{status},{worker},{value}", latency.as_micros())
    }
}

/// `Type:text` for an error: one line, no comma, not too long. If the request may have run, the text begins with
/// `Unknown`.
pub(crate) fn status(error: &Error) -> String {
    let kind = match error {
        Error::Refused(_) => "Refused",
        Error::Send(SendError::Full(_)) => "Full",
        Error::Request(RequestError::TimedOut { .. }) => "TimedOut",
        Error::Request(RequestError::NotLent { .. }) => "NotLent",
        Error::Request(RequestError::NoConnection { .. }) | Error::Send(SendError::NoConnection { .. }) => {
            "NoConnection"
        }
        Error::Request(RequestError::ConnectionLost { .. }) => "ConnectionLost",
        Error::Request(RequestError::MoveDeadline { .. }) => "MoveDeadline",
        Error::Request(RequestError::ShutDown { .. }) => "ShutDown",
        Error::Send(_) => "ShuttingDown",
        Error::Server(_) => "Server",
        _ => "Other",
    };
    let delivery = if error.delivery() == Some(Delivery::Unknown) { "Unknown " } else { "" };
    plain(&format!("{kind}:{delivery}{error}"))
}

/// One line, no comma, not too long.
pub(crate) fn plain(text: &str) -> String {
    let plain = |letter: char| match letter {
        ',' => ';',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    text.chars().map(plain).take(STATUS).collect()
}

/// Writes records until no worker is left; the buffer goes out whenever there is nothing else to do.
pub(crate) fn write(file: File, records: &Receiver<Record>) -> io::Result<Summary> {
    let mut file = BufWriter::new(file);
    let mut summary = Summary::default();
    while let Ok(first) = records.recv() {
        for record in std::iter::once(first).chain(records.try_iter()) {
            writeln!(file, "{record}")?;
            summary.add(&record);
        }
        file.flush()?;
    }
    Ok(summary)
}
