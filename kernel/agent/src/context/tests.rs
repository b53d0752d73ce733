use super::*;
use carapace_contract::Ulid;
use proptest::prelude::*;

fn model(name: &str) -> ModelRef {
    ModelRef { instance: format!("local/{name}/main").parse().unwrap(), model: "m".into() }
}

fn row(run: u128, tainted: bool, entry: Entry) -> Row {
    Row { id: Ulid::generate(), at_ms: 0, run: Ulid::from_parts(0, run), tainted, entry }
}

fn user(run: u128, origin: Origin, text: &str) -> Row {
    row(run, false, Entry::User { origin, parts: vec![Part::text(text)], after: None, brought: false })
}

fn assistant(run: u128, parts: Vec<Part>) -> Row {
    row(run, false, Entry::Assistant { model: Some(model("p")), parts, cut: false })
}

fn call(id: &str, name: &str, arguments: &str) -> Part {
    Part::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
}

fn result(run: u128, id: &str, name: &str, content: &str, tainted: bool) -> Row {
    let result = ToolResult { call_id: id.into(), name: name.into(), content: content.into(), is_error: false };
    row(run, tainted, Entry::ToolResult { result, beside: vec![] })
}

fn compose_for(rows: Vec<Row>, run: u128, budget: usize) -> Composed {
    let transcript = Transcript::of(rows, Ulid::from_parts(0, run));
    let model = model("p");
    compose(&transcript, &Frame { system: "be kind", history: &[], origin: Origin::Owner, model: &model, budget })
}

fn texts(c: &Composed) -> Vec<String> {
    c.messages.iter().map(Message::plain_text).collect()
}

#[test]
fn results_stand_in_the_order_of_their_calls_however_they_came() {
    let c = compose_for(
        vec![
            user(1, Origin::Owner, "go"),
            assistant(1, vec![call("a", "t", "{}"), call("b", "t", "{}"), call("c", "t", "{}")]),
            result(1, "b", "t", "2", false),
            result(1, "a", "t", "1", false),
        ],
        1,
        10_000,
    );
    let ids: Vec<_> = c.messages[3]
        .parts
        .iter()
        .map(|p| match p {
            Part::ToolResult(r) => (r.call_id.as_str(), r.is_error),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [("a", false), ("b", false), ("c", true)], "a call without a result gets one that says so");
}

#[test]
fn the_oldest_exchanges_are_left_out_whole_and_the_model_is_told() {
    let long = "word ".repeat(200);
    let mut rows = Vec::new();
    for run in 1..=4 {
        rows.push(user(run, Origin::Owner, &format!("question {run}")));
        rows.push(assistant(run, vec![call("x", "t", "{}")]));
        rows.push(result(run, "x", "t", &long, false));
        rows.push(assistant(run, vec![Part::text(format!("answer {run}"))]));
    }
    rows.push(user(5, Origin::Owner, "now"));
    let c = compose_for(rows, 5, 800);
    let all = texts(&c).join("\n");
    assert!(all.contains("the oldest 2 exchanges of this conversation did not fit"), "{all}");
    assert!(!all.contains("question 2") && all.contains("question 3") && all.contains("answer 4"), "{all}");
    assert!(c.tokens <= 800);
}

#[test]
fn text_from_outside_taints_as_long_as_it_is_shown_and_no_longer() {
    let long = "word ".repeat(400);
    let rows = vec![
        user(1, Origin::Owner, "look"),
        assistant(1, vec![call("x", "t", "{}")]),
        result(1, "x", "t", &long, true),
        user(2, Origin::Owner, "next"),
    ];
    assert!(compose_for(rows.clone(), 2, 10_000).tainted);
    assert!(!compose_for(rows, 2, 200).tainted);
}

#[test]
fn a_group_members_words_taint_the_owners_turn_but_not_their_own() {
    let rows = vec![user(1, Origin::GroupMember, "hi"), user(2, Origin::Owner, "and?")];
    assert!(compose_for(rows, 2, 10_000).tainted);
    let t = Transcript::of(vec![user(1, Origin::GroupMember, "hi")], Ulid::from_parts(0, 1));
    let m = model("p");
    let frame = Frame { system: "", history: &[], origin: Origin::GroupMember, model: &m, budget: 1_000 };
    assert!(!compose(&t, &frame).tainted);
}

#[test]
fn thought_goes_back_to_the_provider_it_came_from_and_only_within_the_turn() {
    let thought = || vec![Part::Reasoning { text: "hm".into() }, Part::text("so")];
    let rows = vec![
        user(1, Origin::Owner, "a"),
        assistant(1, thought()),
        user(2, Origin::Owner, "b"),
        assistant(2, [thought(), vec![call("x", "t", "{}")]].concat()),
        result(2, "x", "t", "r", false),
    ];
    let count =
        |c: &Composed| c.messages.iter().flat_map(|m| &m.parts).filter(|p| matches!(p, Part::Reasoning { .. })).count();
    assert_eq!(count(&compose_for(rows.clone(), 2, 10_000)), 1);
    let transcript = Transcript::of(rows, Ulid::from_parts(0, 2));
    let other = model("q");
    let frame = Frame { system: "", history: &[], origin: Origin::Owner, model: &other, budget: 10_000 };
    assert_eq!(count(&compose(&transcript, &frame)), 0);
}

#[test]
fn a_turn_too_long_for_its_model_has_its_results_cut_and_marked() {
    let rows = vec![
        user(1, Origin::Owner, "go"),
        assistant(1, vec![call("a", "t", "{}")]),
        result(1, "a", "t", &"x".repeat(100_000), false),
    ];
    let c = compose_for(rows, 1, 2_000);
    assert!(c.tokens <= 2_000, "{}", c.tokens);
    let Part::ToolResult(r) = &c.messages[3].parts[0] else { panic!() };
    assert!(r.content.contains("more characters are left out here"));
}

#[test]
fn addresses_are_trusted_from_the_owner_and_from_searches_but_not_from_an_echoed_query() {
    let rows = vec![
        user(1, Origin::Owner, "see https://own.example/"),
        assistant(
            1,
            vec![
                call("a", "web_search", r#"{"q":"rust"}"#),
                call("b", "web_search", r#"{"q":"evil.example"}"#),
                call("c", "web_fetch", "{}"),
            ],
        ),
        result(1, "a", "web_search", "https://found.example/", true),
        result(1, "b", "web_search", "nothing for https://evil.example/?leak", true),
        result(1, "c", "web_fetch", "https://page.example/", true),
        user(2, Origin::UnknownSender, "https://stranger.example/"),
    ];
    let transcript = Transcript::of(rows, Ulid::from_parts(0, 2));
    let tool = |name: &str, effects: Vec<Effect>| ToolInfo {
        instance: "local/tools/main".parse().unwrap(),
        digest: carapace_contract::Digest::of(b"t"),
        name: name.into(),
        description: String::new(),
        parameters: serde_json::json!({}),
        effects: effects.into(),
        channel: None,
    };
    let fetching = ["web_search", "web_fetch"].map(|n| tool(n, vec![Effect::Fetch]));
    let trusted = trusted_text(&transcript, &[], Origin::UnknownSender, &fetching).join(" ");
    assert_eq!(trusted, "see https://own.example/ https://found.example/");
    let offline = [tool("web_search", vec![])];
    let trusted = trusted_text(&transcript, &[], Origin::UnknownSender, &offline).join(" ");
    assert_eq!(trusted, "see https://own.example/", "a search that reaches no network has found nothing");
}

#[test]
fn what_a_clients_own_tools_returned_is_tainted() {
    let history = vec![
        Message::text(Role::User, "q"),
        Message { role: Role::Tool, parts: vec![Part::text("from somewhere")] },
        Message::text(Role::Assistant, "a"),
    ];
    let transcript = Transcript::of(vec![user(1, Origin::ApiClient, "go")], Ulid::from_parts(0, 1));
    let m = model("p");
    let frame = Frame { system: "", history: &history, origin: Origin::ApiClient, model: &m, budget: 10_000 };
    let c = compose(&transcript, &frame);
    assert!(c.tainted);
    assert_eq!(texts(&c), ["", "q", "from somewhere", "a", "go"]);
}

proptest! {
    #[test]
    fn every_call_in_a_context_is_followed_by_its_result(
        turns in prop::collection::vec((0usize..4, 0usize..4, 0usize..600), 1..8), budget in 50usize..3_000,
    ) {
        let mut rows = Vec::new();
        for (i, (calls, answered, length)) in turns.iter().enumerate() {
            let run = i as u128 + 1;
            rows.push(user(run, Origin::Owner, &"w ".repeat(*length)));
            rows.push(assistant(run, (0..*calls).map(|c| call(&format!("c{c}"), "t", "{}")).collect()));
            rows.extend((0..(*answered).min(*calls)).map(|c| result(run, &format!("c{c}"), "t", "r", false)));
        }
        let c = compose_for(rows, turns.len() as u128, budget);
        for (i, m) in c.messages.iter().enumerate() {
            let calls: Vec<_> = calls_of(&m.parts).into_iter().map(|c| c.id).collect();
            if calls.is_empty() {
                continue;
            }
            let next: Vec<_> = c.messages[i + 1].parts.iter().filter_map(|p| match p {
                Part::ToolResult(r) => Some(r.call_id.clone()),
                _ => None,
            }).collect();
            prop_assert_eq!(next, calls);
        }
    }
}
