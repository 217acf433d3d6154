//! A few lines of a terminal that are drawn over and over.

use std::io::{Write, stdout};

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// A line that is too long is cut, not continued on the next.
const CUT_LINES: &str = "\x1b[?7l";
const WRAP_LINES: &str = "\x1b[?7h";
const CLEAR_LINE: &str = "\x1b[K";

/// Dropping it leaves the terminal as it was, with what was drawn last.
pub(super) struct Terminal {
    height: usize,
}

impl Terminal {
    pub(super) fn new() -> Self {
        write(&format!("{HIDE_CURSOR}{CUT_LINES}"));
        Self { height: 0 }
    }

    /// Draws over what was drawn before.
    pub(super) fn draw(&mut self, lines: &[String]) {
        let mut text = if self.height == 0 { String::new() } else { format!("\x1b[{}A", self.height) };
        for line in lines {
            text.push_str(line);
            text.push_str(CLEAR_LINE);
            text.push_str("\r\n");
        }
        self.height = lines.len();
        write(&text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        write(&format!("{WRAP_LINES}{SHOW_CURSOR}"));
    }
}

/// Writes at once; the terminal may be gone.
fn write(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}
