//! R1, R3 and R4: which crate may depend on what, and what each may name.

use super::Finding;
use super::manifest;
use super::source::{Source, find_word};

/// What a layer may depend on, and what only behind a feature.
struct Layer {
    package: &'static str,
    allowed: &'static [&'static str],
    optional: &'static [&'static str],
}

const LAYERS: &[Layer] = &[
    Layer {
        package: "resp3-codec",
        allowed: &["bytes", "memchr", "nom", "smallvec", "thiserror"],
        optional: &[],
    },
    Layer {
        package: "hitless-core",
        allowed: &["bytes", "memchr", "nom", "resp3-codec", "smallvec", "thiserror"],
        optional: &["arc-swap", "futures-core", "tracing", "rustls", "redis"],
    },
];

/// Runtimes, sockets, threads, files and the environment: what a sans-IO crate must not name.
const OUTSIDE_WORLD: &[&str] = &[
    "tokio",
    "async_std",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
];

/// R1: the codec and the core depend on nothing but what is listed.
pub(super) fn dependencies(files: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for layer in LAYERS {
        let path = format!("{}/Cargo.toml", layer.package);
        let manifest = files.iter().find(|file| file.path == path);
        findings.extend(manifest.into_iter().flat_map(|manifest| layer_dependencies(layer, manifest)));
    }
    findings
}

fn layer_dependencies(layer: &Layer, file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for dependency in manifest::dependencies(&file.text) {
        let name = dependency.name.as_str();
        if layer.optional.contains(&name) && !dependency.is_optional {
            let message =
                format!("`{name}` must be optional: put it behind a feature that is off by default");
            findings.push(Finding::new(file.path.as_str(), dependency.line, message));
        } else if !layer.allowed.contains(&name) && !layer.optional.contains(&name) {
            let message =
                format!("`{name}` is not on the list of {}: move what needs it to an adapter", layer.package);
            findings.push(Finding::new(file.path.as_str(), dependency.line, message));
        }
    }
    findings
}

/// async-std is no longer developed (RUSTSEC-2025-0052): which packages may depend on a crate that comes with it.
const DISCONTINUED: [(&str, &[&str]); 2] = [
    ("async-std", &["hitless-async-std", "hitless-bench", "hitless-demo"]),
    ("hitless-async-std", &["hitless-bench", "hitless-demo"]),
];

/// R1: nothing but the adapter for it, the benchmarks and the demo brings async-std into a build. `Cargo.lock` has the whole tree.
pub(super) fn discontinued(files: &[Source]) -> Vec<Finding> {
    let Some(lock) = files.iter().find(|file| file.path == "Cargo.lock") else { return Vec::new() };
    let mut findings = Vec::new();
    let mut package = "";
    for (index, line) in lock.text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("name = ") {
            package = name.trim_matches('"');
        }
        // A dependency stands on a line of its own, followed by its version where there are several.
        let Some(dependency) = line.strip_prefix(" \"").and_then(|rest| rest.split(['"', ' ']).next()) else {
            continue;
        };
        let rule = DISCONTINUED.iter().find(|(name, _)| *name == dependency);
        if rule.is_some_and(|(_, dependents)| !dependents.contains(&package)) {
            let message =
                format!("`{package}` brings in {dependency}, which is not developed any more: do without it");
            findings.push(Finding::new(lock.path.as_str(), index + 1, message));
        }
    }
    findings
}

/// R1: the codec and the core name no runtime, socket, thread, file or environment.
pub(super) fn names(source: &Source) -> Vec<Finding> {
    if !is_in(source, &["resp3-codec/src/", "hitless-core/src/"]) {
        return Vec::new();
    }
    let message = |name: &str| {
        format!(
            "`{name}` belongs to the world outside: take what it gives as an argument, or as a trait of the driver"
        )
    };
    let imports = source.imports().into_iter().filter_map(|(offset, path)| {
        let name =
            OUTSIDE_WORLD.iter().find(|name| path == **name || path.starts_with(&format!("{name}::")))?;
        Some(Finding::at(source, offset, message(name)))
    });
    let paths = OUTSIDE_WORLD.iter().flat_map(|name| {
        let without_imports = source.find(name).filter(|offset| !is_import(source, *offset));
        without_imports.map(|offset| Finding::at(source, offset, message(name)))
    });
    imports.chain(paths).collect()
}

/// R3: nothing asynchronous outside the driver, the adapters and what runs them.
pub(super) fn async_code(source: &Source) -> Vec<Finding> {
    let may = is_in(source, &["hitless-core/src/driver/", "hitless-core/src/driver.rs"]);
    if may || !is_in(source, &["resp3-codec/src/", "hitless-core/src/"]) {
        return Vec::new();
    }
    let message = |name: &str| {
        format!(
            "`{name}` belongs under hitless-core/src/driver/: machines are polled with plain values, not tasks"
        )
    };
    let is_task = |path: &str| ["std::task", "core::task"].iter().any(|task| path.starts_with(task));
    let imports = source.imports().into_iter().filter(|(_, path)| is_task(path));
    let imports = imports.map(|(offset, path)| Finding::at(source, offset, message(&path)));
    let words = ["async", "await", "Pin", "std::task", "core::task"].into_iter().flat_map(|word| {
        let hits = source.find(word).filter(|offset| !is_import(source, *offset));
        hits.map(move |offset| Finding::at(source, offset, message(word)))
    });
    imports.chain(words).collect()
}

/// R4: an adapter decides nothing, so it never looks inside an action, an event or a notification.
pub(super) fn decisions(source: &Source) -> Vec<Finding> {
    if !is_in(source, &["hitless-tokio/src/", "hitless-async-std/src/", "conformance/smol/src/"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for kind in ["Action", "Event", "Notification"] {
        let prefix = format!("{kind}::");
        for offset in source.find(&prefix) {
            let variant = &source.code[offset + prefix.len()..];
            if variant.starts_with(|first: char| first.is_uppercase() || first == '{' || first == '*') {
                let message =
                    format!("an adapter does not tell one `{kind}` from another: decide it in hitless-core");
                findings.push(Finding::at(source, offset, message));
            }
        }
    }
    findings
}

fn is_in(source: &Source, prefixes: &[&str]) -> bool {
    source.is_rust() && prefixes.iter().any(|prefix| source.path.starts_with(prefix))
}

/// Whether an offset lies in a `use` declaration, which is looked at with its groups spelled out.
pub(super) fn is_import(source: &Source, offset: usize) -> bool {
    let start = source.code[..offset].rfind([';', '}']).map_or(0, |end| end + 1);
    find_word(&source.code[start..offset], "use").next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: Vec<Finding>) -> Vec<usize> {
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_dependency_that_is_not_listed_is_caught() {
        let manifest = "[dependencies]\nbytes = \"1\"\ntokio = \"1\"\ntracing = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";
        let core = Source::new("hitless-core/Cargo.toml", manifest);
        let codec = Source::new("resp3-codec/Cargo.toml", manifest);
        let other = Source::new("hitless-tokio/Cargo.toml", manifest);
        assert_eq!(lines(dependencies(&[codec, core, other])), [3, 4, 3, 4]);
        let optional = "[dependencies]\ntracing = { version = \"0.1\", optional = true }\n";
        assert!(dependencies(&[Source::new("hitless-core/Cargo.toml", optional)]).is_empty());
        assert_eq!(lines(dependencies(&[Source::new("resp3-codec/Cargo.toml", optional)])), [2]);
    }

    #[test]
    fn what_brings_in_async_std_is_caught() {
        let package = |name: &str, dependencies: &str| {
            format!("[[package]]\nname = \"{name}\"\ndependencies = [\n{dependencies}]\n")
        };
        let lock = [
            package("hitless-async-std", " \"async-std\",\n"),
            package("hitless-demo", " \"async-std\",\n \"hitless-async-std\",\n"),
            package("other", " \"bytes\",\n \"async-std 1.13.2\",\n"),
            package("hitless-tokio", " \"hitless-async-std\",\n"),
        ];
        let lock = Source::new("Cargo.lock", lock.concat());
        assert_eq!(lines(discontinued(&[lock])), [16, 21]);
    }

    #[test]
    fn names_of_the_outside_world_are_caught() {
        let text = "use std::{\n    collections::BTreeMap,\n    net::{IpAddr, TcpStream},\n};\n\
                    fn a() { std::thread::yield_now() }\n// std::fs is fine here\n\
                    #[cfg(test)]\nmod tests { use std::env; }\n";
        assert_eq!(lines(names(&Source::new("hitless-core/src/a.rs", text))), [3, 5]);
        assert!(names(&Source::new("hitless-tokio/src/a.rs", text)).is_empty());
        let address = "use std::net::{IpAddr, SocketAddr};\nfn threads(environment: std::net::IpAddr) {}\n";
        assert!(names(&Source::new("resp3-codec/src/a.rs", address)).is_empty());
    }

    #[test]
    fn asynchronous_code_is_caught_outside_the_driver() {
        let text = "use std::task::Waker;\nuse std::pin::Pin;\nasync fn a() {}\nfn b(x: Pin<u8>) {}\n/// async\nfn c() {}\n";
        assert_eq!(lines(async_code(&Source::new("hitless-core/src/client.rs", text))), [1, 3, 4]);
        assert!(async_code(&Source::new("hitless-core/src/driver/io.rs", text)).is_empty());
        assert!(async_code(&Source::new("hitless-tokio/src/lib.rs", text)).is_empty());
    }

    #[test]
    fn a_decision_in_an_adapter_is_caught() {
        let text = "fn a(event: Event) {\n    match event {\n        Event::Moved { .. } => {}\n        _ => {}\n    }\n}\n";
        assert_eq!(lines(decisions(&Source::new("hitless-tokio/src/lib.rs", text))), [3]);
        assert_eq!(lines(decisions(&Source::new("hitless-tokio/src/lib.rs", "use core::Action::*;"))), [1]);
        assert!(decisions(&Source::new("hitless-core/src/driver/io.rs", text)).is_empty());
        assert!(decisions(&Source::new("hitless-tokio/examples/a.rs", text)).is_empty());
    }
}
