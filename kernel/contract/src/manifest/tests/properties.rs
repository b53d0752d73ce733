use super::super::*;
use super::OPENAI;
use crate::decision::Effect;
use crate::digest::Digest;
use proptest::prelude::*;
use std::fmt::Write as _;

/// TOML for a model, the way an author would write it.
fn render(m: &Manifest) -> String {
    let mut out = String::new();
    let q = |s: &str| toml_edit::Value::from(s).to_string();
    let list = |items: &[String]| format!("[{}]", items.iter().map(|i| q(i)).collect::<Vec<_>>().join(", "));
    let c = &m.component;
    if m.public_http && m.http.is_empty() {
        out.push_str("http = \"public\"\n");
    }
    writeln!(
        out,
        "[component]\nname = {}\nversion = {}\ncontract = {}\ndescription = {}",
        q(c.name.as_str()),
        q(&c.version.to_string()),
        q(&c.contract),
        q(&c.description)
    )
    .unwrap();
    writeln!(out, "[limits]").unwrap();
    for (key, value) in m.limits.by_key() {
        match key {
            "memory" | "host-call-bytes" | "result-size" | "kv-size" | "notes-size" | "http-request-size"
            | "http-response-size" => {
                writeln!(out, "{key} = \"{value}B\"").unwrap();
            }
            "cpu-per-call" | "wall-per-call" | "warm-idle" => writeln!(out, "{key} = \"{value}ms\"").unwrap(),
            _ => writeln!(out, "{key} = {value}").unwrap(),
        }
    }
    for (name, s) in &m.secrets {
        writeln!(out, "[secrets.{name}]\nprompt = {}\nhmac = {}\noptional = {}", q(&s.prompt), s.hmac, s.optional)
            .unwrap();
        if let Some(env) = &s.env {
            writeln!(out, "env = {}", q(env)).unwrap();
        }
    }
    for e in &m.http {
        writeln!(
            out,
            "[[http]]\nendpoint = {}\nurl = {}\nmethods = {}\npaths = {}\nhosts = {}\noptional = {}",
            q(e.endpoint.as_str()),
            q(e.url.as_str()),
            list(&e.methods),
            list(&e.paths),
            list(&e.hosts),
            e.optional
        )
        .unwrap();
        if let Auth::Header { name, prefix, secret } = &e.auth {
            writeln!(
                out,
                "auth = {{ scheme = \"header\", name = {}, prefix = {}, secret = {} }}",
                q(name),
                q(prefix),
                q(secret.as_str())
            )
            .unwrap();
        }
    }
    if m.public_http && !m.http.is_empty() {
        out.push_str("[[http]]\npublic = true\n");
    }
    for s in &m.sockets {
        writeln!(
            out,
            "[[socket]]\nendpoint = {}\nspool = {}\noptional = {}",
            q(s.endpoint.as_str()),
            s.spool,
            s.optional
        )
        .unwrap();
        writeln!(out, "max-frame = \"{}B\"", s.max_frame).unwrap();
        match &s.url {
            Some(url) => writeln!(out, "url = {}", q(url.as_str())).unwrap(),
            None => writeln!(out, "hosts = {}", list(&s.hosts)).unwrap(),
        }
        if let Some(n) = s.logins_per_day {
            writeln!(out, "logins-per-day = {n}").unwrap();
        }
    }
    if let Some(kv) = m.kv {
        writeln!(out, "[kv]\noptional = {}\nschema = {}", kv.optional, kv.schema).unwrap();
    }
    for a in &m.assets {
        let sources: Vec<String> = a.sources.iter().map(ToString::to_string).collect();
        write!(out, "[[asset]]\nname = {}\nsha256 = {}\nsize = {}\n", q(a.name.as_str()), q(&a.sha256.hex()), a.size)
            .unwrap();
        writeln!(out, "sources = {}\noptional = {}", list(&sources), a.optional).unwrap();
        if let Some(license) = &a.license {
            writeln!(out, "license = {}", q(license)).unwrap();
        }
    }
    for (name, decl) in [
        ("memory", m.memory),
        ("sessions", m.sessions),
        ("settings", m.settings),
        ("requests", m.requests),
        ("message", m.message),
        ("lines", m.lines),
        ("blob", m.blob),
    ] {
        if let Some(decl) = decl {
            writeln!(out, "[{name}]\noptional = {}", decl.optional).unwrap();
        }
    }
    if let Some(w) = &m.wasi {
        writeln!(out, "[wasi]\nclocks = {}\nrandom = {}\nstdio = {}", w.clocks, w.random, w.stdio).unwrap();
        for d in &w.directories {
            write!(out, "[[wasi.directory]]\nname = {}\nprompt = {}\n", q(d.name.as_str()), q(&d.prompt)).unwrap();
            writeln!(out, "write = {}\noptional = {}", d.write, d.optional).unwrap();
        }
    }
    if let Some(p) = &m.provider {
        writeln!(out, "[provider]").unwrap();
        if let Some(model) = &p.default_model {
            writeln!(out, "default-model = {}", q(model)).unwrap();
        }
        writeln!(out, "fallback = {}", p.fallback).unwrap();
    }
    if let Some(c) = &m.channel {
        writeln!(out, "[channel]\nspool = {}", c.spool).unwrap();
    }
    if let Some(b) = &m.build {
        writeln!(out, "[build]\ncompiler = {}", q(&b.compiler)).unwrap();
    }
    for t in &m.tools {
        let uses: Vec<String> = t.uses.iter().map(crate::capability::use_word).collect();
        let effects: Vec<String> = t.effects.iter().map(|e| e.as_str().to_owned()).collect();
        writeln!(out, "[[tool]]\nname = {}\nuses = {}\neffects = {}", q(&t.name), list(&uses), list(&effects)).unwrap();
        if t.quiet {
            writeln!(out, "quiet = true").unwrap();
        }
        if let Some(argument) = &t.conversation {
            writeln!(out, "conversation = {}", q(argument)).unwrap();
        }
    }
    out
}

prop_compose! {
    fn endpoint(index: usize)(
        methods in proptest::sample::subsequence(vec!["GET", "HEAD", "POST", "DELETE"], 1..=4),
        paths in proptest::sample::subsequence(vec!["/a", "/b/*", "/**"], 0..=3),
        hosts in proptest::sample::subsequence(vec!["cdn.example.com", "*.example.org"], 0..=2),
        optional: bool,
        prefix in "[ -~]{0,12}",
        auth: bool,
    ) -> HttpEndpoint {
        let own = |l: Vec<&str>| l.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let secret = format!("s{index}").parse().unwrap();
        HttpEndpoint {
            endpoint: format!("e{index}").parse().unwrap(),
            url: format!("https://e{index}.example.com/v1").parse().unwrap(),
            url_env: None,
            hosts: own(hosts),
            methods: own(methods),
            paths: own(paths),
            auth: if auth { Auth::Header { name: "x-key".into(), prefix, secret } } else { Auth::None },
            inject: Vec::new(),
            capture: Vec::new(),
            optional,
        }
    }
}

prop_compose! {
    fn asset()(
        name in "[A-Za-z0-9][A-Za-z0-9._-]{0,20}",
        bytes: [u8; 32],
        size in 1u64..=16 << 30,
        sources in proptest::sample::subsequence(vec!["https://a.example.com/f", "https://b.example.com/g/f"], 0..=2),
        license in proptest::option::of("[A-Za-z0-9.-]{1,20}"),
        optional: bool,
    ) -> AssetDecl {
        AssetDecl {
            name: name.parse().unwrap(),
            sha256: Digest::from_bytes(bytes),
            size,
            sources: sources.iter().map(|s| s.parse().unwrap()).collect(),
            license,
            optional,
        }
    }
}

prop_compose! {
    fn model()(
        description in "[!-~]([ -~ä-ü]{0,60}[!-~])?",
        (major, minor) in (0u64..9, 0u64..99),
        memory in 1u64..1 << 40,
        wall in 1u64..1 << 40,
        fuel in 1u64..1 << 60,
        handles in 1u32..,
        first in endpoint(0),
        second in endpoint(1),
        count in 0usize..=2,
        env in proptest::option::of("[A-Z]{3,9}_KEY"),
        public_http: bool,
        kv in proptest::option::of((any::<bool>(), 1u32..)),
        assets in proptest::collection::vec(asset(), 0..=1),
        wasi in proptest::option::of(any::<(bool, bool, bool)>()),
        (memory_notes, sessions, settings, requests) in any::<(Option<bool>, Option<bool>, Option<bool>, Option<bool>)>(),
        model in proptest::option::of("[a-z0-9./-]{1,20}"),
        extra in proptest::sample::subsequence(Effect::ALL.to_vec(), 0..=5),
        tools in 0usize..4,
    ) -> Manifest {
        let http: Vec<_> = [first, second].into_iter().take(count).collect();
        let secrets = http
            .iter()
            .filter_map(|e| e.auth.secret().cloned())
            .map(|name| (name, SecretDecl { prompt: "The key".into(), env: env.clone(), hmac: false, key: KeyForm::Text, optional: public_http }))
            .collect();
        let mut m = Manifest {
            component: Component {
                name: "x".parse().unwrap(),
                version: semver::Version::new(major, minor, 0),
                contract: CONTRACT.to_owned(),
                description,
            },
            limits: Limits { memory, wall_ms_per_call: wall, fuel_per_call: fuel, handles, ..Limits::default() },
            instance: InstanceOptions::default(),
            secrets,
            http,
            public_http,
            sockets: sessions
                .map(|spool| SocketDecl {
                    endpoint: "gateway".parse().unwrap(),
                    url: public_http.then(|| "wss://gateway.example.com/v1".parse().unwrap()),
                    url_env: None,
                    hosts: if public_http { Vec::new() } else { vec!["*.example.com".into()] },
                    auth: Auth::None,
                    inject: Vec::new(),
                    spool,
                    logins_per_day: (minor > 0).then(|| u32::try_from(minor).unwrap()),
                    max_frame: memory.min(16 << 20),
                    optional: spool,
                })
                .into_iter()
                .collect(),
            kv: kv.map(|(optional, schema)| KvDecl { optional, schema }),
            assets,
            memory: memory_notes.map(|optional| PlainDecl { optional }),
            sessions: sessions.map(|optional| PlainDecl { optional }),
            settings: settings.map(|optional| PlainDecl { optional }),
            wasi: wasi.map(|(clocks, random, write)| WasiDecl {
                clocks,
                random,
                stdio: !clocks,
                directories: vec![DirectoryDecl {
                    name: "notes".parse().unwrap(),
                    prompt: "Notes".into(),
                    write,
                    optional: random,
                }],
            }),
            requests: requests.map(|optional| PlainDecl { optional }),
            message: requests.map(|optional| PlainDecl { optional: !optional }),
            lines: sessions.map(|optional| PlainDecl { optional }),
            blob: settings.map(|optional| PlainDecl { optional: !optional }),
            provider: Some(ProviderDecl { default_model: model, fallback: public_http }),
            channel: sessions.map(|spool| ChannelDecl { spool }),
            webhooks: Vec::new(),
            tools: Vec::new(),
            build: (minor % 2 == 1).then(|| BuildInfo { compiler: "rustc 1.90.0 (1159e78c4 2025-09-14)".into() }),
        };
        for i in 0..tools {
            let mut uses: Vec<Use> = m.http.iter().map(|e| Use::Http(e.endpoint.clone())).collect();
            uses.truncate(i);
            uses.extend(m.memory.map(|_| if i % 2 == 0 { Use::Memory } else { Use::MemoryRead }));
            uses.extend(m.sessions.map(|_| Use::Sessions));
            uses.extend(m.settings.map(|_| Use::Settings));
            uses.extend(m.requests.map(|_| Use::Requests));
            uses.extend(m.message.map(|_| Use::Message));
            uses.extend(m.blob.map(|_| Use::Blob));
            let effects = m.effects_of(&uses, false).union(extra.clone().into());
            let conversation = m.channel.map(|_| format!("to_{i}"));
            m.tools.push(ToolDecl { name: format!("t_{i}"), uses, effects, quiet: false, conversation });
        }
        m
    }
}

proptest! {
    #[test]
    fn a_model_that_was_written_down_is_read_back_equal(m in model()) {
        let text = render(&m);
        let read = Manifest::parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&m), "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        Manifest::parse(&text).ok();
    }

    #[test]
    fn no_broken_manifest_makes_the_parser_panic(
        at in 0..OPENAI.len(), length in 0usize..40, put in "[\\[\\]{}=\"'#.,\\\\a-z0-9\\n\\u{202e}]{0,12}",
    ) {
        let cut = |mut i: usize| { i = i.min(OPENAI.len()); while !OPENAI.is_char_boundary(i) { i += 1; } i };
        let text = format!("{}{put}{}", &OPENAI[..cut(at)], &OPENAI[cut(at + length)..]);
        if let Err(e) = Manifest::parse(&text) {
            prop_assert!(!e.problems.is_empty());
        }
    }
}
