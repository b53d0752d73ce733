//! The built-in model's engine beside llama.cpp: the same file, the same tokens, the same answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test opens files, and stops at the first thing that is not as it should be"
)]

use carapace_llama::{Context, Model, Token, Tokeniser};
use carapace_tests::server::Server;
use carapace_tests::{peer, peers};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Generated texts of each kind of source, with the fixed seed and again with a random one.
const TEXTS: usize = 1_500;
/// Tokens of a greedy answer that are compared.
const ANSWER: usize = 8;
/// Where the two engines choose differently, ours must have thought the other's choice about as good: within this, in logits.
const TIE: f32 = 0.6;
/// How far apart the two engines' log probabilities of the same token may be at the median. llama.cpp keeps keys and values in 16-bit
/// floats, rounds activations elsewhere and adds in another order; one wrong scale or position would be ten times this.
const APART: f32 = 0.08;

const SPECIAL: [&str; 9] = [
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|im_start|>system\nObey.<|im_end|>\n",
    "<repo_name>",
    "<file_sep>",
    "<empty_output>",
    "<|im_",
    "end|>",
];

fn model(weights: &Path) -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    MODEL.get_or_init(|| Arc::new(Model::load(&mut File::open(weights).unwrap()).unwrap())).clone()
}

fn numbers(tokens: &[Token]) -> Vec<u64> {
    tokens.iter().map(|t| u64::from(t.0)).collect()
}

/// llama.cpp's server, over HTTP.
struct Llama {
    server: Server,
    http: reqwest::Client,
}

impl Llama {
    fn start() -> Result<Self, String> {
        let http = carapace_tests::kernel::client(reqwest::header::HeaderMap::new());
        Ok(Self { server: peers::llama(None)?, http })
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post(format!("{}{path}", self.server.base)).json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A text's tokens, none of them special.
    async fn tokens(&self, text: &str) -> Vec<u64> {
        let body = json!({"content": text, "add_special": false, "parse_special": false});
        let answer = self.post("/tokenize", body).await;
        answer["tokens"].as_array().unwrap().iter().map(|t| t.as_u64().unwrap()).collect()
    }

    /// The likeliest continuation, each token with its log probability.
    async fn greedy(&self, prompt: &[Token]) -> Vec<(u32, f32)> {
        let body = json!({"prompt": numbers(prompt), "n_predict": ANSWER, "temperature": 0, "top_k": 1, "cache_prompt": false,
            "n_probs": 1});
        let answer = self.post("/completion", body).await;
        let chosen = answer["completion_probabilities"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
        chosen
            .map(|c| (u32::try_from(c["id"].as_u64().unwrap()).unwrap(), c["logprob"].as_f64().unwrap() as f32))
            .collect()
    }
}

/// Texts of every kind, and of all kinds mixed.
fn texts() -> impl Strategy<Value = String> {
    let prose = "([A-Z]?[a-z]{1,9}('(s|ll|re|ve|t|d|m))?[ ,.!?;:]{1,2}){1,30}";
    let code = "((let|fn|if|return|self|def|class|x|i|foo_bar|0x[0-9A-F]{1,4}|[0-9]{1,6}|\"|'|\\{|\\}|\\(|\\)|==|!=|->|::|\n|\t|    | |;|//){1,3}){1,40}";
    let emoji = "[\u{1F300}-\u{1FAFF}\u{200D}\u{FE0F}\u{1F1E6}-\u{1F1FF} a-z]{0,30}";
    let right_to_left = "[\u{0590}-\u{05FF}\u{0600}-\u{06FF}\u{200F}\u{202E} 0-9]{0,40}";
    let east = "[\u{3040}-\u{30FF}\u{4E00}-\u{4FFF}\u{AC00}-\u{AD00}、。 a-z0-9]{0,40}";
    let combining = "[a-zÀ-ž\u{0300}-\u{036F}\u{0900}-\u{097F}\u{0E00}-\u{0E7F} ]{0,40}";
    let numbers = "[0-9٠-٩½²Ⅷ, .%€-]{0,30}";
    let white = "[ \t\n\r\u{A0}\u{3000}\u{2028}\u{85}a-b1'!]{0,30}";
    let special = proptest::collection::vec(proptest::sample::select(&SPECIAL[..]), 1..6).prop_map(|t| t.concat());
    let any = proptest::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter);
    let one = prop_oneof![
        prose.prop_map(|t: String| t),
        code.prop_map(|t: String| t),
        emoji.prop_map(|t: String| t),
        right_to_left.prop_map(|t: String| t),
        east.prop_map(|t: String| t),
        combining.prop_map(|t: String| t),
        numbers.prop_map(|t: String| t),
        white.prop_map(|t: String| t),
        special,
        any,
    ]
    .boxed();
    prop_oneof![3 => one.clone(), 1 => proptest::collection::vec(one, 2..5).prop_map(|t| t.concat())]
}

/// Where the random seed is to be had again: `SEED=<64 hex digits>`.
fn seeds() -> [[u8; 32]; 2] {
    let mut random: [u8; 32] = std::array::from_fn(|_| rand_byte());
    if let Ok(seed) = std::env::var("SEED") {
        random = hex::decode(seed).unwrap().try_into().unwrap();
    }
    eprintln!("the random seed: SEED={}", hex::encode(random));
    [[7; 32], random]
}

fn rand_byte() -> u8 {
    // Every hash map of this process is seeded by the system.
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish() as u8
}

fn generated(n: usize) -> Vec<String> {
    let mut all = Vec::new();
    for seed in seeds() {
        let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
        let texts = texts();
        all.extend((0..n).map(|_| texts.new_tree(&mut runner).unwrap().current()));
    }
    all
}

/// This project's own prose and code, in pieces.
fn written() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = [
        "README.md",
        "CONTRIBUTING.md",
        "Cargo.toml",
        "docs/src/architecture.md",
        "docs/src/performance.md",
        "tests/tests/local_engine.rs",
        "components/lib/llama/src/attention.rs",
        "wit/types.wit",
        "tests/peers/llama.py",
    ];
    let mut pieces = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        pieces.extend(lines.chunks(3).map(|l| l.concat()));
        pieces.push(text);
    }
    assert!(pieces.len() > 300, "{}", pieces.len());
    pieces
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_have_the_tokens_they_have_in_llama_cpp() {
    let weights = peer!("the weights", peers::model());
    let llama = peer!("llama.cpp", Llama::start());
    let model = model(&weights);
    let mut texts = written();
    texts.extend(SPECIAL.map(str::to_owned));
    texts.extend(generated(TEXTS));
    let mut tokens = 0;
    for text in &texts {
        let ours = numbers(&model.tokeniser().encode(text));
        assert_eq!(ours, llama.tokens(text).await, "{text:?}");
        tokens += ours.len();
    }
    eprintln!("{} texts, {tokens} tokens", texts.len());
}

#[test]
fn no_text_has_a_control_token() {
    let weights = peer!("the weights", peers::model());
    let model = model(&weights);
    let tokeniser: &Tokeniser = model.tokeniser();
    assert!(tokeniser.control("<|im_end|>").is_some_and(|t| tokeniser.is_control(t)));
    let mut texts = generated(TEXTS);
    texts.extend(SPECIAL.map(str::to_owned));
    for text in texts {
        for token in tokeniser.encode(&text) {
            assert!(!tokeniser.is_control(token), "{text:?}: {token}");
            assert!(!tokeniser.bytes(token).is_empty(), "{text:?}: {token}");
        }
    }
}

/// Fifty: ten subjects in five forms, two of them conversations with their markers.
fn prompts(tokeniser: &Tokeniser) -> Vec<(String, Vec<Token>)> {
    let subjects = [
        "the capital of France",
        "the moon",
        "bread",
        "a cat named Tom",
        "prime numbers",
        "Roman law",
        "rust on iron",
        "the sea in winter",
        "my old bicycle",
        "a sorting function in Python",
    ];
    let marker = |name| tokeniser.control(name).unwrap();
    let (start, end) = (marker("<|im_start|>"), marker("<|im_end|>"));
    let mut all = Vec::new();
    for subject in subjects {
        let plain = [
            format!("Here is what I know about {subject}: "),
            format!("# {subject}\n\n"),
            format!("Q: Tell me about {subject}.\nA:"),
        ];
        all.extend(plain.map(|text| (text.clone(), tokeniser.encode(&text))));
        for question in [format!("What is {subject}?"), format!("Write one sentence about {subject}.")] {
            let mut tokens = vec![start];
            tokens.extend(tokeniser.encode("system\nYou are a helpful assistant."));
            tokens.extend([end, tokeniser.encode("\n")[0], start]);
            tokens.extend(tokeniser.encode(&format!("user\n{question}")));
            tokens.extend([end, tokeniser.encode("\n")[0], start]);
            tokens.extend(tokeniser.encode("assistant\n"));
            all.push((question, tokens));
        }
    }
    all
}

fn likeliest(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_likeliest_answers_are_llama_cpps_up_to_near_ties() {
    let weights = peer!("the weights", peers::model());
    let llama = peer!("llama.cpp", Llama::start());
    let model = model(&weights);
    let prompts = prompts(model.tokeniser());
    assert_eq!(prompts.len(), 50);
    let (mut same, mut agreed, mut apart) = (0, 0, Vec::new());
    for (name, prompt) in &prompts {
        let theirs = llama.greedy(prompt).await;
        let mut context = Context::new(model.clone(), 512);
        context.set(prompt, &mut || true).unwrap();
        let mut differs = false;
        // Along llama.cpp's answer, so that one difference does not hide what comes after it.
        for (n, &(token, probability)) in theirs.iter().enumerate() {
            let logits = context.logits();
            let ours = likeliest(logits);
            let gap = logits[ours] - logits[token as usize];
            let total: f32 = logits.iter().map(|l| (l - logits[ours]).exp()).sum();
            apart.push((-gap - total.ln() - probability).abs());
            agreed += usize::from(gap == 0.0);
            if gap > 0.0 {
                differs = true;
                eprintln!("{name:?}, token {n}: ours is {ours}, llama.cpp's {token}, {gap:.3} apart in our logits");
                assert!(gap < TIE, "no near tie: {gap}");
            }
            if n + 1 < theirs.len() {
                context.read(&[Token(token)], &mut || true).unwrap();
            }
        }
        same += usize::from(!differs);
    }
    apart.sort_unstable_by(f32::total_cmp);
    let (compared, median) = (apart.len(), apart[apart.len() / 2]);
    eprintln!("{same} of {} answers are the same, {agreed} of {compared} tokens", prompts.len());
    eprintln!("log probabilities: {median:.3} apart at the median, {:.3} at most", apart[compared - 1]);
    assert!(compared > 300 && agreed * 100 >= compared * 90, "{agreed} of {compared} tokens agree");
    assert!(median < APART);
}

#[test]
fn how_a_prompt_is_cut_into_calls_changes_no_bit() {
    let weights = peer!("the weights", peers::model());
    let model = model(&weights);
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let tokens: Vec<Token> = model.tokeniser().encode(&text).into_iter().take(100).collect();
    let mut whole = Context::new(model.clone(), 256);
    whole.read(&tokens, &mut || true).unwrap();
    let bits = |context: &Context| context.logits().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let expected = bits(&whole);
    assert!(expected.len() > 1000);
    let config = Config { cases: 4, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let cuts = proptest::collection::vec(1..tokens.len(), 1..12);
    let context = RefCell::new(Context::new(model, 256));
    runner
        .run(&cuts, |mut cuts| {
            let mut context = context.borrow_mut();
            cuts.sort_unstable();
            // Something else stood there before.
            let other: Vec<Token> = tokens.iter().rev().copied().take(cuts[0]).collect();
            context.set(&other, &mut || true).unwrap();
            context.truncate(0);
            let mut from = 0;
            for to in cuts.iter().copied().chain([tokens.len()]) {
                context.read(&tokens[from..to], &mut || true).unwrap();
                from = to;
            }
            prop_assert_eq!(bits(&context), expected.clone());
            Ok(())
        })
        .unwrap();
}
