//! The same door for components of other languages: what they weigh, how long they compile, what a fresh call of each costs, in turn.

use crate::report::{Report, Samples, timed};
use crate::support::{Subject, engines};
use carapace_registry::{VerifiedPackage, package, testing};
use carapace_runtime::bindings::tools;
use carapace_runtime::{Admission, Class, Entry};
use carapace_tests::foreign;
use std::time::Instant;

const CALLS: usize = 500;

struct Language {
    name: &'static str,
    package: VerifiedPackage,
    tool: &'static str,
    arguments: &'static str,
}

pub(crate) fn verified(bytes: Vec<u8>) -> VerifiedPackage {
    let key = testing::key(0);
    let bundle = package::sign(&bytes, &key).unwrap();
    carapace_registry::verify(bytes, &bundle, &testing::trust("local", &key)).unwrap()
}

/// The smallest call of an example in each language that could be built here.
fn languages() -> Vec<Language> {
    let math = std::fs::read(carapace_tests::bundle().join("math.wasm")).unwrap();
    let mut all = vec![Language {
        name: "Rust",
        package: verified(math),
        tool: "math_eval",
        arguments: r#"{"expression":"6*7"}"#,
    }];
    let others = [
        ("Rust for WASI", "foreign", "tests/foreign/wasip2", "foreign_plain", r#"{"do":"environment"}"#),
        ("TypeScript", "todo", "sdk/examples/typescript", "todo_list", "{}"),
        ("Python", "words", "sdk/examples/python", "words_longest", "{}"),
    ];
    for (name, component, folder, tool, arguments) in others {
        match foreign::component(component) {
            Ok(bytes) => {
                let package = verified(package::build(&bytes, &foreign::manifest(folder)).unwrap());
                all.push(Language { name, package, tool, arguments });
            }
            Err(why) => eprintln!("{name} is not measured: {why}"),
        }
    }
    all
}

pub(crate) async fn measure(report: &mut Report) {
    let engines = engines();
    let mut subjects = Vec::new();
    for language in languages() {
        let name = language.name;
        report.put(&format!("{name}: package"), language.package.bytes().len() as f64 / 1e6, "MB", None, 1);
        let begun = Instant::now();
        let subject = Subject::new(&engines, &language.package).await;
        report.put(&format!("{name}: compiled and mapped"), begun.elapsed().as_secs_f64() * 1e3, "ms", None, 1);
        subjects.push((language, subject, Samples::default()));
    }
    for n in 0..CALLS + 20 {
        for (language, subject, samples) in &mut subjects {
            let (_, took) = timed(async {
                let state = subject.state(Entry::Tool(language.tool));
                let context =
                    tools::Context { call_id: "1".into(), session: "bench".into(), timezone: None, extra: Vec::new() };
                let (tool, arguments) = (language.tool.to_owned(), language.arguments.to_owned());
                // An answer, or the tool's own error: both are a whole call.
                let _ = subject
                    .loaded
                    .call_tool(state, Admission::new(Class::Tool), tool, arguments, context)
                    .await
                    .unwrap();
            })
            .await;
            if n >= 20 {
                samples.add(took);
            }
        }
    }
    let rust = subjects.first().map_or(1.0, |(_, _, samples)| samples.median());
    for (language, subject, samples) in &subjects {
        let name = language.name;
        report.both(&format!("{name}: a fresh call"), samples, "us", None, None);
        report.put(&format!("{name}: a fresh call / Rust's"), samples.median() / rust, "x", None, CALLS);
        let peak = subject.instance.meter().snapshot().peak_memory;
        report.put(&format!("{name}: memory of a call"), peak as f64 / 1e6, "MB", None, 1);
    }
}
