//! Which module of the core names which other one, as far as its text shows.

use std::collections::BTreeMap;

use super::layers::is_import;
use super::source::{Source, closing};

const CORE: &str = "hitless-core/src/";

/// A path from the root of the crate: `["coordinator", "moves", "Move"]`.
type Path = Vec<String>;

/// A place in a module that names something by a path.
pub(super) struct Reference<'a> {
    pub(super) file: &'a Source,
    pub(super) offset: usize,
    /// The module that the place is in.
    pub(super) from: Path,
    /// What is named there.
    pub(super) to: Path,
}

/// The modules of the core that have a file of their own.
pub(super) struct Modules<'a> {
    files: BTreeMap<Path, &'a Source>,
    references: Vec<Reference<'a>>,
}

impl<'a> Modules<'a> {
    pub(super) fn of(files: &'a [Source]) -> Self {
        let files = files.iter().filter_map(|file| Some((module_path(file)?, file)));
        let mut modules = Self { files: files.collect(), references: Vec::new() };
        let mut references = modules.read();
        let imported = imported(&references);
        references.iter_mut().for_each(|reference| modules.follow(&mut reference.to, &imported));
        modules.references = references;
        modules
    }

    /// Every path to something in the crate that code outside of tests names, led to where the thing is declared.
    pub(super) fn references(&self) -> &[Reference<'a>] {
        &self.references
    }

    /// The child of `parent` that `path` leads to or into.
    pub(super) fn child(&self, parent: &[String], path: &[String]) -> Option<String> {
        let name = path.strip_prefix(parent)?.first()?;
        let child = [parent, std::slice::from_ref(name)].concat();
        self.files.contains_key(&child).then(|| name.clone())
    }

    /// Every such path as it is written.
    fn read(&self) -> Vec<Reference<'a>> {
        let mut references = Vec::new();
        for (module, file) in &self.files {
            let words = ["crate", "super", "self"].into_iter().flat_map(|word| file.find(word));
            let words = words.filter(|offset| !is_import(file, *offset));
            let expressions = words.filter_map(|offset| Some((offset, path_at(file, offset)?)));
            for (offset, path) in file.imports().into_iter().chain(expressions) {
                let from = [module.as_slice(), &inline_modules(file, offset)].concat();
                if let Some(to) = self.resolve(&from, &path) {
                    references.push(Reference { file, offset, from: module.clone(), to });
                }
            }
        }
        references
    }

    /// The path from the root of what `from` calls `path`; none when that is another crate's.
    fn resolve(&self, from: &[String], path: &str) -> Option<Path> {
        let mut parts = path.split("::").map(str::to_owned).peekable();
        let mut absolute = from.to_vec();
        match parts.peek()?.as_str() {
            "crate" => absolute.clear(),
            "self" => {}
            "super" => drop(absolute.pop()?),
            child => {
                let child = [from, &[child.to_owned()]].concat();
                return self.files.contains_key(&child).then(|| [from, &parts.collect::<Path>()].concat());
            }
        }
        for part in parts.skip(1) {
            match part.as_str() {
                "super" => drop(absolute.pop()?),
                // The end of `use crate::handshake::{self, Probe}`.
                "self" => {}
                _ => absolute.push(part),
            }
        }
        Some(absolute)
    }

    /// Leads `path` on where a module on its way has only imported what comes next.
    fn follow(&self, path: &mut Path, imported: &BTreeMap<Path, Path>) {
        // Each step leads to another module; more of them than there are modules would be a ring.
        for _ in 0..self.files.len() {
            let is_module = |length: &usize| self.files.contains_key(&path[..*length]);
            let Some(item) = (1..=path.len()).find(|length| !is_module(length)) else { return };
            match imported.get(&path[..item]).filter(|to| to[..] != path[..item]) {
                Some(to) => *path = [to.as_slice(), &path[item..]].concat(),
                None => return,
            }
        }
    }
}

/// What modules have imported: the path by which their children can name it, and the path that was imported.
fn imported(references: &[Reference<'_>]) -> BTreeMap<Path, Path> {
    let imports = references.iter().filter(|reference| is_import(reference.file, reference.offset));
    let named = imports.filter_map(|import| {
        let is_inline = !inline_modules(import.file, import.offset).is_empty();
        let name = import.to.last().filter(|_| !is_inline)?;
        Some(([import.from.as_slice(), std::slice::from_ref(name)].concat(), import.to.clone()))
    });
    named.collect()
}

/// The path of the module that a file holds; `lib.rs` holds the root.
fn module_path(file: &Source) -> Option<Path> {
    let path = file.path.strip_prefix(CORE)?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let parts = path.split('/').filter(|part| *part != "lib");
    Some(parts.map(str::to_owned).collect())
}

/// The modules inside of the file that the offset lies in, from the outermost.
fn inline_modules(file: &Source, offset: usize) -> Path {
    let around = file.find_all("mod").take_while(|start| *start < offset).filter_map(|start| {
        let open = start + file.code[start..].find(['{', ';'])?;
        let is_around = file.code[open..].starts_with('{') && closing(&file.code, open)? > offset;
        is_around.then(|| file.code[start + "mod".len()..open].trim().to_owned())
    });
    around.collect()
}

/// The path that stands in an expression or a type, without its last `::` and what no path has.
fn path_at(file: &Source, offset: usize) -> Option<String> {
    let rest = &file.code[offset..];
    let is_part = |character: char| character == '_' || character == ':' || character.is_alphanumeric();
    let path = &rest[..rest.find(|character| !is_part(character)).unwrap_or(rest.len())];
    // `pub(in crate::driver)` says who may see something, and `self: Box<Self>` what a receiver is.
    let is_visibility = file.code[..offset].trim_end().ends_with("(in");
    (path.contains("::") && !is_visibility).then(|| path.trim_end_matches(':').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, text: &str) -> Vec<String> {
        let core = |path: &str, text: &str| Source::new(format!("{CORE}{path}"), text);
        let files = [
            core("lib.rs", "mod a;\nmod b;\npub use a::inner::A;\n"),
            core("a/mod.rs", "mod inner;\nmod other;\nuse self::inner::A;\n"),
            core("a/inner.rs", "struct A;\n"),
            core(path, text),
        ];
        let modules = Modules::of(&files);
        let here =
            modules.references().iter().filter(|reference| reference.file.path == format!("{CORE}{path}"));
        here.map(|reference| reference.to.join("::")).collect()
    }

    #[test]
    fn paths_are_followed_to_where_the_named_thing_is() {
        assert_eq!(named("b.rs", "use crate::A;\n"), ["a::inner::A"]);
        assert_eq!(named("b.rs", "use super::a::A;\n"), ["a::inner::A"]);
        assert_eq!(named("a/other.rs", "use super::{A, B};\n"), ["a::inner::A", "a::B"]);
        assert_eq!(named("a/other.rs", "mod part {\n    use super::super::A;\n}\n"), ["a::inner::A"]);
        assert_eq!(named("b.rs", "fn f(x: crate::a::B) { self.g(crate::a::h()) }\n"), ["a::B", "a::h"]);
    }

    #[test]
    fn other_crates_and_visibilities_name_nothing_here() {
        assert!(named("b.rs", "use std::a::A;\nuse bytes::Bytes;\npub(in crate::a) fn f() {}\n").is_empty());
        assert!(named("b.rs", "pub(crate) fn f(self: &Self) -> Self { self }\n").is_empty());
    }
}
