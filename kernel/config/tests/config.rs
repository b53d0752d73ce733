//! The file as its owner meets it: what is read, and what is said when it is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may be blunt, and owns its files"
)]

use carapace_config::{
    Allocator, ByteSize, ChannelPolicy, Config, ConfigError, Direct, Groups, LogFormat, LogLevel, NoEnv, Rule,
    SessionScope, Uncertain,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("carapace.json5"), &NoEnv)
}

fn with_env(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env: BTreeMap<String, String> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Config::parse(text, Path::new("carapace.json5"), &env)
}

/// Writes `files` beside each other, loads the first, and hides the directory in what is said.
fn load(files: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = dir.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let here = format!("{}/", dir.path().display());
    Config::load(&dir.path().join(files[0].0), &NoEnv).map_err(|e| e.to_string().replace(&here, ""))
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "  \n", "{}", "\u{feff}{}", "// nothing\n{}"] {
        assert_eq!(parse(text).unwrap(), Config::default(), "{text:?}");
    }
    let c = Config::default();
    assert_eq!((c.gateway.bind.to_string().as_str(), c.gateway.port), ("127.0.0.1", 18789));
    assert_eq!((c.agent.max_turns, c.agent.context_tokens, c.agent.max_output_tokens), (16, 32_000, 4_096));
    assert_eq!((c.budget.daily_usd, c.budget.daily_tokens), (Some(5.0), Some(5_000_000)));
}

#[test]
fn every_section_is_read() {
    let c = parse(
        r#"{
        $schema: "https://example.com/carapace.schema.json",
        gateway: { bind: "::1", port: 0, maxBodyBytes: "1MiB", shutdownGraceMs: 1e3 },
        agent: { route: ["openai/gpt-5-mini", "openai:vllm/org/m"], system: "Be brief.", temperature: 0.2, timezone: "Europe/Berlin" },
        budget: { dailyUsd: null, dailyTokens: 7, pricing: { "openai/gpt-5*": { inputPerMTok: 0.25, outputPerMTok: 2 } } },
        instances: {
            openai: { enabled: false },
            "openai:vllm": {
                component: "local/openai",
                endpoints: { api: "http://127.0.0.1:8000/v1" },
                config: { maxTokensField: "max_tokens", deep: [{ x: 1 }] },
                limits: { memory: "64MiB", wallMsPerCall: 5000 },
            },
        },
        limits: { ceiling: { memory: 1048576 } },
        log: { level: "debug", format: "json" },
        runtime: { allocator: "on-demand", compileMemory: "512MiB", compileCpuSeconds: 20 },
    }"#,
    )
    .unwrap();
    assert_eq!((c.gateway.port, c.gateway.max_body_bytes, c.gateway.shutdown_grace_ms), (0, ByteSize(1 << 20), 1_000));
    assert_eq!(c.agent.route[1].to_string(), "openai:vllm/org/m");
    assert_eq!(c.agent.temperature, Some(0.2));
    assert_eq!((c.budget.daily_usd, c.budget.daily_tokens), (None, Some(7)));
    let vllm = c.instance(&"local/openai/vllm".parse().unwrap()).unwrap();
    assert_eq!(vllm.endpoints[&"api".parse().unwrap()].as_str(), "http://127.0.0.1:8000/v1");
    assert_eq!(vllm.config["deep"][0]["x"], 1);
    assert_eq!(vllm.limits.wall_ms_per_call, Some(5000));
    assert!(!c.instance(&"local/openai/main".parse().unwrap()).unwrap().enabled);
    assert_eq!((c.log.level, c.log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(c.runtime.allocator, Allocator::OnDemand);
    assert_eq!((c.runtime.compile_memory, c.runtime.compile_cpu_seconds), (ByteSize(512 << 20), 20));
    // What it was read from can be written and read again.
    let again = serde_json::to_string(&c).unwrap();
    assert_eq!(parse(&again).unwrap(), c);
}

#[test]
fn every_problem_is_told_at_once() {
    let error = parse(
        r#"{
        gateway: { prot: 1, bind: "0.0.0.0", max_body_bytes: 1 },
        agent: { route: ["gpt-5", 7], maxTurns: 0, temperature: 9, maxOutputTokens: 50000, timezone: "Mid Europe" },
        budget: { dailyUsd: "five", pricing: { openai: { inputPerMTok: 1 } } },
        port: 4,
        colour: "red",
        instances: {
            "Open AI": {},
            "openai:vllm": {
                component: "local/anthropic",
                endpoints: { api: "ftp://x", b: "https://u:hunter2hunter2@x/", c: "nonsense", d: "https://x/?q" },
                limits: { memory: "lots", fuel: 1 },
                apiKey: "sk-123456789",
                config: { api_key: "sk-123456789", stopToken: "</s>", maxTokens: 5 },
            },
        },
        log: { level: "loud" },
        runtime: [],
    }"#,
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(!text.contains("sk-123") && !text.contains("hunter2"), "a secret was repeated: {text}");
    insta::assert_snapshot!(text);
}

#[test]
fn what_is_opened_to_public_fetches_is_one_host_and_one_port_each() {
    let text = r#"{ instances: { web: { publicAllow: ["127.0.0.1:8080", "Intranet.example.:443"] } } }"#;
    let config = parse(text).unwrap();
    let opened = &config.instance(&"carapace/web/main".parse().unwrap()).unwrap().public_allow;
    assert_eq!(opened.iter().map(ToString::to_string).collect::<Vec<_>>(), ["intranet.example:443", "127.0.0.1:8080"]);
    assert!(Config::default().instances.is_empty());
    for server in
        ["*:80", "10.0.0.0/8:80", "10.0.0.1", "http://10.0.0.1:80", "10.0.0.1:1-65535", "me:hunter2@a.example:80"]
    {
        let text = format!("{{ instances: {{ web: {{ publicAllow: [\"a.example:80\", \"{server}\"] }} }} }}");
        let error = parse(&text).unwrap_err();
        assert_eq!(
            (error.problems.len(), error.problems[0].path.as_str()),
            (1, "instances.web.publicAllow[1]"),
            "{error}"
        );
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("127.0.0.1:8080"), "{error}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    let fix = |text: &str| {
        let p = parse(text).unwrap_err().problems;
        assert_eq!((p.len(), p[0].rule), (1, Rule::UnknownKey), "{text}");
        (p[0].path.clone(), p[0].fix.clone())
    };
    assert_eq!(fix("{gateway: {prot: 1}}"), ("gateway.prot".into(), "did you mean `gateway.port`?".into()));
    assert_eq!(fix("{Agents: {}}"), ("Agents".into(), "did you mean `agent`?".into()));
    assert_eq!(fix("{maxTurns: 3}"), ("maxTurns".into(), "did you mean `agent.maxTurns`?".into()));
    assert_eq!(fix("{log: {zzzzzz: 3}}"), ("log.zzzzzz".into(), "known here: level, format".into()));
    assert_eq!(fix("{instances: {a: {enable: true}}}").1, "did you mean `instances.a.enabled`?");
}

#[test]
fn a_secret_is_refused_with_the_command_that_stores_it() {
    for text in [
        "{gateway: {token: 'x'}}",
        "{openaiApiKey: 'x'}",
        "{instances: {a: {password: 'x'}}}",
        "{instances: {a: {config: {x: [{bot_token: '12345678'}]}}}}",
    ] {
        let p = parse(text).unwrap_err().problems;
        assert_eq!((p.len(), p[0].rule), (1, Rule::Secret), "{text}");
        assert!(p[0].fix.contains("carapace secrets set"));
    }
}

#[test]
fn a_wider_bind_is_refused_with_the_reason() {
    let p = parse("{gateway: {bind: '192.168.1.2'}}").unwrap_err().problems;
    assert_eq!(p[0].rule, Rule::Bind);
    assert!(p[0].message.contains("authentication and TLS"), "{}", p[0].message);
    assert!(parse("{gateway: {bind: '127.0.0.9'}}").is_ok());
}

#[test]
fn broken_json5_is_named_with_line_and_column() {
    insta::assert_snapshot!(parse("{\n  gateway: { port: }\n}").unwrap_err(), @"carapace.json5: is not JSON5: line 2, column 20: expected value [E-CONFIG-002]");
    insta::assert_snapshot!(parse("{ log: {}, log: {} }").unwrap_err(), @"carapace.json5: is not JSON5: line 1, column 1: the key `log` stands twice in one object [E-CONFIG-002]");
    insta::assert_snapshot!(parse("{ budget: { dailyUsd: Infinity } }").unwrap_err(), @"carapace.json5: is not JSON5: line 1, column 23: NaN and Infinity are not values here [E-CONFIG-002]");
    insta::assert_snapshot!(parse(&"[".repeat(5000)).unwrap_err(), @"carapace.json5: is not JSON5: values are nested more than 64 deep [E-CONFIG-002]");
    insta::assert_snapshot!(parse("[]").unwrap_err(), @"carapace.json5: must be an object, not an array [E-CONFIG-006]");
}

#[test]
fn the_environment_fills_text_numbers_and_truth_values() {
    let c = with_env(
        "{gateway: {port: '${PORT}'}, agent: {system: 'a ${WHO} b $${WHO} ${lower} $'}, instances: {x: {enabled: '${ON}'}}}",
        &[("PORT", "99"), ("WHO", "${X}"), ("ON", "false")],
    )
    .unwrap();
    assert_eq!(c.gateway.port, 99);
    assert_eq!(
        c.agent.system.as_deref(),
        Some("a ${X} b ${WHO} ${lower} $"),
        "what a variable holds is not expanded again"
    );
    assert!(!c.instances[&"x".parse().unwrap()].enabled);
}

#[test]
fn a_variable_that_is_not_set_names_file_and_key() {
    insta::assert_snapshot!(with_env("{agent: {route: ['openai/${MODEL}']}}", &[]).unwrap_err(), @"carapace.json5: `agent.route[0]`: the environment variable MODEL is not set; set it, or write `$${MODEL}` for the text itself [E-CONFIG-004]");
}

#[test]
fn what_the_environment_gave_is_never_repeated() {
    let e = with_env("{log: {level: '${L}'}, gateway: {port: '${L}'}}", &[("L", "hunter2hunter2")])
        .unwrap_err()
        .to_string();
    assert!(!e.contains("hunter2"), "{e}");
}

#[test]
fn included_objects_merge_arrays_join_and_sibling_keys_win() {
    let c = load(&[
        ("carapace.json5", "{ $include: ['a.json5', 'sub/b.json5'], gateway: { port: 3 }, agent: { route: ['z/z'] } }"),
        ("a.json5", "{ gateway: { port: 1, shutdownGraceMs: 5 }, agent: { route: ['a/a'], maxTurns: 2 } }"),
        ("sub/b.json5", "{ gateway: { port: 2 }, agent: { $include: './c.json5' } }"),
        ("sub/c.json5", "{ route: ['c/c'], maxTurns: 4 }"),
    ])
    .unwrap();
    assert_eq!((c.gateway.port, c.gateway.shutdown_grace_ms, c.agent.max_turns), (3, 5, 4));
    assert_eq!(c.agent.route.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/a", "c/c", "z/z"]);
}

#[test]
fn a_problem_names_the_included_file_it_stands_in() {
    let e = load(&[("carapace.json5", "{ gateway: { $include: 'g.json5' } }"), ("g.json5", "{ prot: 1, port: 'x' }")])
        .unwrap_err();
    insta::assert_snapshot!(e, @r#"
    g.json5: `gateway.port`: must be a whole number, not "x" [E-CONFIG-006]
    g.json5: `gateway.prot`: unknown key; did you mean `gateway.port`? [E-CONFIG-005]
    "#);
}

#[test]
fn files_that_include_each_other_are_refused_with_the_circle() {
    let e = load(&[("a.json5", "{ $include: 'b.json5' }"), ("b.json5", "{ agent: { $include: './a.json5' } }")])
        .unwrap_err();
    insta::assert_snapshot!(e, @"b.json5: `agent.$include`: files include each other in a circle: a.json5 → b.json5 → a.json5 [E-CONFIG-003]");
}

#[test]
fn includes_go_ten_deep_and_no_deeper() {
    let files = |n: usize| {
        let mut f: Vec<(String, String)> =
            (0..n).map(|i| (format!("{i}.json5"), format!("{{ $include: '{}.json5' }}", i + 1))).collect();
        f.push((format!("{n}.json5"), "{ gateway: { port: 7 } }".into()));
        f
    };
    let run = |n| {
        let f = files(n);
        load(&f.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>())
    };
    assert_eq!(run(10).unwrap().gateway.port, 7);
    assert!(run(11).unwrap_err().contains("more than 10 levels deep"));
}

#[test]
fn doubling_includes_end_in_an_error_and_not_in_an_hour() {
    let files: Vec<(String, String)> = (0..10)
        .map(|i| {
            (
                format!("{i}.json5"),
                if i == 9 {
                    "{}".into()
                } else {
                    format!("{{ $include: ['{0}.json5','{0}.json5','{0}.json5'] }}", i + 1)
                },
            )
        })
        .collect();
    let e = load(&files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>()).unwrap_err();
    assert_eq!(e.matches("more than 200 files").count(), 1, "{e}");
}

#[test]
fn an_include_that_is_missing_or_no_name_is_named() {
    let e = load(&[("carapace.json5", "{ $include: ['nope.json5', 5], log: { $include: {} } }")]).unwrap_err();
    assert!(e.contains("`nope.json5` cannot be read") && e.contains("`$include`: must be a file name"), "{e}");
    assert!(e.contains("`log.$include`"), "{e}");
}

#[test]
fn who_may_talk_through_a_channel_is_written_beside_its_instance() {
    let text = "{ instances: { chat: { channel: { direct: 'listed', groups: 'always', owner: ['1'], allow: ['2'], groupAllow: ['*'], \
                session: 'main', uncertain: 'resend' } } } }";
    let config = parse(text).unwrap();
    let channel = &config.instances.values().next().unwrap().channel;
    assert_eq!((channel.direct, channel.groups), (Direct::Listed, Groups::Always));
    assert_eq!((channel.session, channel.uncertain), (SessionScope::Main, Uncertain::Resend));
    assert_eq!((channel.owner.len(), channel.allow.len(), channel.group_allow.len()), (1, 1, 1));
    let careful = ChannelPolicy::default();
    assert_eq!((careful.direct, careful.groups, careful.uncertain), (Direct::Pairing, Groups::Mention, Uncertain::Ask));

    let e = parse("{ instances: { chat: { channel: { direct: 'all', owner: ['*'], allow: [''] } } } }")
        .unwrap_err()
        .to_string();
    assert!(e.contains("must be one of \"pairing\", \"listed\", \"off\""), "{e}");
    assert!(e.contains("`instances.chat.channel.owner[0]`: would let everybody talk"), "{e}");
    assert!(e.contains("`instances.chat.channel.allow[0]`: is no id"), "{e}");
}

#[test]
fn the_schema_for_editors_knows_every_key_and_refuses_others() {
    let s = Config::json_schema();
    assert_eq!(s.pointer("/additionalProperties"), Some(&false.into()));
    assert_eq!(s.pointer("/properties/gateway/properties/port/maximum"), Some(&65535.into()));
    assert!(s.pointer("/properties/$schema").is_some());
    assert!(s.pointer("/properties/agent/properties/maxTurns/description").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in ".{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn anything_that_looks_like_a_configuration_is_read_or_refused(
        text in r#"(\{|\}|\[|\]|:|,|'|"|\$\{[A-Z]{0,2}\}?|\$include|gateway|instances|agent|route|a:b|port|1e9|-1|null|//|/\*|\*/|\\|\n| ){0,40}"#
    ) {
        let _ = with_env(&format!("{{{text}}}"), &[("A", "x")]);
    }
}
