//! The built-in model beside llama.cpp, one thread each, in turn: processor time, which other work on the machine changes little.
//!
//! Both read the same kind of prompt: a fixed beginning that is kept, and a message that is new each time. Ours is the component in the
//! kernel's sandbox, the other a native server; both sides' whole processes are counted.

use crate::report::{Report, Samples, timed};
use crate::support::{Subject, engines};
use carapace_registry::testing;
use carapace_runtime::bindings::provider::{Message, Part, Request, Role};
use carapace_runtime::{Admission, Class, Engines, Entry, Warm};
use carapace_tests::server::Server;
use carapace_tests::{kernel, peers};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

const ROUNDS: usize = 5;
/// Tokens written at most, of which the first is the prompt's.
const WRITTEN: u32 = 65;
/// Who is compared; the last with the others.
const SIDES: [&str; 3] = ["built-in", "built-in without relaxed SIMD", "llama.cpp"];
/// The encoding that is asked for, and the other one that both sides read.
const ENCODINGS: [&str; 2] = ["", "Q4_0, "];
const SYSTEM: &str = "You are a helpful assistant.";

pub(crate) async fn measure(report: &mut Report) {
    let weights = match peers::model() {
        Ok(weights) => weights,
        Err(why) => return peers::skip("the weights", &why),
    };
    let llama = match Llama::start(&weights) {
        Ok(llama) => llama,
        Err(why) => return peers::skip("llama.cpp", &why),
    };
    let package = carapace_tests::bundle().join("local.wasm");
    report.put("size of the component", std::fs::metadata(&package).unwrap().len() as f64 / 1e3, "kB", None, 1);
    let engines = engines();
    let before = resident("self");
    let [mut cold, mut warm, mut cold_cpu, mut warm_cpu] = std::array::from_fn(|_| Samples::default());
    let mut ours = Ours::new(&engines, &package, &weights).await;
    for n in 0..ROUNDS {
        ours = Ours::new(&engines, &package, &weights).await;
        let (answer, took) = timed(ours.answer(&message(0, n), 1)).await;
        cold.add(took);
        cold_cpu.add_us(answer.cpu * 1e6);
        let (answer, took) = timed(ours.answer(&message(0, n + 100), 1)).await;
        warm.add(took);
        warm_cpu.add_us(answer.cpu * 1e6);
    }
    for (what, took, cpu) in [("weights loaded, beginning read", &cold, &cold_cpu), ("kept instance", &warm, &warm_cpu)]
    {
        report.put(&format!("first token: {what}, median"), took.median() / 1e3, "ms", None, ROUNDS);
        report.put(&format!("first token: {what}, CPU time, median"), cpu.median() / 1e3, "ms", None, ROUNDS);
    }
    report.put("resident memory more than before: loaded", resident("self") - before, "MB", None, 1);
    llama.answer(&message(0, 999), 1).await;
    ours.answer(&message(470, 999), 1).await;
    report.put("resident memory more than before: after 600 tokens", resident("self") - before, "MB", None, 1);
    let plain = Ours::new(&engines, &kernel::plain_bundle().join("local.wasm"), &weights).await;
    plain.answer(&message(0, 999), 1).await;
    lengths(report, ENCODINGS[0], [&ours, &plain], &llama).await;
    drop(plain);
    report.put("resident memory of llama.cpp's process", resident(&llama.server.id().to_string()), "MB", None, 1);
    drop(ours);
    report.put("resident memory more than before: unloaded", resident("self") - before, "MB", None, 1);
    drop(llama);
    let weights = match peers::model_q4_0() {
        Ok(weights) => weights,
        Err(why) => return peers::skip("the weights as Q4_0", &why),
    };
    let llama = Llama::start(&weights).unwrap();
    let ours = Ours::new(&engines, &package, &weights).await;
    let plain = Ours::new(&engines, &kernel::plain_bundle().join("local.wasm"), &weights).await;
    for side in [&ours, &plain] {
        side.answer(&message(0, 999), 1).await;
    }
    llama.answer(&message(0, 999), 1).await;
    lengths(report, ENCODINGS[1], [&ours, &plain], &llama).await;
}

async fn lengths(report: &mut Report, encoding: &str, ours: [&Ours; 2], llama: &Llama) {
    for (name, filler) in [("short", 0), ("long", 470)] {
        beside(report, &format!("{encoding}{name}"), filler, ours, llama).await;
    }
}

/// Rates of all sides in turn, for prompts of one length.
async fn beside(report: &mut Report, name: &str, filler: usize, ours: [&Ours; 2], llama: &Llama) {
    let mut reading: [Samples; SIDES.len()] = Default::default();
    let (mut writing, mut prompt) = (reading.clone(), 0);
    let mut ratios = [reading.clone(), reading.clone()];
    for n in 0..ROUNDS {
        let message = message(filler, n + filler);
        // Which side goes first changes every time.
        let mut rates = [(0.0, 0.0); SIDES.len()];
        for side in (0..SIDES.len()).map(|side| (side + n) % SIDES.len()) {
            let (read, wrote) = match ours.get(side) {
                Some(ours) => (ours.answer(&message, 1).await, ours.answer(&message, WRITTEN).await),
                None => (llama.answer(&message, 1).await, llama.answer(&message, WRITTEN).await),
            };
            prompt = read.read;
            rates[side] = (read.rate(read.read), wrote.rate(wrote.written));
        }
        for side in 0..SIDES.len() {
            reading[side].add_us(rates[side].0);
            writing[side].add_us(rates[side].1);
            ratios[0][side].add_us(rates[side].0 / rates[ours.len()].0);
            ratios[1][side].add_us(rates[side].1 / rates[ours.len()].1);
        }
    }
    for (what, samples, ratios) in [
        (format!("{name} prompt, {prompt} new tokens"), &reading, &ratios[0]),
        (format!("writing after a {name} prompt"), &writing, &ratios[1]),
    ] {
        for (who, samples) in SIDES.iter().zip(samples) {
            report.put(&format!("{what}: {who}, median"), samples.median(), "per CPU s", None, ROUNDS);
        }
        for (who, ratio) in SIDES.iter().zip(ratios).take(ours.len()) {
            report.put(&format!("{what}: {who} / llama.cpp, median"), ratio.median(), "x", None, ROUNDS);
        }
    }
}

/// A message that begins like no other, so that nothing of it is kept from an earlier one.
fn message(filler: usize, n: usize) -> String {
    let words = ["river", "stone", "night", "green", "house", "salt", "music", "winter", "paper", "glass"];
    let word = |i: usize| words[(i * 7 + i / 10 + n) % words.len()];
    let filler: Vec<&str> = (0..filler).map(word).collect();
    format!(
        "{n} {} {}. Tell me a very long story about a king and his daughter, with many details.",
        word(n),
        filler.join(" ")
    )
}

/// What one answer took.
struct Took {
    /// Tokens of the prompt that were computed.
    read: u64,
    written: u64,
    /// Seconds of processor time.
    cpu: f64,
}

impl Took {
    fn rate(&self, tokens: u64) -> f64 {
        tokens as f64 / self.cpu
    }
}

struct Ours {
    subject: Subject,
    warm: Warm<crate::support::State>,
}

impl Ours {
    async fn new(engines: &Engines, package: &Path, weights: &Path) -> Self {
        let package = std::fs::read(package).unwrap();
        let key = testing::key(0);
        let bundle = carapace_registry::package::sign(&package, &key).unwrap();
        let verified = carapace_registry::verify(package, &bundle, &testing::trust("local", &key)).unwrap();
        let mut subject = Subject::new(engines, &verified).await;
        let watch = Arc::get_mut(&mut subject.watch).unwrap();
        watch.asset = Some(File::open(weights).unwrap());
        watch.config = Some("{\"answer-tokens\":100}".into());
        let warm = Warm::new(subject.loaded.clone());
        Self { subject, warm }
    }

    async fn answer(&self, message: &str, most: u32) -> Took {
        let message = Message { role: Role::User, parts: vec![Part::Text(message.into())] };
        let request = Request {
            model: "smollm2-135m-instruct".into(),
            messages: vec![message],
            max_output: Some(most),
            ..crate::support::request()
        };
        let before = Cpu::of("self");
        let state = self.subject.state(Entry::Provider);
        self.warm.complete(state, Admission::new(Class::Provider), request).await.unwrap().unwrap();
        let cpu = Cpu::of("self").since(&before);
        let used = self.subject.watch.used.lock().unwrap().take().unwrap();
        Took { read: used.input - used.cached_input, written: used.output, cpu }
    }
}

struct Llama {
    server: Server,
    http: reqwest::Client,
}

impl Llama {
    fn start(weights: &Path) -> Result<Self, String> {
        let http = kernel::client(reqwest::header::HeaderMap::new());
        Ok(Self { server: peers::llama_with(weights, 1)?, http })
    }

    async fn answer(&self, message: &str, most: u32) -> Took {
        // As long a beginning as ours, so that both compute at about the same depth.
        let turn = "<|im_start|>user\nWhat is the capital of Italy?<|im_end|>\n<|im_start|>assistant\nThe capital of Italy is Rome.<|im_end|>\n";
        let prompt = format!(
            "<|im_start|>system\n{SYSTEM}<|im_end|>\n{}<|im_start|>user\n{message}<|im_end|>\n<|im_start|>assistant\n",
            turn.repeat(5)
        );
        let body = json!({"prompt": prompt, "n_predict": most, "temperature": 0, "top_k": 1, "cache_prompt": true});
        let id = self.server.id().to_string();
        let before = Cpu::of(&id);
        let answer = self.http.post(format!("{}/completion", self.server.base)).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let cpu = Cpu::of(&id).since(&before);
        let count = |name: &str| answer["timings"][name].as_u64().unwrap_or_else(|| panic!("{answer}"));
        Took { read: count("prompt_n"), written: count("predicted_n"), cpu }
    }
}

/// Nanoseconds on a processor, of each thread of a process: `/proc/PID/task/TID/schedstat`.
struct Cpu(HashMap<String, u64>);

impl Cpu {
    fn of(process: &str) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let one = |entry: std::fs::DirEntry| {
            // A thread may end meanwhile.
            let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
            let spent = text.split_whitespace().next()?.parse().ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), spent))
        };
        Self(threads.filter_map(one).collect())
    }

    /// Seconds since an earlier look.
    fn since(&self, earlier: &Self) -> f64 {
        let spent = |(thread, spent): (&String, &u64)| spent - earlier.0.get(thread).copied().unwrap_or(0);
        self.0.iter().map(spent).sum::<u64>() as f64 / 1e9
    }
}

/// Megabytes.
fn resident(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
}
