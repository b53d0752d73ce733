use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const ORIGINS: [Origin; 7] = [
    Origin::Owner,
    Origin::ApiClient,
    Origin::PairedUser,
    Origin::GroupMember,
    Origin::UnknownSender,
    Origin::Webhook,
    Origin::Schedule,
];

fn call(effects: Effects, arguments: Value, origin: Origin, tainted: bool) -> PlannedCall {
    PlannedCall {
        run: ulid::Ulid::nil(),
        session: "s".into(),
        call_id: "c".into(),
        instance: "local/tools/main".parse().unwrap(),
        digest: Digest::of(b"x"),
        tool: "t".into(),
        arguments,
        effects,
        origin,
        tainted,
        place: None,
        elsewhere: false,
    }
}

fn all_effects() -> impl Iterator<Item = Effects> {
    (0u8..32).map(|bits| Effect::ALL.into_iter().filter(|e| bits & *e as u8 != 0).fold(Effects::NONE, Effects::with))
}

fn short(v: &Verdict) -> String {
    match v {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::Ask(d) => format!("ask  {}", d.code),
        Verdict::Deny(d) => format!("deny {}", d.code),
    }
}

fn strictness(v: &Verdict) -> u8 {
    match v {
        Verdict::Allow(_) => 0,
        Verdict::Ask(_) => 1,
        Verdict::Deny(_) => 2,
    }
}

fn decide(effects: Effects, arguments: Value, origin: Origin, tainted: bool, trusted: &[&str]) -> Verdict {
    let trusted_text = trusted.iter().map(|s| (*s).to_owned()).collect();
    authorize(call(effects, arguments, origin, tainted), &Circumstances { trusted_text })
}

#[test]
fn every_combination_is_decided_as_the_table_says() {
    use std::fmt::Write as _;
    let mut table = String::new();
    for origin in ORIGINS {
        for tainted in [false, true] {
            for effects in all_effects() {
                let cells: Vec<_> = [
                    ("no address", json!({"q": "rust"}), vec![]),
                    ("own address", json!({"url": "https://a.example/x"}), vec!["see https://a.example/x please"]),
                    ("foreign address", json!({"url": "https://b.example/x"}), vec!["see https://a.example/x please"]),
                ]
                .into_iter()
                .map(|(name, args, trusted)| {
                    format!("{name}: {}", short(&decide(effects, args, origin, tainted, &trusted)))
                })
                .collect();
                let taint = if tainted { "tainted" } else { "clean" };
                writeln!(table, "{origin:?} | {taint} | {effects} | {}", cells.join(" | ")).unwrap();
            }
        }
    }
    insta::assert_snapshot!("table", table);
}

#[test]
fn each_refusal_reads_as_a_sentence() {
    let one = |e| Effects::NONE.with(e);
    let sentence = |v: Verdict| match v {
        Verdict::Allow(_) => "allowed".to_owned(),
        Verdict::Ask(d) | Verdict::Deny(d) => d.to_string(),
    };
    let mut all = vec![
        sentence(decide(one(Effect::Execute), json!({}), Origin::Owner, false, &[])),
        sentence(decide(one(Effect::Send), json!({}), Origin::Owner, true, &[])),
        sentence(decide(one(Effect::Fetch), json!({"url": "evil.example"}), Origin::Owner, true, &[])),
    ];
    for origin in ORIGINS {
        all.push(sentence(decide(one(Effect::Write), json!({}), origin, false, &[])));
        all.push(sentence(decide(one(Effect::Execute), json!({}), origin, false, &[])));
    }
    insta::assert_snapshot!("sentences", all.join("\n"));
}

fn fetch(arguments: Value, trusted: &[&str]) -> bool {
    let v = decide(Effects::NONE.with(Effect::Fetch), arguments, Origin::Owner, true, trusted);
    matches!(v, Verdict::Allow(_))
}

#[test]
fn an_address_hidden_anywhere_in_the_arguments_is_found() {
    for hidden in [
        json!({"url": "https://evil.example/?leak=1"}),
        json!({"a": {"b": [1, {"c": "see HTTPS://evil.example"}]}}),
        json!({"text": "ht\ntps://evil.example"}),
        json!({"text": "https:\\\\evil.example"}),
        json!({"text": "https:evil.example"}),
        json!({"url": "evil.example"}),
        json!({"page_url": "//evil.example/x"}),
        json!({"urls": ["ok", "evil.example"]}),
        json!({"address": "10.0.0.1"}),
        json!({"page": "evil.example/path"}),
        json!({"page": "169.254.169.254"}),
        json!({"https://evil.example": 1}),
        json!({"text": "ftp://evil.example"}),
        json!({"href": "https://a.example@evil.example/"}),
        json!({"url": "https://a.example/x?leak=secret"}),
        json!({"url": "http://a.example/x"}),
        json!({"url": "https://a.example:8443/x"}),
        json!({"text": "https://a.example/x https://evil.example"}),
        json!({"text": "xhttp://evil.example"}),
    ] {
        assert!(!fetch(hidden.clone(), &["the owner wrote https://a.example/x"]), "{hidden}");
    }
}

#[test]
fn an_address_the_owner_wrote_may_be_fetched_however_it_is_spelt() {
    for (arguments, trusted) in [
        (json!({"url": "https://A.example/x"}), "read https://a.example/x."),
        (json!({"url": "https://a.example:443/x#part"}), "(https://a.example/x)"),
        (json!({"url": "https://a.example/"}), "what is on a.example?"),
        (json!({"url": "a.example"}), "what is on a.example?"),
        (json!({"url": "https://a.example/x"}), "read http://a.example/x"),
        (json!({"url": "https://a.example/wiki/Rust_(game)"}), "https://a.example/wiki/Rust_(game)"),
        (json!({"url": "https://a.example/?to=https://b.example/"}), "https://a.example/?to=https://b.example/"),
        (json!({"query": "weather in Rome", "count": 3}), ""),
        (json!({"file": "notes.txt"}), ""),
    ] {
        assert!(fetch(arguments.clone(), &[trusted]), "{arguments} with {trusted:?}");
    }
}

#[test]
fn the_refused_address_is_named_and_so_is_the_way_to_allow_it() {
    let v = decide(Effects::NONE.with(Effect::Fetch), json!({"url": "https://b.example/p"}), Origin::Owner, true, &[]);
    let Verdict::Ask(d) = v else { panic!("{v:?}") };
    assert!(d.message.contains("https://b.example/p"), "{d}");
    assert!(d.fix.contains("https://b.example/p"), "{d}");
}

fn any_effects() -> impl Strategy<Value = Effects> {
    prop::collection::vec(prop::sample::select(Effect::ALL.to_vec()), 0..5).prop_map(Effects::from)
}

fn any_arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"url": "https://a.example/x"})),
        Just(json!({"url": "https://b.example/x"})),
        "\\PC{0,40}".prop_map(|s| json!({"text": s})),
        "[a-z:/.]{0,40}".prop_map(|s| json!({"url": s})),
    ]
}

proptest! {
    #[test]
    fn adding_taint_or_an_effect_never_widens(
        effects in any_effects(), more in any_effects(), arguments in any_arguments(),
        origin in prop::sample::select(ORIGINS.to_vec()), trusted in "\\PC{0,40}",
    ) {
        let trusted = [trusted.as_str(), "https://a.example/x"];
        let plain = strictness(&decide(effects, arguments.clone(), origin, false, &trusted));
        let tainted = strictness(&decide(effects, arguments.clone(), origin, true, &trusted));
        prop_assert!(tainted >= plain);
        for taint in [false, true] {
            let fewer = strictness(&decide(effects, arguments.clone(), origin, taint, &trusted));
            let wider = strictness(&decide(effects.union(more), arguments.clone(), origin, taint, &trusted));
            prop_assert!(wider >= fewer);
        }
    }

    #[test]
    fn trusting_more_text_never_narrows_and_no_text_panics(a in "\\PC{0,60}", b in "\\PC{0,60}", arguments in any_arguments()) {
        if fetch(arguments.clone(), &[&a]) {
            prop_assert!(fetch(arguments, &[&a, &b]));
        }
    }
}

#[test]
fn nobody_but_the_owner_acts_in_another_conversation_than_the_turns_own() {
    for origin in ORIGINS {
        for effects in all_effects() {
            let call = PlannedCall { elsewhere: true, ..call(effects, json!({}), origin, false) };
            let verdict = authorize(call.clone(), &Circumstances { trusted_text: Vec::new() });
            if origin.acts_for_owner() {
                let own =
                    authorize(PlannedCall { elsewhere: false, ..call }, &Circumstances { trusted_text: Vec::new() });
                assert_eq!(short(&verdict), short(&own), "{origin:?}");
            } else {
                assert_eq!(short(&verdict), "deny E-CHECK-012", "{origin:?}");
            }
        }
    }
}
