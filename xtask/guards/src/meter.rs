//! What is counted of some work, and what is not.

/// Counts the allocations of parts of some work; valgrind counts their instructions, and knows them by [`counted_part`].
#[derive(Debug)]
pub struct Meter {
    /// The allocations since the program began.
    total: fn() -> usize,
    is_on: bool,
    allocations: usize,
}

impl Meter {
    /// Counts nothing before its [start](Self::start).
    pub const fn new(total: fn() -> usize) -> Self {
        Self { total, is_on: false, allocations: 0 }
    }

    /// Counts nothing, ever: for parts of a part that counts as a whole.
    pub const fn off() -> Self {
        Self::new(|| 0)
    }

    /// Counts from here on.
    pub const fn start(&mut self) {
        self.is_on = true;
    }

    /// Runs `work`, which counts.
    pub fn part<T>(&mut self, work: impl FnOnce() -> T) -> T {
        if !self.is_on {
            return work();
        }
        let before = (self.total)();
        let result = counted_part(work);
        self.allocations += (self.total)() - before;
        result
    }

    /// Allocations and reallocations of the parts so far.
    pub const fn allocations(&self) -> usize {
        self.allocations
    }
}

/// Valgrind counts from the beginning of this function to its end, by its name.
#[inline(never)]
fn counted_part<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}
