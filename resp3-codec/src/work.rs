//! How many bytes were looked at or moved, for tests that it is not too many. Nothing outside of tests.

#[cfg(test)]
use std::cell::Cell;

#[cfg(test)]
thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Accounts for `bytes` that are looked at or moved.
#[inline(always)]
pub(crate) fn spend(bytes: usize) {
    #[cfg(test)]
    BYTES.set(BYTES.get() + bytes);
    #[cfg(not(test))]
    let _ = bytes;
}

/// What was spent so far by this test.
#[cfg(test)]
pub(crate) fn spent() -> usize {
    BYTES.get()
}
