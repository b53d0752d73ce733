use super::*;
use crate::decision::{Effect, Effects};
use crate::manifest::{Capture, CaptureKind, Inject, Use};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn texts<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
    items.into_iter().map(str::to_owned).collect()
}

fn old() -> CapabilitySet {
    let mut set = CapabilitySet::none();
    let api = HttpCapability {
        url: "https://api.example.com/v1".parse().unwrap(),
        url_env: None,
        hosts: texts(["cdn.example.com"]),
        methods: texts(["GET"]),
        paths: texts(["/a"]),
        auth: Auth::Bearer { secret: "key".parse().unwrap() },
        inject: Vec::new(),
        capture: BTreeSet::from([Capture { at: "/url".into(), kind: CaptureKind::Link }]),
    };
    set.http.insert("api".parse().unwrap(), api);
    set.secrets.insert("key".parse().unwrap(), SecretCapability { env: None, hmac: false });
    let effects = Effects::NONE.with(Effect::Fetch).with(Effect::Send);
    set.tools.insert(
        "t".into(),
        ToolCapability { uses: BTreeSet::from([Use::Http("api".parse().unwrap())]), effects, ..Default::default() },
    );
    set.kv = true;
    set.optional.insert("kv".into());
    set
}

/// What one change makes grow: `capability: text`.
fn after(change: impl FnOnce(&mut CapabilitySet, &mut HttpCapability)) -> String {
    let old = old();
    let mut new = old.clone();
    let mut api = new.http.remove(&"api".parse::<crate::Name>().unwrap()).unwrap();
    change(&mut new, &mut api);
    new.http.insert("api".parse().unwrap(), api);
    growth(&old, &new).into_iter().map(|g| format!("{}: {}\n", g.capability, g.text)).collect()
}

#[test]
fn each_way_to_grow_is_named() {
    let secret = || "key".parse().unwrap();
    let mut all = String::new();
    let mut case = |text: String| {
        assert!(!text.is_empty(), "a growth went unnoticed after:\n{all}");
        all.push_str(&text);
    };
    case(after(|_, e| e.url = "https://evil.example.com/v1".parse().unwrap()));
    case(after(|_, e| e.url = "https://api.example.com/v2".parse().unwrap()));
    case(after(|_, e| e.url_env = Some("BASE_URL".into())));
    case(after(|_, e| e.hosts = texts(["cdn.example.com", "*.example.org"])));
    case(after(|_, e| e.methods = texts(["GET", "POST"])));
    case(after(|_, e| e.paths = texts(["/a", "/b"])));
    case(after(|_, e| e.paths = texts([])));
    case(after(|_, e| e.auth = Auth::Query { name: "key".into(), secret: secret() }));
    case(after(|_, e| e.auth = Auth::Bearer { secret: "other".parse().unwrap() }));
    case(after(|_, e| e.inject = vec![Inject { at: "/t".into(), when: BTreeMap::new(), secret: secret() }]));
    case(after(|_, e| e.capture.clear()));
    case(after(|_, e| {
        e.capture.insert(Capture { at: "/more".into(), kind: CaptureKind::Link });
    }));
    case(after(|s, e| {
        s.http.insert("second".parse().unwrap(), e.clone());
    }));
    case(after(|s, _| s.public_http = true));
    case(after(|s, _| s.memory = true));
    case(after(|s, _| s.sessions = true));
    case(after(|s, _| s.settings = true));
    case(after(|s, _| s.provider = true));
    case(after(|s, _| s.channel = true));
    let header = |prefix: &str| Verify::Header {
        name: "X-Token".into(),
        prefix: prefix.into(),
        secret: "key".parse().unwrap(),
        on_failure: 401,
    };
    let hook = || "events".parse::<crate::Name>().unwrap();
    case(after(|s, _| drop(s.webhooks.insert(hook(), header("")))));
    let (mut granted, mut asks) = (old(), old());
    granted.webhooks.insert(hook(), header(""));
    asks.webhooks.insert(hook(), header("Bearer "));
    case(growth(&granted, &asks).into_iter().map(|g| format!("{}: {}\n", g.capability, g.text)).collect());
    case(after(|s, _| s.profile = Profile::Cpu));
    case(after(|s, _| s.life = Life::Warm));
    case(after(|s, _| s.optional.clear()));
    case(after(|s, _| {
        s.secrets.insert("second".parse().unwrap(), SecretCapability { env: None, hmac: true });
    }));
    case(after(|s, _| s.secrets.get_mut(&"key".parse::<crate::Name>().unwrap()).unwrap().env = Some("THE_KEY".into())));
    case(after(|s, _| s.secrets.get_mut(&"key".parse::<crate::Name>().unwrap()).unwrap().hmac = true));
    case(after(|s, _| {
        s.tools.get_mut("t").unwrap().uses.insert(Use::Kv);
    }));
    case(after(|s, _| {
        s.tools.get_mut("t").unwrap().uses.insert(Use::Memory);
    }));
    case(after(|s, _| s.tools.get_mut("t").unwrap().effects = Effects::NONE.with(Effect::Fetch)));
    case(after(|s, _| s.tools.get_mut("t").unwrap().effects = Effects::from(Effect::ALL.to_vec())));
    case(after(|s, _| {
        let tool = ToolCapability { effects: Effects::NONE.with(Effect::Execute), ..Default::default() };
        s.tools.insert("new".into(), tool);
    }));
    insta::assert_snapshot!(all);
}

#[test]
fn each_larger_limit_is_a_growth_and_no_smaller_one() {
    let all = |value: u32| {
        let mut set = CapabilitySet::none();
        let n = u64::from(value);
        set.limits = crate::limits::Limits {
            memory: n,
            fuel_per_call: n,
            cpu_ms_per_call: n,
            wall_ms_per_call: n,
            host_calls_per_call: n,
            host_call_bytes: n,
            handles: value,
            concurrency: value,
            result_bytes: n,
            kv_bytes: n,
            notes_bytes: n,
            log_lines_per_minute: value,
            http_requests_per_minute: value,
            http_request_bytes: n,
            http_response_bytes: n,
            warm_idle_ms: n,
        };
        set
    };
    let named: Vec<_> = growth(&all(1), &all(2)).into_iter().map(|g| g.capability).collect();
    assert_eq!(named, crate::limits::Limits::KEYS.map(|k| format!("limits.{k}")));
    assert_eq!(growth(&all(2), &all(1)), []);
}

#[test]
fn a_smaller_request_is_no_growth() {
    assert_eq!(after(|_, e| e.methods.clear()), "");
    assert_eq!(after(|_, e| e.hosts.clear()), "");
    assert_eq!(after(|_, e| e.auth = Auth::None), "");
    assert_eq!(after(|s, _| s.kv = false), "");
    assert_eq!(after(|s, _| s.tools.clear()), "");
    assert_eq!(growth(&old(), &CapabilitySet::none()), []);
}

#[test]
fn a_tool_that_only_computes_may_be_added() {
    let pure = ToolCapability::default();
    assert_eq!(after(|s, _| drop(s.tools.insert("pure".into(), pure))), "");
}

prop_compose! {
    fn any_endpoint()(
        url in proptest::sample::select(vec!["https://a.example.com/", "https://a.example.com/v1", "https://b.example.com/"]),
        url_env in proptest::option::of(Just("BASE_URL".to_owned())),
        hosts in proptest::sample::subsequence(vec!["x.example.com", "*.example.com"], 0..=2),
        methods in proptest::sample::subsequence(vec!["GET", "POST"], 0..=2),
        paths in proptest::sample::subsequence(vec!["/a", "/b"], 0..=2),
        auth in 0..4,
        injected: bool,
        captured: bool,
    ) -> HttpCapability {
        let own = |l: Vec<&str>| l.into_iter().map(str::to_owned).collect::<BTreeSet<_>>();
        let secret = || "key".parse().unwrap();
        HttpCapability {
            url: url.parse().unwrap(),
            url_env,
            hosts: own(hosts),
            methods: own(methods),
            paths: own(paths),
            auth: match auth {
                0 => Auth::None,
                1 => Auth::Bearer { secret: secret() },
                2 => Auth::Bearer { secret: "other".parse().unwrap() },
                _ => Auth::Header { name: "x-key".into(), prefix: String::new(), secret: secret() },
            },
            inject: if injected { vec![Inject { at: "/t".into(), when: BTreeMap::new(), secret: secret() }] } else { Vec::new() },
            capture: if captured { BTreeSet::from([Capture { at: "/u".into(), kind: CaptureKind::Link }]) } else { BTreeSet::new() },
        }
    }
}

prop_compose! {
    fn any_set()(
        api in proptest::option::of(any_endpoint()),
        more in proptest::option::of(any_endpoint()),
        (public_http, kv, provider, warm, cpu) in any::<(bool, bool, bool, bool, bool)>(),
        secret in proptest::option::of((proptest::option::of(Just("THE_KEY".to_owned())), any::<bool>())),
        tool in proptest::option::of((any::<bool>(), proptest::sample::subsequence(Effect::ALL.to_vec(), 1..=5))),
        memory in 1u64..4,
        handles in 1u32..3,
        (memory_notes, sessions, settings) in any::<(bool, bool, bool)>(),
        optional in proptest::sample::subsequence(vec!["kv", "memory", "sessions", "settings", "http:api", "secret:key"], 0..=6),
    ) -> CapabilitySet {
        let mut set = CapabilitySet::none();
        set.http.extend(api.map(|e| ("api".parse().unwrap(), e)));
        set.http.extend(more.map(|e| ("more".parse().unwrap(), e)));
        (set.public_http, set.kv, set.provider) = (public_http, kv, provider);
        (set.memory, set.sessions, set.settings) = (memory_notes, sessions, settings);
        set.life = if warm { Life::Warm } else { Life::Fresh };
        set.profile = if cpu { Profile::Cpu } else { Profile::Metered };
        set.secrets.extend(secret.map(|(env, hmac)| ("key".parse().unwrap(), SecretCapability { env, hmac })));
        set.tools.extend(tool.map(|(kv, effects)| {
            let uses = if kv { BTreeSet::from([Use::Kv]) } else { BTreeSet::new() };
            ("t".to_owned(), ToolCapability { uses, effects: effects.into(), ..Default::default() })
        }));
        (set.limits.memory, set.limits.handles) = (memory, handles);
        let optional: BTreeSet<String> = optional.into_iter().map(str::to_owned).collect();
        set.optional = optional.into_iter().filter(|o| set.holds(o)).collect();
        set
    }
}

/// What a grant means: whether something may be refused is a matter of asking, not of what is granted, unless both agree.
fn meaning(mut set: CapabilitySet) -> CapabilitySet {
    set.optional.clear();
    set
}

proptest! {
    #[test]
    fn nothing_grows_over_itself(set in any_set()) {
        prop_assert_eq!(growth(&set, &set), []);
        prop_assert!(set.covers(&set));
    }

    #[test]
    fn two_sets_that_do_not_grow_over_each_other_grant_the_same(a in any_set(), b in any_set()) {
        if growth(&a, &b).is_empty() && growth(&b, &a).is_empty() {
            prop_assert_eq!(meaning(a), meaning(b));
        }
    }

    #[test]
    fn a_difference_is_a_growth_in_one_direction_at_least(a in any_set(), b in any_set()) {
        if meaning(a.clone()) != meaning(b.clone()) {
            prop_assert!(!growth(&a, &b).is_empty() || !growth(&b, &a).is_empty());
        }
    }

    #[test]
    fn growing_is_judged_alike_through_a_step_between(a in any_set(), b in any_set(), c in any_set()) {
        let (a, b, c) = (meaning(a), meaning(b), meaning(c));
        if growth(&a, &b).is_empty() && growth(&b, &c).is_empty() {
            prop_assert_eq!(growth(&a, &c), []);
        }
    }

    #[test]
    fn refusing_options_never_grows(set in any_set()) {
        let refused: Vec<String> = set.optional.iter().cloned().collect();
        let smaller = set.without_optional(&refused);
        prop_assert_eq!(growth(&set, &smaller), []);
        prop_assert!(smaller.covers(&set));
    }
}
