use super::*;
use crate::decision::Effect;

mod properties;
mod socket;
mod webhook;

const OPENAI: &str = r#"
[component]
name = "openai"
version = "0.1.0"
contract = "0.1"
description = "OpenAI and everything that speaks its API"

[limits]
memory = "64MiB"
fuel-per-call = 2_000_000_000
cpu-per-call = "500ms"
wall-per-call = "5m"
http-response-size = "512KiB"

[instance]
life = "warm"

[secrets.api-key]
prompt = "API key from platform.openai.com"
env = "OPENAI_API_KEY"

[[http]]
endpoint = "api"
url = "https://api.openai.com/v1"
url-env = "OPENAI_BASE_URL"
methods = ["GET", "POST"]
paths = ["/chat/completions", "/models"]
auth = { scheme = "bearer", secret = "api-key" }

[provider]
default-model = "gpt-5-mini"
"#;

/// The least a manifest needs, and `more`.
fn with(more: &str) -> String {
    format!("[component]\nname = \"x\"\nversion = \"0.1.0\"\ncontract = \"0.1\"\ndescription = \"A test\"\n{more}")
}

fn problems(text: &str) -> String {
    Manifest::parse(text).expect_err("the manifest was accepted").problems.join("\n")
}

fn problems_with(more: &str) -> String {
    problems(&with(more))
}

#[test]
fn a_provider_manifest_is_read_whole() {
    let m = Manifest::parse(OPENAI).unwrap();
    assert_eq!(m.component.name.as_str(), "openai");
    assert_eq!(m.limits.memory, 64 << 20);
    assert_eq!(m.limits.cpu_ms_per_call, 500);
    assert_eq!(m.limits.wall_ms_per_call, 300_000);
    assert_eq!(m.limits.http_response_bytes, 512 << 10);
    assert_eq!(m.limits.kv_bytes, Limits::default().kv_bytes, "what is absent has its default");
    assert_eq!(m.instance.life, crate::limits::Life::Warm);
    let api = m.endpoint(&"api".parse().unwrap()).unwrap();
    assert_eq!(api.url.as_str(), "https://api.openai.com/v1");
    assert_eq!(api.auth, Auth::Bearer { secret: "api-key".parse().unwrap() });
    let provider = m.provider.unwrap();
    assert_eq!((provider.default_model.as_deref(), provider.fallback), (Some("gpt-5-mini"), false));
}

#[test]
fn effects_are_derived_from_uses_and_the_author_may_only_add() {
    let m = Manifest::parse(&with(
        r#"
[kv]
[[http]]
endpoint = "read"
url = "https://read.example.com"
methods = ["GET", "HEAD"]
[[http]]
endpoint = "write"
url = "https://write.example.com"
methods = ["GET", "POST"]
[[tool]]
name = "math"
uses = ["kv"]
[[tool]]
name = "look"
uses = ["http:read"]
[[tool]]
name = "post"
uses = ["http:write"]
effects = ["execute"]
"#,
    ))
    .unwrap();
    let effects = |name: &str| m.tool(name).unwrap().effects;
    assert_eq!(effects("math"), Effects::NONE);
    assert_eq!(effects("look"), Effects::NONE.with(Effect::Fetch));
    assert_eq!(effects("post"), Effects::NONE.with(Effect::Fetch).with(Effect::Send).with(Effect::Execute));
}

#[test]
fn whoever_may_write_notes_can_write_and_whoever_reads_what_is_the_owners_can_read() {
    let m = Manifest::parse(&with(
        r#"
[memory]
[sessions]
optional = true
[settings]
[[tool]]
name = "remember"
uses = ["memory"]
[[tool]]
name = "recall"
uses = ["memory:read"]
[[tool]]
name = "history"
uses = ["sessions"]
[[tool]]
name = "settings"
uses = ["settings"]
"#,
    ))
    .unwrap();
    let effects = |name: &str| m.tool(name).unwrap().effects;
    let read = Effects::NONE.with(Effect::Read);
    assert_eq!(effects("remember"), read.with(Effect::Write));
    for name in ["recall", "history", "settings"] {
        assert_eq!(effects(name), read, "{name}");
    }
    assert_eq!(m.sessions, Some(PlainDecl { optional: true }));
}

#[test]
fn notes_conversations_and_settings_are_declared_before_they_are_used_and_used_if_declared() {
    insta::assert_snapshot!(problems_with(
        "[[tool]]\nname = \"t\"\nuses = [\"memory\", \"memory:read\", \"sessions\", \"settings\", \"memory:write\"]\n"
    ), @r#"
    8:9: `memory` is not declared; add [memory]
    8:19: `memory:read` is not declared; add [memory]
    8:34: `sessions` is not declared; add [sessions]
    8:46: `settings` is not declared; add [settings]
    8:58: `uses`: `memory:write` is nothing a tool can use; write "http:<endpoint>", "http:public", "kv", "memory", "memory:read", "sessions", "settings", "requests", "message", "blob", "assets", "secrets" or "directory:<name>"
    "#);
    insta::assert_snapshot!(problems_with("[memory]\n[sessions]\n[settings]\nall = true\n[[tool]]\nname = \"t\"\n"), @r#"
    6:2: memory never used: no tool has "memory" or "memory:read" in its `uses`
    7:2: sessions never used: no tool has "sessions" in its `uses`
    8:2: settings never used: no tool has "settings" in its `uses`
    9:1: `[settings]` has no key `all`; known are: optional
    "#);
}

#[test]
fn public_addresses_are_asked_for_in_either_notation() {
    let tool = "[[tool]]\nname = \"fetch\"\nuses = [\"http:public\"]\n";
    let short = format!("http = \"public\"\n{}", with(tool));
    let long = with(&format!("[[http]]\npublic = true\n{tool}"));
    for text in [short, long] {
        let m = Manifest::parse(&text).unwrap();
        assert!(m.public_http && m.http.is_empty());
        assert_eq!(m.tool("fetch").unwrap().effects, Effects::NONE.with(Effect::Fetch));
    }
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    insta::assert_snapshot!(problems(
        r#"
[component]
nmae = "x"
version = "1"
contract = "0.1"
description = 7

[limts]

[limits]
memory = 32
fuel-per-call = "many"
wall-per-call = "10 seconds"
handles = 0
kv-siez = "1MiB"

[instance]
profile = "fast"

[[http]]
endpoint = "API"
url = "http://example.com/?q=1"
methods = ["get", "FLY"]
paths = ["v1", "/a/../b"]
hosts = ["https://example.com", "*.com"]
auth = { scheme = "bearr", secret = "key" }

[[tool]]
name = "Bad Name"
uses = ["kv", "http:nowhere", "telepathy"]
effects = ["sned"]
"#
    ));
}

#[test]
fn a_manifest_for_another_contract_is_not_judged_by_this_one() {
    let text = with("[telepathy]\n[[tool]]\nname = \"t\"\n").replace("contract = \"0.1\"", "contract = \"0.3\"");
    insta::assert_snapshot!(problems(&text), @"4:12: `contract`: contract 0.3 is not spoken by this kernel, which speaks 0.1; it is newer: update carapace, or take a version that is built for an older contract");
}

#[test]
fn an_empty_manifest_says_what_it_needs() {
    insta::assert_snapshot!(problems(""), @r"
    1:1: `[component]` is missing; it names the component: name, version, contract, description
    1:1: the component does nothing: declare [[tool]], [provider] or [channel], whichever it exports
    ");
}

#[test]
fn text_that_is_not_toml_names_its_place() {
    let text = problems("[component]\nname = \n");
    assert!(text.starts_with("2:"), "{text}");
    assert!(text.contains("not TOML"), "{text}");
}

#[test]
fn a_section_this_kernel_does_not_enforce_is_an_error() {
    insta::assert_snapshot!(problems_with("[provider]\n[files]\nroot = \"home\"\n[process]\nargv = []\n"), @r"
    7:2: `files`: this kernel does not offer it, and a permission the kernel cannot enforce is a manifest error; remove it
    9:2: `process`: this kernel does not offer it, and a permission the kernel cannot enforce is a manifest error; remove it
    ");
}

#[test]
fn secrets_must_be_declared_and_used() {
    insta::assert_snapshot!(problems_with(
        r#"[provider]
[secrets.unused]
prompt = "Never sent anywhere"
[secrets.api-key]
prompt = "The key"
[[http]]
endpoint = "api"
url = "https://example.com"
auth = { scheme = "header", name = "x-api-key", secret = "api-kye" }
inject = [{ at = "/token", secret = "other" }]
"#
    ));
}

#[test]
fn an_hmac_secret_needs_no_endpoint() {
    let text = with("[provider]\n[secrets.signing]\nprompt = \"Webhook key\"\nhmac = true\n");
    assert!(Manifest::parse(&text).unwrap().secrets.values().all(|s| s.hmac));
}

#[test]
fn what_no_tool_uses_is_not_asked_for() {
    insta::assert_snapshot!(problems_with(
        "[kv]\n[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n[[http]]\npublic = true\n[[tool]]\nname = \"t\"\n"
    ));
}

#[test]
fn the_same_name_twice_is_an_error() {
    let endpoint = "[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n";
    let tool = "[[tool]]\nname = \"t\"\nuses = [\"http:api\"]\n";
    let text = problems_with(&format!("{endpoint}{endpoint}{tool}{tool}"));
    assert!(text.contains("the endpoint `api` stands there twice"), "{text}");
    assert!(text.contains("the tool `t` stands there twice"), "{text}");
}

#[test]
fn a_consent_screen_cannot_be_spoofed() {
    for bad in
        ["two\\nlines", "\\u001b[2Jclear", "right \\u202Eot tfel", "zero\\u200Bwidth", " padded", "", "tag\\U000E0041"]
    {
        let text = with("[provider]\n").replace("A test", bad);
        assert!(Manifest::parse(&text).is_err(), "a description of {bad:?} was accepted");
        let secret = format!("[provider]\n[secrets.s]\nhmac = true\nprompt = \"{bad}\"\n");
        assert!(Manifest::parse(&with(&secret)).is_err(), "a prompt of {bad:?} was accepted");
    }
    let long = with("[provider]\n").replace("A test", &"x".repeat(201));
    assert!(problems(&long).contains("201 characters long"));
    let just = with("[provider]\n").replace("A test", &"ü".repeat(200));
    assert!(Manifest::parse(&just).is_ok());
}

#[test]
fn errors_do_not_repeat_what_would_spoil_a_terminal() {
    let text = problems(&with("[provider]\n").replace("\"x\"", "\"\\u001b[31m\\u202E\""));
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
}

#[test]
fn base_urls_hold_an_https_origin_and_a_path_only() {
    let endpoint = |url: &str| with(&format!("[provider]\n[[http]]\nendpoint = \"api\"\nurl = \"{url}\"\n"));
    for good in [
        "https://example.com",
        "https://example.com:8443/v1",
        "https://bücher.example/",
        "http://127.0.0.1:11434",
        "http://127.0.0.1:8080/v1",
    ] {
        Manifest::parse(&endpoint(good)).unwrap();
    }
    for bad in [
        "http://example.com",
        "http://127.0.0.1",
        "http://127.0.0.1:80",
        "http://127.0.0.1:631/printers",
        "http://127.0.0.2:8080",
        "http://0.0.0.0:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "http://192.168.1.5:8080",
        "http://2130706433:8080",
        "http://127.1:8080",
        "http://user@127.0.0.1:8080",
        "https://127.0.0.1:8443",
        "https://user@example.com",
        "https://u:p@example.com",
        "https://example.com/?x=1",
        "https://example.com/#x",
        "https://127.0.0.1/v1",
        "https://2130706433/",
        "https://[::1]/",
        "https://example.com\\\\@evil.example",
        "https:// example.com",
        "example.com",
        "file:///etc/passwd",
        "https://",
    ] {
        assert!(problems(&endpoint(bad)).contains("`url`"), "{bad} was accepted");
    }
}

#[test]
fn patterns_of_hosts_and_paths_are_narrow() {
    use super::values::{host_pattern, path_pattern};
    for good in ["cdn.example.com", "*.example.com", "a-1.b.c"] {
        assert!(host_pattern(good).is_ok(), "{good}");
    }
    for bad in [
        "*",
        "*.com",
        "com",
        "EXAMPLE.com",
        "a.*.com",
        "1.2.3.4",
        "example.com:443",
        "example.com/",
        "a..b",
        "-a.b",
        "ex_ample.com",
        "https://a.b",
    ] {
        assert!(host_pattern(bad).is_err(), "{bad}");
    }
    for good in ["/", "/v1/**", "/a/*/b", "/models/*:generate", "/a/"] {
        assert!(path_pattern(good).is_ok(), "{good}");
    }
    for bad in ["", "v1", "/a//b", "/..", "/a/./b", "/a?b", "/a#b", "/%2e", "/a**", "/**/**/**/**", "/ä"] {
        assert!(path_pattern(bad).is_err(), "{bad}");
    }
}

#[test]
fn variables_of_the_kernel_and_the_loader_cannot_be_named() {
    use super::values::env_name;
    for good in ["OPENAI_API_KEY", "A12"] {
        assert!(env_name(good).is_ok(), "{good}");
    }
    for bad in [
        "CARAPACE_STATE_DIR",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PATH",
        "HOME",
        "lower",
        "AB",
        "1AB",
        "A-B",
        "A=B",
    ] {
        assert!(env_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn sizes_and_durations_need_their_unit() {
    use super::values::{duration_ms, size};
    assert_eq!(size("64KiB"), Ok(64 << 10));
    assert_eq!(size("1GiB"), Ok(1 << 30));
    assert_eq!(size("12B"), Ok(12));
    assert_eq!(duration_ms("500ms"), Ok(500));
    assert_eq!(duration_ms("2m"), Ok(120_000));
    for bad in
        ["32", "32MB", "MiB", "-1MiB", "1.5MiB", "1 MiB", "0MiB", "99999999999999999999MiB", "18446744073709551615GiB"]
    {
        assert!(size(bad).is_err(), "{bad}");
    }
    for bad in ["10", "ten s", "0s", "1d", "s"] {
        assert!(duration_ms(bad).is_err(), "{bad}");
    }
}

#[test]
fn each_auth_scheme_is_read_with_its_own_keys() {
    let parse = |auth: &str| {
        let more = format!(
            "[provider]\n[secrets.k]\nprompt = \"Key\"\n[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\nauth = {{ {auth} }}\n"
        );
        Manifest::parse(&with(&more)).map(|m| m.http[0].auth.clone()).map_err(|e| e.to_string())
    };
    let secret: SecretName = "k".parse().unwrap();
    assert_eq!(parse("scheme = \"bearer\", secret = \"k\""), Ok(Auth::Bearer { secret: secret.clone() }));
    assert_eq!(
        parse("scheme = \"header\", name = \"Authorization\", prefix = \"Bot \", secret = \"k\""),
        Ok(Auth::Header { name: "Authorization".into(), prefix: "Bot ".into(), secret: secret.clone() })
    );
    assert_eq!(
        parse("scheme = \"query\", name = \"key\", secret = \"k\""),
        Ok(Auth::Query { name: "key".into(), secret: secret.clone() })
    );
    assert_eq!(
        parse("scheme = \"basic\", username = \"me\", secret = \"k\""),
        Ok(Auth::Basic { username: Some("me".into()), secret: secret.clone() })
    );
    assert_eq!(
        parse("scheme = \"path-prefix\", prefix = \"/bot\", secret = \"k\""),
        Ok(Auth::PathPrefix { prefix: "/bot".into(), secret })
    );
    for bad in [
        "scheme = \"bearer\", secret = \"k\", name = \"x\"",
        "scheme = \"header\", secret = \"k\"",
        "scheme = \"header\", name = \"Host\", secret = \"k\"",
        "scheme = \"header\", name = \"a\\r\\nb\", secret = \"k\"",
        "scheme = \"path-prefix\", prefix = \"/../x\", secret = \"k\"",
        "scheme = \"aws-sigv4\", secret = \"k\"",
        "secret = \"k\"",
    ] {
        assert!(parse(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn injections_and_captures_take_json_pointers() {
    let endpoint =
        "[provider]\n[secrets.k]\nprompt = \"Key\"\n[[http]]\nendpoint = \"api\"\nurl = \"https://example.com\"\n";
    let m = Manifest::parse(&with(&format!(
        "{endpoint}inject = [{{ at = \"/d/token\", when = {{ \"/op\" = [2, 6], \"/t\" = \"x\" }}, secret = \"k\" }}]\ncapture = [{{ at = \"/url\", as = \"link\" }}]\n"
    )))
    .unwrap();
    let inject = &m.http[0].inject[0];
    assert_eq!(inject.when["/op"], vec![serde_json::json!(2), serde_json::json!(6)]);
    assert_eq!(inject.when["/t"], vec![serde_json::json!("x")]);
    assert_eq!(m.http[0].capture, vec![Capture { at: "/url".into(), kind: CaptureKind::Link }]);
    for bad in ["d/token", "/a~2", "", "/a~"] {
        let text = with(&format!("{endpoint}inject = [{{ at = \"{bad}\", secret = \"k\" }}]\n"));
        assert!(problems(&text).contains("JSON pointer"), "{bad} was accepted");
    }
}

const WASI: &str = r#"
[wasi]
clocks = true
stdio = true
[[wasi.directory]]
name = "notes"
prompt = "Your notes"
[[wasi.directory]]
name = "drafts"
prompt = "Where drafts go"
write = true
optional = true
[[tool]]
name = "look"
uses = ["directory:notes"]
[[tool]]
name = "draft"
uses = ["directory:notes", "directory:drafts"]
"#;

#[test]
fn a_component_for_wasi_says_what_it_must_find_there() {
    let m = Manifest::parse(&with(WASI)).unwrap();
    let wasi = m.wasi.as_ref().unwrap();
    assert!(wasi.clocks && wasi.stdio && !wasi.random);
    assert_eq!(wasi.directories.len(), 2);
    assert_eq!(m.tool("look").unwrap().effects, Effects::NONE.with(Effect::Read));
    assert_eq!(m.tool("draft").unwrap().effects, Effects::NONE.with(Effect::Read).with(Effect::Write));
    assert_eq!(Manifest::parse(&with("[wasi]\n[[tool]]\nname = \"t\"\n")).unwrap().wasi, Some(WasiDecl::default()));
}

#[test]
fn directories_are_declared_before_they_are_used_and_used_if_declared() {
    let text = WASI
        .replace("uses = [\"directory:notes\"]", "uses = [\"directory:note\"]")
        .replace("[\"directory:notes\", \"directory:drafts\"]", "[\"directory:drafts\"]");
    insta::assert_snapshot!(problems(&with(&text)), @r#"
    11:8: directory never used: no tool has "directory:notes" in its `uses`
    20:9: `directory:note` is not declared; add [[wasi.directory]] with name = "note"
    "#);
}

#[test]
fn a_wasi_world_has_no_other_keys() {
    let text = problems(&with(
        "[wasi]\nsockets = true\nclocks = \"yes\"\n[[wasi.directory]]\nname = \"/etc\"\n[[tool]]\nname = \"t\"\n",
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn the_form_of_stored_pairs_is_a_number_from_one() {
    let kv = |more: &str| Manifest::parse(&with(&format!("[kv]\n{more}[[tool]]\nname = \"t\"\nuses = [\"kv\"]\n")));
    assert_eq!(kv("").unwrap().kv, Some(KvDecl { optional: false, schema: 1 }));
    assert_eq!(kv("schema = 7\n").unwrap().kv.unwrap().schema, 7);
    for bad in ["schema = 0\n", "schema = -1\n", "schema = \"2\"\n", "schema = 4294967296\n"] {
        assert!(kv(bad).unwrap_err().to_string().contains("`schema`"), "{bad}");
    }
}

const CHANNEL: &str = "[channel]\n[secrets.t]\nprompt = \"p\"\n[[http]]\nendpoint = \"act\"\nurl = \"https://a.example\"\nmethods = [\"POST\"]\n\
                       auth = { scheme = \"bearer\", secret = \"t\" }\n[[http]]\nendpoint = \"read\"\nurl = \"https://a.example\"\n";

#[test]
fn a_quiet_tool_only_sends_and_what_it_could_bring_along_is_a_mistake() {
    let of = |tool: &str| {
        with(&format!("{CHANNEL}[[tool]]\nname = \"edit\"\nquiet = true\nconversation = \"chat\"\n{tool}"))
    };
    let tool = Manifest::parse(&of("uses = [\"http:act\"]\n")).unwrap().tools.remove(0);
    assert_eq!(
        (tool.effects, tool.quiet, tool.conversation.as_deref()),
        (Effects::NONE.with(Effect::Send), true, Some("chat"))
    );
    let said = crate::capability::CapabilitySet::from(&Manifest::parse(&of("uses = [\"http:act\"]\n")).unwrap())
        .sentences(None);
    let said = said.iter().find(|s| s.capability == "tool:edit").unwrap();
    assert!(
        said.text
            .ends_with("; nothing it hears there comes back; in other conversations than its own only when you ask"),
        "{}",
        said.text
    );
    for uses in ["http:read", "http:public", "memory:read", "sessions"] {
        let why = problems(&of(&format!("uses = [\"{uses}\"]\n")));
        assert!(why.contains("a quiet tool answers nothing of what it reads"), "{uses}: {why}");
    }
    let why = problems_with("[[tool]]\nname = \"edit\"\nconversation = \"chat\"\n");
    assert!(why.contains("only a tool of a channel"), "{why}");
}
