use super::*;
use proptest::prelude::*;
use serde_json::json;

fn rule(at: &str, when: &[(&str, Vec<Value>)], secret: &str) -> Inject {
    Inject {
        at: at.to_owned(),
        when: when.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
        secret: secret.parse().unwrap(),
    }
}

fn secrets(pairs: &[(&str, &str)]) -> BTreeMap<SecretName, SecretString> {
    pairs.iter().map(|(k, v)| (k.parse().unwrap(), SecretString::from(*v))).collect()
}

fn run(body: &Value, rules: &[Inject]) -> Option<Value> {
    let known = secrets(&[("token", "the-secret-value"), ("other", "another-value")]);
    inject(&serde_json::to_vec(body).unwrap(), rules, &known).map(|b| serde_json::from_slice(&b).unwrap())
}

#[test]
fn a_null_becomes_the_secret_when_the_condition_holds() {
    let rules = [rule("/d/token", &[("/op", vec![json!(2), json!(6)])], "token")];
    assert_eq!(
        run(&json!({"op": 2, "d": {"token": null, "x": 1}}), &rules),
        Some(json!({"op": 2, "d": {"token": "the-secret-value", "x": 1}}))
    );
    for body in [
        json!({"op": 1, "d": {"token": null}}),
        json!({"d": {"token": null}}),
        json!({"op": 2, "d": {"token": "mine"}}),
        json!({"op": 2, "d": {"token": ""}}),
        json!({"op": 2, "d": {"token": false}}),
        json!({"op": 2, "d": {}}),
        json!({"op": 2}),
        json!([]),
    ] {
        assert_eq!(run(&body, &rules), None, "{body}");
    }
}

#[test]
fn pointers_are_rfc_6901() {
    let rules = [rule("/a~1b/0/m~0n", &[], "token")];
    assert_eq!(run(&json!({"a/b": [{"m~n": null}]}), &rules), Some(json!({"a/b": [{"m~n": "the-secret-value"}]})));
}

#[test]
fn a_condition_reads_the_guests_body_and_not_what_another_rule_set() {
    let rules = [rule("/a", &[], "token"), rule("/b", &[("/a", vec![json!("the-secret-value")])], "other")];
    assert_eq!(run(&json!({"a": null, "b": null}), &rules), Some(json!({"a": "the-secret-value", "b": null})));
    // Otherwise a guest could ask, rule by rule, whether a secret has a value.
}

#[test]
fn text_of_the_guest_is_never_expanded() {
    let rules = [rule("/token", &[], "token")];
    let body = json!({"token": null, "text": "{{secret:token}} ${token} $token %token%"});
    let out = run(&body, &rules).unwrap();
    assert_eq!(out["text"], body["text"]);
}

#[test]
fn what_is_not_json_stays_as_it_is() {
    let rules = [rule("/token", &[], "token")];
    for body in [&b"token=null"[..], b"{\"token\":null", b"", b"\xff\xfe"] {
        assert_eq!(inject(body, &rules, &secrets(&[("token", "the-secret-value")])), None);
        assert!(wanted(body, &rules).is_empty());
    }
}

#[test]
fn only_the_secrets_of_applying_rules_are_wanted() {
    let rules = [rule("/a", &[], "token"), rule("/b", &[], "other")];
    let wanted = wanted(br#"{"a":null,"b":1}"#, &rules);
    assert_eq!(wanted.into_iter().map(|n| n.to_string()).collect::<Vec<_>>(), ["token"]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(Value::from("{{secret:token}}")),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-c/~]{1,2}", inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// All differences, as pointers.
fn differences(a: &Value, b: &Value, at: &str, out: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                let key_at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                differences(value, &b[key], &key_at, out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differences(a, b, &format!("{at}/{i}"), out);
            }
        }
        _ if a == b => {}
        _ => out.push(at.to_owned()),
    }
}

proptest! {
    #[test]
    fn only_nulls_at_a_rules_place_change(body in any_json(), at in "(/([a-c]|[0-3]|a~1)){1,3}") {
        let rules = [rule(&at, &[], "token")];
        let out = run(&body, &rules);
        let mut changed = Vec::new();
        differences(&body, out.as_ref().unwrap_or(&body), "", &mut changed);
        if body.pointer(&at) == Some(&Value::Null) {
            prop_assert_eq!(changed, vec![at.clone()]);
            prop_assert_eq!(out.unwrap().pointer(&at).cloned(), Some(json!("the-secret-value")));
        } else {
            prop_assert!(out.is_none() && changed.is_empty());
        }
    }
}
