//! A breadth-first search that keeps fingerprints, not states: what it finds, it finds by a shortest path.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::fact::Fact;

/// Virtual time in which a kind world leads to rest: longer than any window, move and back-off.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// Facts in which it does.
pub(super) const MOST_FACTS: usize = 2_000;

/// Something that can be explored: a machine and the world around it.
pub(super) trait Model: Clone {
    /// What may happen next, in an order that depends on nothing but the state.
    fn facts(&self) -> Vec<Fact>;

    /// Lets `fact` happen and holds what follows against the laws.
    fn step(&mut self, fact: Fact) -> Result<(), Violation>;

    /// Takes in what decides the future: the machine first.
    fn fingerprint_machine(&self, hasher: &mut DefaultHasher);

    /// Then the world.
    fn fingerprint_world(&self, hasher: &mut DefaultHasher);

    /// From here on the world is kind: everything must come to its end.
    fn complete(&mut self) -> Result<(), Violation>;

    /// What happens, if somebody wants to read it.
    fn trace(&mut self) -> &mut Option<String>;
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl Violation {
    /// The law and what breaks it.
    pub(super) fn of<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Self(message.into()))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Facts in a row.
    pub depth: u32,
    /// Distinct states.
    pub states: usize,
    /// Every so many states the world turns kind, and everything must come to its end.
    pub complete_every: usize,
}

/// What was explored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Distinct states of the machine and the world around it.
    pub states: usize,
    /// Distinct states of the machine alone.
    pub machine_states: usize,
    /// Facts that were tried.
    pub steps: u64,
    /// Facts in a row of which every sequence was tried.
    pub depth: u32,
    /// States from which everything was brought to its end.
    pub completions: usize,
    /// Whether there is nothing beyond.
    pub exhausted: bool,
}

/// A broken law, and the shortest way there: of the facts that are possible, which one happens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What is wrong.
    pub violation: Violation,
    /// From the initial state, the place of each fact among those that are possible.
    pub path: Vec<u16>,
}

/// How a state was reached first.
#[derive(Clone, Copy)]
struct Origin {
    parent: u32,
    fact: u16,
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(bytes.is_empty(), "only whole fingerprints are hashed");
    }

    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

type Fingerprints = HashSet<u64, BuildHasherDefault<AsItIs>>;

struct Search {
    limits: Limits,
    seen: Fingerprints,
    machines: Fingerprints,
    origins: Vec<Origin>,
    report: Report,
}

/// Explores everything that can happen from `initial` on.
pub(super) fn search<M: Model>(initial: &M, limits: Limits) -> Result<Report, Box<Failure>> {
    let mut search = Search {
        limits,
        seen: Fingerprints::default(),
        machines: Fingerprints::default(),
        origins: Vec::new(),
        report: Report::default(),
    };
    let mut frontier = Vec::new();
    search.visit(initial.clone(), Origin { parent: 0, fact: 0 }, &mut frontier);
    while !frontier.is_empty() && search.report.depth < limits.depth {
        let mut next = Vec::new();
        for (place, state) in std::mem::take(&mut frontier) {
            if search.report.states >= limits.states {
                return Ok(search.report);
            }
            search.expand(place, &state, &mut next)?;
        }
        frontier = next;
        search.report.depth += u32::from(!frontier.is_empty());
    }
    search.report.exhausted = frontier.is_empty();
    Ok(search.report)
}

impl Search {
    fn expand<M: Model>(
        &mut self,
        place: u32,
        state: &M,
        next: &mut Vec<(u32, M)>,
    ) -> Result<(), Box<Failure>> {
        for (index, fact) in state.facts().into_iter().enumerate() {
            // A state has some dozens of facts.
            let origin = Origin { parent: place, fact: index as u16 };
            let mut successor = state.clone();
            self.report.steps += 1;
            guarded(|| successor.step(fact)).map_err(|violation| self.failure(origin, violation))?;
            let before = self.origins.len();
            self.visit(successor, origin, next);
            let is_new = self.origins.len() > before;
            if is_new && self.origins.len().is_multiple_of(self.limits.complete_every) {
                self.report.completions += 1;
                let mut newest = next.last().map(|(_, state)| state.clone());
                guarded(|| newest.as_mut().map_or(Ok(()), M::complete))
                    .map_err(|violation| self.failure(origin, violation))?;
            }
        }
        Ok(())
    }

    fn visit<M: Model>(&mut self, state: M, origin: Origin, next: &mut Vec<(u32, M)>) {
        let mut hasher = DefaultHasher::new();
        state.fingerprint_machine(&mut hasher);
        let machine = hasher.finish();
        state.fingerprint_world(&mut hasher);
        if self.seen.insert(hasher.finish()) {
            self.report.machine_states += usize::from(self.machines.insert(machine));
            self.report.states += 1;
            // A billion states do not fit into memory, so the place fits.
            next.push((self.origins.len() as u32, state));
            self.origins.push(origin);
        }
    }

    fn failure(&self, last: Origin, violation: Violation) -> Box<Failure> {
        let mut path = vec![last.fact];
        let mut place = last.parent;
        while place != 0 {
            let origin = self.origins[place as usize];
            path.push(origin.fact);
            place = origin.parent;
        }
        path.reverse();
        Box::new(Failure { violation, path })
    }
}

/// A panic is a violation of totality.
pub(super) fn guarded(step: impl FnOnce() -> Result<(), Violation>) -> Result<(), Violation> {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no known kind");
        Violation::of(format!("INV-11: a panic: {text}"))
    })
}
