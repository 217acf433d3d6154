//! R1 inside the core: modules do not import each other in a ring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Finding;
use super::paths::{Modules, Reference};
use super::source::Source;

/// The modules that are composed of children, which may import each other, but not in a ring.
const COMPOSED: &[&str] = &["client", "coordinator"];

/// Left out, as it looks into every module and is implemented inside of them, for model checking alone.
const FINGERPRINT: &str = "fingerprint";

/// For each module the modules that it imports, each with the first place where it does.
type Graph<'a> = BTreeMap<String, BTreeMap<String, &'a Reference<'a>>>;

/// R1: modules of the core do not import each other in a ring, nor do the children of those that are composed.
pub(super) fn rings(files: &[Source]) -> Vec<Finding> {
    let modules = Modules::of(files);
    let parents = [None].into_iter().chain(COMPOSED.iter().copied().map(Some));
    let graphs = parents.map(|parent| graph(&modules, parent));
    graphs
        .flat_map(|graph| rings_of(&graph).iter().map(|ring| describe(&graph, ring)).collect::<Vec<_>>())
        .collect()
}

/// The imports among the top-level modules, or among the children of `parent`.
fn graph<'a>(modules: &'a Modules<'a>, parent: Option<&str>) -> Graph<'a> {
    let parent: Vec<String> = parent.into_iter().map(str::to_owned).collect();
    let mut graph = Graph::new();
    for reference in modules.references() {
        let from = modules.child(&parent, &reference.from);
        let to = modules.child(&parent, &reference.to);
        if let (Some(from), Some(to)) = (from, to)
            && from != to
            && from != FINGERPRINT
            && to != FINGERPRINT
        {
            graph.entry(from).or_default().entry(to).or_insert(reference);
        }
    }
    graph
}

/// The shortest ring through each module that is in one, each ring once. A ring begins with its first module by name.
fn rings_of(graph: &Graph<'_>) -> BTreeSet<Vec<String>> {
    let rings = graph.keys().filter_map(|module| {
        let mut ring = shortest_ring(graph, module)?;
        let first = (0..ring.len()).min_by_key(|at| &ring[*at])?;
        ring.rotate_left(first);
        Some(ring)
    });
    rings.collect()
}

/// The shortest way from a module back to itself, breadth first.
fn shortest_ring(graph: &Graph<'_>, start: &str) -> Option<Vec<String>> {
    let mut reached_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(module) = queue.pop_front() {
        for next in graph.get(module).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let way = std::iter::successors(Some(module), |at| reached_from.get(at).copied());
                let mut ring: Vec<String> = way.map(str::to_owned).collect();
                ring.reverse();
                return Some(ring);
            }
            if !reached_from.contains_key(next.as_str()) {
                reached_from.insert(next, module);
                queue.push_back(next);
            }
        }
    }
    None
}

/// Names a ring and the place of each of its imports; the finding stands at the first of them.
fn describe(graph: &Graph<'_>, ring: &[String]) -> Finding {
    let pairs = ring.iter().zip(ring.iter().cycle().skip(1));
    let imports: Vec<_> = pairs.map(|(from, to)| (&graph[from][to], to)).collect();
    let places: Vec<String> = imports
        .iter()
        .map(|(import, to)| {
            format!("{}:{} imports `{to}`", import.file.path, import.file.line(import.offset))
        })
        .collect();
    let message = format!(
        "{} -> {} is a ring ({}): move what its modules share to one that they all import",
        ring.join(" -> "),
        ring[0],
        places.join(", ")
    );
    Finding::at(imports[0].0.file, imports[0].0.offset, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(path, text)| Source::new(format!("hitless-core/src/{path}"), *text)).collect()
    }

    #[test]
    fn a_ring_of_modules_is_named_with_the_place_of_each_import() {
        let files = core(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;\n"),
            ("a.rs", "use crate::b::B;\n"),
            ("b/mod.rs", "\nfn f() -> crate::c::C { 1 }\n"),
            ("b/inner.rs", "use super::B;\n"),
            ("c.rs", "use crate::{d, a::A};\n"),
            ("d.rs", "struct D;\n"),
        ]);
        let found = rings(&files);
        assert_eq!(found.len(), 1, "{found:?}");
        let place = (found[0].path.as_str(), found[0].line);
        assert_eq!(place, ("hitless-core/src/a.rs", 1));
        let expected = "a -> b -> c -> a is a ring (hitless-core/src/a.rs:1 imports `b`, \
            hitless-core/src/b/mod.rs:2 imports `c`, hitless-core/src/c.rs:1 imports `a`)";
        assert!(found[0].message.starts_with(expected), "{}", found[0].message);
    }

    #[test]
    fn each_ring_is_reported_once() {
        let files = core(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "use crate::{b::B, c::C};\n"),
            ("b.rs", "use crate::a::A;\n"),
            ("c.rs", "use super::a::A;\n"),
        ]);
        let found = rings(&files);
        let named: Vec<&str> =
            found.iter().filter_map(|ring| ring.message.split(" is a ring").next()).collect();
        assert_eq!(named, ["a -> b -> a", "a -> c -> a"]);
    }

    #[test]
    fn tests_and_comments_close_no_ring() {
        let files = core(&[
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b::B;\n"),
            (
                "b.rs",
                "/// See [`crate::a::A`].\nstruct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
            ),
        ]);
        assert_eq!(rings(&files), []);
    }

    #[test]
    fn a_ring_among_children_is_caught_and_a_use_of_their_parent_is_none() {
        let parent = "mod moves;\nmod queue;\nuse self::moves::Move;\npub struct Coordinator;\n";
        let moves = "use super::Coordinator;\nuse super::queue::Ticket;\n";
        let files = |queue: &str| {
            core(&[
                ("lib.rs", "mod coordinator;\n"),
                ("coordinator/mod.rs", parent),
                ("coordinator/moves.rs", moves),
                ("coordinator/queue.rs", queue),
            ])
        };
        assert_eq!(rings(&files("use super::Coordinator;\n")), []);
        for import in
            ["use super::moves::Move;\n", "use super::Move;\n", "mod part { use super::super::Move; }\n"]
        {
            let found = rings(&files(import));
            assert_eq!(found.len(), 1, "{import}");
            assert!(found[0].message.starts_with("moves -> queue -> moves is a ring"), "{found:?}");
        }
    }
}
