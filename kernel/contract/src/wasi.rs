//! Which interfaces of WASI 0.2 belong to what an owner can grant.

/// A part of WASI 0.2, as `[wasi]` and `[[http]]` ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// What `[wasi]` alone gives: an empty environment, streams, the end of a program; no sockets, and no directory that was not granted.
    World,
    /// The time, and waiting.
    Clocks,
    /// Random bytes.
    Random,
    /// Standard streams: what is printed goes to the log.
    Stdio,
    /// Requests; they leave under the rules of `[[http]]`.
    Http,
}

/// By package, the interfaces of each part.
const INTERFACES: [(&str, Part, &[&str]); 8] = [
    ("io", Part::World, &["error", "poll", "streams"]),
    ("cli", Part::World, &["environment", "exit"]),
    (
        "cli",
        Part::Stdio,
        &[
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("filesystem", Part::World, &["types", "preopens"]),
    (
        "sockets",
        Part::World,
        &["network", "instance-network", "ip-name-lookup", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
    ),
    ("clocks", Part::Clocks, &["monotonic-clock", "wall-clock"]),
    ("random", Part::Random, &["random", "insecure", "insecure-seed"]),
    ("http", Part::Http, &["types", "outgoing-handler"]),
];

impl Part {
    /// All.
    pub const ALL: [Self; 5] = [Self::World, Self::Clocks, Self::Random, Self::Stdio, Self::Http];

    /// The part that an import belongs to, e.g. `wasi:cli/stdout@0.2.9`; none if this kernel does not offer it.
    pub fn of_import(import: &str) -> Option<Self> {
        let (name, version) = import.strip_prefix("wasi:")?.split_once('@')?;
        let patch = version.strip_prefix("0.2.")?;
        patch.parse::<u32>().ok()?;
        let (package, interface) = name.split_once('/')?;
        INTERFACES.iter().find(|(p, _, names)| *p == package && names.contains(&interface)).map(|(_, part, _)| *part)
    }

    /// As messages and consent name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::World => "wasi",
            Self::Clocks => "wasi:clocks",
            Self::Random => "wasi:random",
            Self::Stdio => "wasi:stdio",
            Self::Http => "wasi:http",
        }
    }

    /// The line of a manifest that asks for it.
    pub fn line(self) -> &'static str {
        match self {
            Self::World => "`[wasi]`",
            Self::Clocks => "`clocks = true` under `[wasi]`",
            Self::Random => "`random = true` under `[wasi]`",
            Self::Stdio => "`stdio = true` under `[wasi]`",
            Self::Http => "`[wasi]`, and an `[[http]]` endpoint or `http = \"public\"`",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_belongs_to_one_part_in_any_patch_of_0_2() {
        assert_eq!(Part::of_import("wasi:cli/stdout@0.2.0"), Some(Part::Stdio));
        assert_eq!(Part::of_import("wasi:cli/environment@0.2.12"), Some(Part::World));
        assert_eq!(Part::of_import("wasi:sockets/tcp@0.2.9"), Some(Part::World));
        assert_eq!(Part::of_import("wasi:http/outgoing-handler@0.2.10"), Some(Part::Http));
        for foreign in [
            "wasi:http/incoming-handler@0.2.0",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout@0.2.0-rc-2023-12-05",
            "wasi:cli/stdout",
            "wasi:keyvalue/store@0.2.0",
            "wasp:cli/stdout@0.2.0",
        ] {
            assert_eq!(Part::of_import(foreign), None, "{foreign}");
        }
    }
}
