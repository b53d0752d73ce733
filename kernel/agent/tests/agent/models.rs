use crate::world::*;
use carapace_contract::completion::{FailureKind, StopReason};
use carapace_contract::turn::TurnEventKind;
use serde_json::json;

fn busy() -> Say {
    Say::Fail(FailureKind::RateLimited, true, None)
}

#[tokio::test]
async fn a_busy_model_is_tried_again_before_the_next_one_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let h =
        Plan::new(|m, _, _| if m.instance.name().as_str() == "p" { vec![busy()] } else { vec![Say::Text("from q")] })
            .build(dir.path());
    *h.models.route.lock().unwrap() = vec![model("p"), model("q")];
    let events = h.turn(ask("s", "hi")).await;
    assert_eq!(h.asked(), ["p/m", "p/m", "p/m", "q/m"]);
    let Some(TurnEventKind::Completed { text, model, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((text.as_str(), model.as_str()), ("from q", "q/m"));
}

#[tokio::test]
async fn a_busy_model_that_recovers_answers_itself() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| if n == 0 { vec![busy()] } else { vec![Say::Text("ok")] }).build(dir.path());
    assert_eq!(completed(&h.turn(ask("s", "hi")).await), "ok");
}

#[tokio::test]
async fn after_something_was_said_nothing_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let h =
        Plan::new(|_, _, _| vec![Say::Text("I th"), Say::Fail(FailureKind::Interrupted, true, None)]).build(dir.path());
    *h.models.route.lock().unwrap() = vec![model("p"), model("q")];
    let events = h.turn(ask("s", "hi")).await;
    let (code, message) = failed(&events);
    assert_eq!(code, "E-MODEL-007");
    assert!(message.contains("p/m") && message.contains("it failed"), "{message}");
    assert_eq!(h.asked(), ["p/m"]);
    assert_eq!(h.kinds("s").await, ["user", "assistant", "note"], "what was said is kept");
}

#[tokio::test]
async fn a_wrong_request_is_not_sent_to_anyone_else() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Fail(FailureKind::InvalidRequest, false, None)]).build(dir.path());
    *h.models.route.lock().unwrap() = vec![model("p"), model("q")];
    assert_eq!(failed(&h.turn(ask("s", "hi")).await).0, "E-MODEL-003");
    assert_eq!(h.asked(), ["p/m"]);
}

#[tokio::test]
async fn an_unknown_model_is_refused_with_the_ports_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![]).build(dir.path());
    let mut r = ask("s", "hi");
    r.model = Some("none".into());
    let (code, message) = failed(&h.turn(r).await);
    assert_eq!(code, "E-ROUTE-001");
    assert!(message.contains("carapace models"), "{message}");
}

#[tokio::test]
async fn a_provider_that_says_nothing_completes_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Stop(StopReason::ContentFilter)]).build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    let Some(TurnEventKind::Completed { text, stop, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((text.as_str(), stop), ("", &StopReason::ContentFilter));
}

#[tokio::test]
async fn a_used_up_token_budget_stops_the_next_completion_and_names_the_line_that_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok"), Say::Used(900, 200)])
        .config("{ budget: { dailyTokens: 1000 } }")
        .build(dir.path());
    h.turn(ask("s", "one")).await;
    let (code, message) = failed(&h.turn(ask("s", "two")).await);
    assert_eq!(code, "E-BUDGET-001");
    assert!(message.contains("budget: { dailyTokens: 2000 }"), "{message}");
    assert_eq!(h.asked().len(), 1);
}

#[tokio::test]
async fn money_is_booked_by_price_and_capped_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = "{ budget: { dailyUsd: 0.01, pricing: { 'p/*': { inputPerMTok: 3, outputPerMTok: 15 } } } }";
    {
        let h = Plan::new(|_, _, _| vec![Say::Text("ok"), Say::Used(1_000, 500)]).config(config).build(dir.path());
        h.turn(ask("s", "one")).await;
        let usage = h.store.usage("2024-02-29", "2024-02-29").await.unwrap();
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].input, usage[0].output, usage[0].cost_micros, usage[0].requests), (1_000, 500, 10_500, 1));
        assert_eq!((usage[0].instance.as_str(), usage[0].model.as_str()), ("local/p/main", "m"));
        h.store.close().await;
    }
    let h = Plan::new(|_, _, _| vec![Say::Text("ok")]).config(config).build(dir.path());
    let (code, message) = failed(&h.turn(ask("s", "two")).await);
    assert_eq!(code, "E-BUDGET-001");
    assert!(message.contains("$0.01") && message.contains("dailyUsd"), "{message}");
}

#[tokio::test]
async fn a_new_day_starts_with_an_empty_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("ok"), Say::Used(900, 200)])
        .config("{ budget: { dailyTokens: 1000 } }")
        .build(dir.path());
    h.turn(ask("s", "one")).await;
    h.clock.now.fetch_add(86_400_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(completed(&h.turn(ask("s", "two")).await), "ok");
}

#[tokio::test]
async fn a_provider_that_reports_no_usage_is_booked_by_estimate() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, _| vec![Say::Text("a few words of an answer")]).build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    let Some(TurnEventKind::Completed { usage, .. }) = events.last() else { panic!() };
    assert!(usage.input > 50 && usage.output > 4, "{usage:?}");
}

#[tokio::test]
async fn every_completion_of_a_turn_is_booked_once() {
    let dir = tempfile::tempdir().unwrap();
    let h = Plan::new(|_, _, n| match n {
        0 => vec![Say::Call("c", "compute", json!({})), Say::Used(10, 1)],
        _ => vec![Say::Text("ok"), Say::Used(20, 2)],
    })
    .build(dir.path());
    let events = h.turn(ask("s", "hi")).await;
    let Some(TurnEventKind::Completed { usage, .. }) = events.last() else { panic!() };
    assert_eq!((usage.input, usage.output), (30, 3));
    let rows = h.store.usage("2024-02-29", "2024-02-29").await.unwrap();
    assert_eq!((rows[0].input, rows[0].output, rows[0].requests), (30, 3, 2));
}
