//! Where frames end in a stream of replies, without building them.

/// The stream is not RESP, or uses a form that no redis server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotResp;

/// Finds the end of each frame; never looks at a byte of a string.
#[derive(Debug)]
pub(super) struct FrameScanner {
    /// Values that the frame in progress still lacks.
    missing: u64,
    /// Start of the next header, counted from the start of the frame; beyond the buffer inside a string.
    at: usize,
}

impl Default for FrameScanner {
    fn default() -> Self {
        Self { missing: 1, at: 0 }
    }
}

impl FrameScanner {
    /// The length of the frame at the start of `bytes`, once it is complete. The caller then removes it.
    pub(super) fn poll_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, NotResp> {
        while self.missing > 0 {
            let Some(rest) = bytes.get(self.at..) else { return Ok(None) };
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            let (tag, digits) = rest[..end].split_first().ok_or(NotResp)?;
            let digits = digits.strip_suffix(b"\r").ok_or(NotResp)?;
            self.at += end + 1;
            match tag {
                b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => self.missing -= 1,
                b'$' | b'!' | b'=' => {
                    self.missing -= 1;
                    if digits != b"-1" {
                        self.at += usize::try_from(count(digits)?).map_err(|_| NotResp)? + 2;
                    }
                }
                b'*' if digits == b"-1" => self.missing -= 1,
                b'*' | b'~' | b'>' => self.missing = self.missing - 1 + count(digits)?,
                b'%' => self.missing = self.missing - 1 + 2 * count(digits)?,
                // The value that the attributes belong to is still missing.
                b'|' => self.missing += 2 * count(digits)?,
                _ => return Err(NotResp),
            }
        }
        if bytes.len() < self.at {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).at))
    }
}

/// Bounded so that sums cannot overflow.
fn count(digits: &[u8]) -> Result<u64, NotResp> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .filter(|count: &u64| *count <= u64::from(u32::MAX))
        .ok_or(NotResp)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: [&[u8]; 9] = [
        b"+OK\r\n",
        b"$4\r\n\r\n\r\n\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n%1\r\n+a\r\n:1\r\n~2\r\n_\r\n,1.5\r\n",
        b">3\r\n$6\r\nMOVING\r\n:1\r\n*1\r\n$0\r\n\r\n",
        b"|1\r\n+a\r\n:1\r\n*1\r\n=5\r\ntxt:x\r\n",
        b"-ERR no\r\n",
    ];

    #[test]
    fn every_split_gives_the_same_ends() {
        let stream = FRAMES.concat();
        for split in 0..stream.len() {
            let (mut scanner, mut buffer, mut lengths) = (FrameScanner::default(), Vec::new(), Vec::new());
            for part in [&stream[..split], &stream[split..]] {
                buffer.extend_from_slice(part);
                while let Some(end) = scanner.poll_end(&buffer).unwrap() {
                    buffer.drain(..end);
                    lengths.push(end);
                }
            }
            assert_eq!(lengths, FRAMES.map(<[u8]>::len), "split at {split}");
        }
    }

    #[test]
    fn what_is_not_resp_is_an_error() {
        for bytes in [&b"hello\r\n"[..], b"\r\n", b"$x\r\n", b"$?\r\n", b"*99999999999\r\n", b"+OK\n"] {
            assert_eq!(FrameScanner::default().poll_end(bytes), Err(NotResp), "{bytes:?}");
        }
    }
}
