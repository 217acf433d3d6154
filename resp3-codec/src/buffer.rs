//! Where bytes wait to be decoded.
//!
//! Frames are slices of the memory that was read into, so that memory must be neither too large, or a small frame
//! would keep it all alive, nor allocated anew for each read. It comes in blocks, which are used again once their
//! frames are gone; a large bulk string gets an allocation of its own.

use std::mem::{replace, take};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::work::spend;

/// What is allocated at a time: as much as a small frame can keep alive.
const BLOCK: usize = 64 << 10;
/// What a frugal reader has first: enough for a handshake.
const FIRST_BLOCK: usize = 4 << 10;
/// The least room that is offered in it.
const FIRST_ROOM: usize = 1 << 10;
/// The largest element that shares a block with others.
pub(crate) const LARGE: usize = 32 << 10;
/// The least room that is offered for a read.
const MIN_ROOM: usize = 16 << 10;
/// Room for an announced string is reserved at once up to this much; beyond, as its bytes arrive.
const RESERVED_AHEAD: usize = 2 << 20;
/// How many blocks are kept for reuse.
const RETIRED: usize = 2;
/// After so many reads without a large string, the memory of the last one is given back.
const LARGE_KEPT_FOR: u8 = 32;

#[derive(Default)]
pub(crate) struct ReadBuffer {
    /// What has arrived and is not being decoded; reads append to it.
    unread: BytesMut,
    /// Whether `unread` is not in a block but in memory for one large element.
    apart: bool,
    /// How much was read since there was no memory, as far as it matters.
    stage: Stage,
    /// Blocks that are full, with frames in them that may be gone by now.
    retired: SmallVec<[BytesMut; RETIRED]>,
    /// The memory of the last large element.
    large: BytesMut,
    reads_since_large: u8,
}

/// How far a reader has come.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// There is no memory.
    #[default]
    Nothing,
    /// `unread` is in the small first block.
    FirstBlock,
    /// `unread` is in blocks, or was.
    Blocks,
}

impl ReadBuffer {
    /// [`room`](Self::room) for a reader that begins with a small block.
    pub(crate) fn frugal_room(&mut self, need: usize) -> &mut BytesMut {
        if self.unread.capacity() - self.unread.len() < MIN_ROOM && self.is_first_block() {
            return &mut self.unread;
        }
        self.room(need)
    }

    /// Whether there is room in the first block, which is allocated here.
    #[cold]
    fn is_first_block(&mut self) -> bool {
        if self.stage == Stage::Nothing {
            self.unread.reserve(FIRST_BLOCK);
            self.stage = Stage::FirstBlock;
        }
        self.stage == Stage::FirstBlock && self.unread.capacity() - self.unread.len() >= FIRST_ROOM
    }

    /// What to append a read to, with room for one, for an element that will be `need` bytes long.
    #[inline]
    pub(crate) fn room(&mut self, need: usize) -> &mut BytesMut {
        if self.unread.capacity() - self.unread.len() < MIN_ROOM && !self.unread.try_reclaim(MIN_ROOM) {
            let len = self.unread.len();
            if self.apart {
                // Doubles, at least: what grows by small steps would be moved at each of them.
                let missing = need.saturating_sub(len);
                self.unread.reserve(missing.clamp(MIN_ROOM, RESERVED_AHEAD.max(len)));
            } else {
                self.go_on(&[], need);
            }
        }
        &mut self.unread
    }

    /// Takes all that has arrived.
    pub(crate) fn take(&mut self) -> Bytes {
        let chunk = self.unread.split().freeze();
        if take(&mut self.apart) || chunk.len() > BLOCK {
            let rest = take(&mut self.unread);
            if chunk.len() <= RESERVED_AHEAD + MIN_ROOM {
                self.large = rest;
                self.reads_since_large = 0;
            }
        } else if self.reads_since_large < LARGE_KEPT_FOR {
            self.reads_since_large += 1;
        } else {
            self.large = BytesMut::new();
        }
        chunk
    }

    /// Puts back the end of what was taken, which belongs to an element of `need` bytes, if that is known.
    pub(crate) fn put_back(&mut self, tail: &[u8], need: usize) {
        if need <= LARGE && self.unread.is_empty() && self.unread.capacity() >= need.max(tail.len()) {
            spend(tail.len());
            self.unread.extend_from_slice(tail);
        } else {
            self.go_on(tail, need);
        }
    }

    /// Gives back memory that is kept for reuse only.
    pub(crate) fn shrink(&mut self) {
        self.retired.clear();
        self.large = BytesMut::new();
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
            self.apart = false;
            self.stage = Stage::Nothing;
        }
    }

    /// What has arrived.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Goes on in other memory, with `tail` in front of what was unread, which belong to an element of `need` bytes.
    fn go_on(&mut self, tail: &[u8], need: usize) {
        let len = tail.len() + self.unread.len();
        spend(len);
        self.apart = need.max(len) > LARGE;
        let mut memory = if self.apart {
            // With room for what a read brings beyond the element, or else it would grow, and be moved, for that.
            let capacity = need.min(RESERVED_AHEAD).max(2 * len) + MIN_ROOM;
            let reusable = self.large.try_reclaim(capacity);
            if reusable { take(&mut self.large) } else { BytesMut::with_capacity(capacity) }
        } else {
            match self.retired.iter_mut().position(|block| block.try_reclaim(BLOCK)) {
                Some(at) => self.retired.remove(at),
                None => BytesMut::with_capacity(BLOCK),
            }
        };
        memory.extend_from_slice(tail);
        memory.extend_from_slice(&self.unread);
        let mut full = replace(&mut self.unread, memory);
        let stage = replace(&mut self.stage, Stage::Blocks);
        // Neither is memory kept that a caller's large append has grown, nor the small first block.
        if full.len() <= BLOCK && stage == Stage::Blocks {
            full.clear();
            self.retired.truncate(RETIRED - 1);
            self.retired.insert(0, full);
        }
    }
}
