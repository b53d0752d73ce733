use super::*;
use crate::name::InstanceId;

const FULL: &str = r#"
http = []
[component]
name = "full"
version = "0.1.0"
contract = "0.1"
description = "Everything at once"
[limits]
memory = "48MiB"
wall-per-call = "90s"
[instance]
life = "warm"
profile = "cpu"
[secrets.api-key]
prompt = "Key"
env = "OPENAI_API_KEY"
optional = true
[secrets.token]
prompt = "Token"
[secrets.hook]
prompt = "Webhook"
hmac = true
[kv]
optional = true
[memory]
optional = true
[sessions]
[settings]
optional = true
[provider]
[[tool]]
name = "post"
uses = ["http:chat", "kv"]
[[tool]]
name = "recall"
uses = ["memory:read", "sessions", "settings"]
[[tool]]
name = "remember"
uses = ["memory"]
[[tool]]
name = "add"
"#;

const ENDPOINTS: &str = r#"http = [
  { endpoint = "api", url = "https://api.openai.com/v1", url-env = "OPENAI_BASE_URL", methods = ["POST"], paths = ["/chat/completions"], auth = { scheme = "bearer", secret = "api-key" } },
  { endpoint = "chat", url = "https://chat.example.com:8443/", methods = ["GET", "POST", "DELETE"], hosts = ["cdn.example.com", "*.example.org"], auth = { scheme = "path-prefix", prefix = "/bot", secret = "token" }, inject = [{ at = "/d/token", secret = "token" }], capture = [{ at = "/url", as = "link" }], optional = true },
  { public = true },
]"#;

fn full() -> CapabilitySet {
    let text = FULL.replace("http = []", ENDPOINTS);
    (&Manifest::parse(&text).unwrap_or_else(|e| panic!("{e}"))).into()
}

fn screen(set: &CapabilitySet, instance: Option<&InstanceId>) -> String {
    let line = |s: &Sentence| format!("{}{}: {}\n", s.capability, if s.optional { " (optional)" } else { "" }, s.text);
    set.sentences(instance).iter().map(line).collect()
}

#[test]
fn the_consent_screen_says_everything() {
    insta::assert_snapshot!(screen(&full(), None));
}

#[test]
fn a_program_on_this_machine_is_called_one() {
    let endpoint = r#"http = [{ endpoint = "api", url = "http://127.0.0.1:11434", paths = ["/api/chat"] }]"#;
    let text = FULL.replace("http = []", endpoint).replace("uses = [\"http:chat\", \"kv\"]", "");
    let text = text
        .replace("[secrets.api-key]", "[secrets.api-key]\nhmac = true")
        .replace("[secrets.token]", "[secrets.token]\nhmac = true");
    let set: CapabilitySet = (&Manifest::parse(&text).unwrap_or_else(|e| panic!("{e}"))).into();
    let said: Vec<String> =
        set.sentences(None).into_iter().filter(|s| s.capability == "http:api").map(|s| s.text).collect();
    assert_eq!(
        said,
        [
            "may GET to http://127.0.0.1:11434/api/chat",
            "that is a program on this machine, reached without encryption; what it is, nobody checks",
        ]
    );
}

#[test]
fn with_an_instance_the_commands_name_it() {
    let instance = "local/full/main".parse().unwrap();
    let text = screen(&full(), Some(&instance));
    assert!(text.contains("`carapace secrets set api-key --instance local/full/main`"), "{text}");
}

#[test]
fn each_capability_has_a_sentence() {
    let set = full();
    let said: Vec<_> = set.sentences(None).into_iter().map(|s| s.capability).collect();
    let mut asked = vec![
        "kv".to_owned(),
        "memory".into(),
        "sessions".into(),
        "settings".into(),
        "provider".into(),
        "http:public".into(),
        "life".into(),
        "profile".into(),
        "limits".into(),
    ];
    asked.extend(set.http.keys().map(|n| format!("http:{n}")));
    asked.extend(set.secrets.keys().map(|n| format!("secret:{n}")));
    asked.extend(set.tools.keys().map(|n| format!("tool:{n}")));
    for capability in asked {
        assert!(said.contains(&capability), "nothing is said about {capability}");
    }
}

#[test]
fn nothing_asked_for_is_only_limits() {
    assert_eq!(CapabilitySet::none().sentences(None).len(), 1);
}

#[test]
fn a_grant_covers_its_request_and_not_a_larger_one() {
    let request = full();
    assert!(request.covers(&request));
    assert!(!CapabilitySet::none().covers(&request));
    let mut larger = request.clone();
    larger.limits.memory += 1;
    assert!(!request.covers(&larger));
    assert!(larger.covers(&request));
}

#[test]
fn a_refused_option_is_gone_and_the_rest_is_still_covered() {
    let request = full();
    let grant = request.without_optional(&["http:chat".into(), "kv".into(), "limits".into()]);
    assert!(!grant.kv && !grant.http.contains_key(&"chat".parse::<EndpointName>().unwrap()));
    assert!(!grant.secrets.contains_key(&"token".parse::<SecretName>().unwrap()), "a secret that goes nowhere");
    assert!(!grant.optional.contains("kv"));
    assert_eq!(grant.refused(&request), ["http:chat", "kv"]);
    assert!(grant.covers(&request));
}

#[test]
fn a_refused_secret_is_added_to_no_request() {
    let grant = full().without_optional(&["secret:api-key".into()]);
    let api = &grant.http[&"api".parse::<EndpointName>().unwrap()];
    assert_eq!(api.auth, Auth::None);
    assert!(!grant.secrets.contains_key(&"api-key".parse::<SecretName>().unwrap()));
    assert!(grant.covers(&full()));
}

#[test]
fn what_is_not_optional_cannot_be_refused_alone() {
    let request = full();
    assert_eq!(request.without_optional(&["http:api".into(), "provider".into(), "nonsense".into()]), request);
}

#[test]
fn each_option_can_be_refused_by_its_own_name() {
    let request = full();
    let options = ["kv", "memory", "settings"];
    for refused in options {
        let grant = request.without_optional(&[refused.to_owned()]);
        assert_eq!(grant.refused(&request), [refused]);
        assert!(grant.covers(&request), "{refused}");
    }
    // Not optional here: it cannot be refused alone.
    assert!(request.without_optional(&["sessions".to_owned()]).sessions);
}

#[test]
fn a_grant_stored_before_there_were_notes_is_read_and_grants_none() {
    let mut stored = serde_json::to_value(full()).unwrap();
    let fields = stored.as_object_mut().unwrap();
    for newer in ["memory", "sessions", "settings"] {
        assert!(fields.remove(newer).is_some(), "{newer}");
    }
    let grant: CapabilitySet = serde_json::from_value(stored).unwrap();
    assert!(!grant.memory && !grant.sessions && !grant.settings);
    assert!(!grant.covers(&full()));
}

fn of(more: &str) -> CapabilitySet {
    let head = "[component]\nname = \"w\"\nversion = \"0.1.0\"\ncontract = \"0.1\"\ndescription = \"W\"\n";
    (&Manifest::parse(&format!("{head}{more}")).unwrap_or_else(|e| panic!("{e}"))).into()
}

const WASI: &str = "[wasi]\nclocks = true\nrandom = true\nstdio = true\n\
    [[wasi.directory]]\nname = \"notes\"\nprompt = \"Your notes\"\n\
    [[wasi.directory]]\nname = \"drafts\"\nprompt = \"Where drafts go\"\nwrite = true\noptional = true\n\
    [[tool]]\nname = \"t\"\nuses = [\"directory:notes\", \"directory:drafts\"]\n";

#[test]
fn each_part_of_a_wasi_world_has_its_sentence() {
    insta::assert_snapshot!(screen(&of(WASI), None));
    assert_eq!(of("[wasi]\n[[tool]]\nname = \"t\"\n").sentences(None).len(), 3, "the world, the tool, the limits");
}

#[test]
fn a_wasi_world_grows_part_by_part_and_an_optional_directory_can_be_refused() {
    let plain = of(
        "[wasi]\n[[wasi.directory]]\nname = \"notes\"\nprompt = \"Your notes\"\n[[tool]]\nname = \"t\"\nuses = [\"directory:notes\"]\n",
    );
    let none = of("[[tool]]\nname = \"t\"\n");
    let grown = |old: &CapabilitySet, new: &CapabilitySet| -> Vec<String> {
        crate::diff::growth(old, new).into_iter().map(|g| g.capability).collect()
    };
    let tool = ["tool:t.uses", "tool:t.effects"];
    assert_eq!(grown(&none, &plain), [&["wasi", "directory:notes"], tool.as_slice()].concat());
    let whole = of(WASI);
    assert_eq!(
        grown(&plain, &whole),
        ["wasi:clocks", "wasi:random", "wasi:stdio", "directory:drafts", "directory:drafts.write", tool[0], tool[1]]
    );
    assert_eq!(grown(&whole, &plain), ["tool:t.effects"], "what a tool no longer says");
    let refused = whole.without_optional(&["directory:drafts".to_owned(), "directory:notes".to_owned()]);
    assert_eq!(refused.directories.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["notes"]);
    assert!(refused.covers(&whole));
}

#[test]
fn proposing_is_told_from_installing_and_can_be_refused() {
    let text = FULL.replace("http = []", ENDPOINTS)
        + "[requests]\noptional = true\n[[tool]]\nname = \"ask\"\nuses = [\"requests\"]\n";
    let set = CapabilitySet::from(&Manifest::parse(&text).unwrap_or_else(|e| panic!("{e}")));
    let said = screen(&set, None);
    assert!(said.contains("requests (optional): may propose") && said.contains("only you can do it"), "{said}");
    assert!(said.contains("offers the tool `ask`, which only asks you, using requests"), "{said}");
    let refused = set.without_optional(&["requests".to_owned()]);
    assert!(!refused.requests && refused.covers(&set));
    assert_eq!(crate::diff::growth(&refused, &set)[0].capability, "requests");
}

#[test]
fn a_url_belongs_to_the_endpoint_it_lies_under_and_that_the_call_uses() {
    let text = "[component]\nname = \"w\"\nversion = \"1.0.0\"\ncontract = \"0.1\"\ndescription = \"W\"\n[wasi]\n\
        [[http]]\nendpoint = \"api\"\nurl = \"https://a.example/v1\"\n[[http]]\nendpoint = \"deep\"\nurl = \"https://a.example/v1/deep\"\n\
        [[tool]]\nname = \"one\"\nuses = [\"http:api\"]\n[[tool]]\nname = \"two\"\nuses = [\"http:deep\"]\n";
    let granted = CapabilitySet::from(&Manifest::parse(text).unwrap());
    let found = |tool: Option<&str>, url: &str| {
        let uses = tool.map(|t| &granted.tools[t].uses);
        granted.endpoint_of(uses, &url.parse().unwrap()).map(|(n, p)| format!("{n} {p}"))
    };
    assert_eq!(found(None, "https://a.example/v1/x?q=1").unwrap(), "api /x?q=1");
    assert_eq!(found(None, "https://a.example/v1/deep/x").unwrap(), "deep /x");
    assert_eq!(found(Some("one"), "https://a.example/v1/deep/x").unwrap(), "api /deep/x");
    assert_eq!(found(None, "https://a.example/v1").unwrap(), "api ");
    for elsewhere in [
        "https://a.example/v10",
        "https://a.example/v1/../x",
        "https://a.example/v1/%2e%2e/x",
        "http://a.example/v1/x",
        "https://a.example:444/v1/x",
        "https://b.example/v1/x",
        "https://a.example@b.example/v1/x",
    ] {
        assert_eq!(found(None, elsewhere), None, "{elsewhere}");
    }
    assert_eq!(found(Some("two"), "https://a.example/v1/x"), None, "the other tool's");
}

const SOCKETS: &str = "[channel]\n\
    [secrets.token]\nprompt = \"Token\"\noptional = true\n[secrets.key]\nprompt = \"Key\"\n\
    [[socket]]\nendpoint = \"gateway\"\nhosts = [\"gateway.example.com\", \"*.gw.example.com\"]\nlogins-per-day = 900\n\
    inject = [{ at = \"/d/token\", secret = \"token\", login = true }]\n\
    [[socket]]\nendpoint = \"events\"\nurl = \"wss://events.example.com:8443/v1\"\nurl-env = \"EVENTS_URL\"\nspool = true\noptional = true\n\
    auth = { scheme = \"bearer\", secret = \"key\" }\n\
    [[socket]]\nendpoint = \"here\"\nurl = \"ws://127.0.0.1:8080\"\n";

#[test]
fn each_part_of_a_socket_has_its_sentence() {
    insta::assert_snapshot!(screen(&of(SOCKETS), None));
}

#[test]
fn a_socket_grows_in_each_of_its_parts_and_an_optional_one_can_be_refused_with_its_secret() {
    let set = of(SOCKETS);
    let grown = |from: &str, to: &str| -> Vec<String> {
        let new = of(&SOCKETS.replace(from, to));
        crate::diff::growth(&set, &new).into_iter().map(|g| g.capability).collect()
    };
    for (from, to, grows) in [
        ("*.gw.", "*.", "socket:gateway.hosts"),
        ("logins-per-day = 900", "logins-per-day = 901", "socket:gateway.logins-per-day"),
        ("logins-per-day = 900", "", "socket:gateway.logins-per-day"),
        ("logins-per-day = 900", "logins-per-day = 900\nspool = true", "socket:gateway.spool"),
        ("logins-per-day = 900", "logins-per-day = 900\nmax-frame = \"2MiB\"", "socket:gateway.max-frame"),
        ("/d/token", "/d/other", "socket:gateway.inject"),
        (", login = true", "", "socket:gateway.inject"),
        ("wss://events.", "wss://evil.", "socket:events.url"),
        ("EVENTS_URL", "OTHER_URL", "socket:events.url-env"),
        ("scheme = \"bearer\"", "scheme = \"query\", name = \"k\"", "socket:events.auth"),
    ] {
        assert_eq!(grown(from, to), [grows], "{from} -> {to}");
    }
    assert_eq!(grown("endpoint = \"here\"", "endpoint = \"there\""), ["socket:there"]);
    for (from, to) in [("900", "1"), ("\"gateway.example.com\", ", ""), ("spool = true\n", "")] {
        assert_eq!(grown(from, to), [] as [String; 0], "{from} -> {to}");
    }
    let refused = set.without_optional(&["socket:events".to_owned(), "secret:token".to_owned()]);
    assert_eq!(refused.sockets.keys().map(|n| n.as_str()).collect::<Vec<_>>(), ["gateway", "here"]);
    assert!(refused.secrets.is_empty(), "neither goes anywhere any more");
    assert!(refused.sockets.values().all(|s| s.secrets().next().is_none()) && refused.covers(&set));
    let mut stored = serde_json::to_value(&set).unwrap();
    assert!(stored.as_object_mut().unwrap().remove("sockets").is_some());
    let older: CapabilitySet = serde_json::from_value(stored).unwrap();
    assert!(older.sockets.is_empty() && !older.covers(&set), "a grant from before there were sockets grants none");
}

#[test]
fn lines_are_a_channels_and_say_whose_words_they_carry() {
    let head = "[component]\nname = \"c\"\nversion = \"0.1.0\"\ncontract = \"0.1\"\ndescription = \"d\"\n[lines]\n";
    let text = format!("{head}optional = true\n[channel]\n");
    let set: CapabilitySet = (&Manifest::parse(&text).unwrap()).into();
    let said = screen(&set, None);
    assert!(said.contains("lines (optional): talks line by line with programs on this computer"), "{said}");
    assert!(said.contains("says that it is you who writes there"), "{said}");
    let refused = set.without_optional(&["lines".to_owned()]);
    assert!(!refused.lines && refused.covers(&set));
    assert_eq!(crate::diff::growth(&refused, &set)[0].capability, "lines");
    let lonely = Manifest::parse(&format!("{head}[provider]\n")).unwrap_err().to_string();
    assert!(lonely.contains("add [channel], or remove [lines]"), "{lonely}");
    // No tool uses them: they are the channel's own.
    let tool = format!("{head}[channel]\n[[tool]]\nname = \"t\"\nuses = [\"lines\"]\n");
    assert!(Manifest::parse(&tool).unwrap_err().to_string().contains("`lines` is nothing a tool can use"));
}
