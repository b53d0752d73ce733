//! One channel in two languages, on the same events in turn: the webhook channel, and its twin in TypeScript.

use crate::languages::verified;
use crate::report::{Report, Samples, timed};
use crate::support::{Subject, Watch, engines};
use carapace_registry::package;
use carapace_runtime::bindings::channel::{Content, Conversation, ConversationKind, Event, WebhookRequest};
use carapace_runtime::{Admission, Class, Entry};
use carapace_tests::foreign;
use std::sync::Arc;

const CALLS: usize = 500;
/// An answer of some length, bytes.
const ANSWER: usize = 4 << 10;

fn event() -> Event {
    Event::Webhook(WebhookRequest {
        webhook: "token".into(),
        method: "POST".into(),
        query: String::new(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: br#"{"id":"build-811","from":"ci","conversation":"deploys","text":"Did the last deployment go well?"}"#
            .to_vec(),
    })
}

fn conversation() -> Conversation {
    Conversation { id: "deploys".into(), kind: ConversationKind::Direct, thread: None, title: None }
}

pub(crate) async fn measure(report: &mut Report) {
    let twin = match foreign::component("webhook-ts") {
        Ok(twin) => package::build(&twin, &foreign::manifest("components/channels/webhook")).unwrap(),
        Err(why) => return eprintln!("the twin is not measured: {why}"),
    };
    let original = std::fs::read(carapace_tests::bundle().join("webhook.wasm")).unwrap();
    let engines = engines();
    let mut subjects = Vec::new();
    for (name, bytes) in [("channel in Rust", original), ("channel in TypeScript", twin)] {
        report.put(&format!("{name}: package"), bytes.len() as f64 / 1e6, "MB", None, 1);
        let mut subject = Subject::new(&engines, &verified(bytes)).await;
        subject.watch = Arc::new(Watch { config: Some("{}".into()), ..Watch::default() });
        subjects.push((name, subject, Samples::default(), Samples::default()));
    }
    let text = "A line of an answer.\n".repeat(ANSWER / 21);
    for n in 0..CALLS + 20 {
        for (_, subject, events, rendered) in &mut subjects {
            let admission = || Admission::new(Class::Ingress);
            let (led, took) = timed(async {
                subject
                    .loaded
                    .channel_event(subject.state(Entry::Channel), admission(), b"null".to_vec(), event(), 1)
                    .await
            })
            .await;
            assert_eq!(led.unwrap().unwrap().inbound.len(), 1);
            let content = Content { text: text.clone(), reply_to: None, files: Vec::new(), extra: Vec::new() };
            let (parts, took_to_render) = timed(async {
                subject.loaded.render_content(subject.state(Entry::Channel), admission(), conversation(), content).await
            })
            .await;
            assert_eq!(parts.unwrap().unwrap().len(), 1);
            if n >= 20 {
                events.add(took);
                rendered.add(took_to_render);
            }
        }
    }
    let [rust, ..] = subjects.as_slice() else { return };
    let (first_event, first_rendered) = (rust.2.median(), rust.3.median());
    for (name, subject, events, rendered) in &subjects {
        report.both(&format!("{name}: an event"), events, "us", None, None);
        report.put(&format!("{name}: an event / Rust's"), events.median() / first_event, "x", None, CALLS);
        report.both(&format!("{name}: 4 KiB rendered"), rendered, "us", None, None);
        report.put(&format!("{name}: 4 KiB rendered / Rust's"), rendered.median() / first_rendered, "x", None, CALLS);
        let peak = subject.instance.meter().snapshot().peak_memory;
        report.put(&format!("{name}: memory of a call"), peak as f64 / 1e6, "MB", None, 1);
    }
}
