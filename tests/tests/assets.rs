//! Files beside packages: listed, taken, fetched in pieces and anew, refused when they are others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads and writes files, serves on loopback, and stops at the first thing that is not as it should be"
)]

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use carapace_contract::Digest;
use carapace_tests::components::{tool_package, wat};
use carapace_tests::owner::{cli, done};
use carapace_tests::{Kernel, KernelOptions};
use futures::stream;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// 1 MiB and a bit, none of it like the rest.
fn notes() -> Vec<u8> {
    (0..(1_u32 << 18) + 25).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// The tool `reader`, which answers with the beginning of its file `notes.txt`.
fn reader() -> Vec<u8> {
    let (digest, size) = (Digest::of(&notes()).hex(), notes().len());
    let asset = format!("[[asset]]\nname = \"notes.txt\"\nsha256 = \"{digest}\"\nsize = {size}\nlicense = \"MIT\"\n");
    tool_package("reader", wat::ASSET, "\"assets\"", &asset)
}

fn kernel() -> Kernel {
    Kernel::start(KernelOptions::default().with_package("reader", reader()))
}

fn listed(kernel: &Kernel) -> Value {
    let all: Value = serde_json::from_str(&done(kernel.state(), &["assets", "list", "--json"])).unwrap();
    all.as_array().unwrap().iter().find(|a| a["name"] == "notes.txt").unwrap().clone()
}

fn file(kernel: &Kernel, name: &str, bytes: &[u8]) -> PathBuf {
    let path = kernel.state().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What a command that fails says.
fn refused(kernel: &Kernel, args: &[&str]) -> String {
    let out = cli(kernel.state(), args);
    assert!(!out.status.success(), "{args:?} succeeded: {}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn a_file_is_taken_if_it_is_the_signed_one_and_told_apart_if_not() {
    let kernel = kernel();
    assert_eq!(listed(&kernel)["here"], false);
    let doctor = String::from_utf8(cli(kernel.state(), &["doctor"]).stdout).unwrap();
    assert!(doctor.contains("notes.txt of local/reader is not here"), "{doctor}");
    let shown = done(kernel.state(), &["assets", "list"]);
    assert!(shown.contains("notes.txt of local/reader") && shown.contains("carapace assets fetch"), "{shown}");

    let mut wrong = notes();
    wrong[7] ^= 1;
    let wrong = file(&kernel, "wrong", &wrong);
    let why = refused(&kernel, &["assets", "add", wrong.to_str().unwrap()]);
    assert!(why.contains("its digest is"), "{why}");
    let short = file(&kernel, "short", &notes()[1..]);
    let why = refused(&kernel, &["assets", "add", short.to_str().unwrap()]);
    assert!(why.contains("no file that an installed component asks for") && why.contains("notes.txt"), "{why}");
    assert_eq!(listed(&kernel)["here"], false);

    let right = file(&kernel, "right", &notes());
    done(kernel.state(), &["assets", "add", right.to_str().unwrap()]);
    assert_eq!(listed(&kernel)["here"], true);
    assert!(done(kernel.state(), &["assets", "fetch"]).contains("Every file"));

    done(kernel.state(), &["assets", "rm", "notes.txt"]);
    assert_eq!(listed(&kernel)["here"], false);
    assert!(refused(&kernel, &["assets", "rm", "notes.txt"]).contains("no file `notes.txt` here"));
}

#[test]
fn a_file_beside_the_bundle_comes_with_the_first_start() {
    let state = tempfile::tempdir().unwrap();
    let bundle = carapace_tests::kernel::signed_bundle(state.path(), &[("reader".to_owned(), reader())]);
    std::fs::create_dir(bundle.join("assets")).unwrap();
    std::fs::write(bundle.join("assets/notes.txt"), notes()).unwrap();
    let kernel = Kernel::start_in(state, KernelOptions { bundle: Some(bundle), ..KernelOptions::default() });
    assert_eq!(listed(&kernel)["here"], true);
}

/// What a server was asked, and how it behaves.
#[derive(Clone)]
struct Shelf {
    /// The `range` header of each request.
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

fn start_of(range: &str) -> usize {
    range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
}

/// `/cut` ends after 300,000 bytes of each answer; `/whole` knows no ranges; `/wrong` has another file; `/long` goes on after
/// the end; `/shifted` sends another range than it was asked for.
async fn serve(State(shelf): State<Shelf>, Segment(how): Segment<String>, headers: HeaderMap) -> Response {
    let range = headers.get("range").map(|r| r.to_str().unwrap().to_owned());
    shelf.asked.lock().unwrap().push(range.clone());
    assert_eq!(headers["accept-encoding"], "identity");
    let mut bytes = notes();
    let from = range.filter(|_| how != "whole").map_or(0, |r| start_of(&r));
    let total = bytes.len();
    let response = Response::builder();
    let response = match (how.as_str(), from) {
        ("shifted", 1..) => {
            response.status(206).header("content-range", format!("bytes {}-{}/{total}", from + 1, total - 1))
        }
        (_, 1..) => response.status(206).header("content-range", format!("bytes {from}-{}/{total}", total - 1)),
        _ => response.status(200),
    };
    match how.as_str() {
        "gone" => return Response::builder().status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap(),
        "wrong" => bytes[9] ^= 1,
        "long" => bytes.extend_from_slice(b"more"),
        _ => {}
    }
    let rest = Bytes::from(bytes.split_off(from));
    if how == "cut" && rest.len() > 300_000 {
        let piece: std::io::Result<Bytes> = Ok(rest.slice(..300_000));
        return response.body(Body::from_stream(stream::iter([piece]))).unwrap();
    }
    response.body(Body::from(rest)).unwrap()
}

/// A server on loopback, and what it was asked.
async fn shelf() -> (String, Shelf) {
    let shelf = Shelf { asked: Arc::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().route("/{how}", get(serve)).with_state(shelf.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, shelf)
}

async fn fetch(kernel: &Kernel, url: String) -> Result<String, String> {
    let state = kernel.state().to_path_buf();
    let out = tokio::task::spawn_blocking(move || cli(&state, &["assets", "fetch", "notes.txt", "--from", &url]));
    let out = out.await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let (kernel, (base, shelf)) = (kernel(), shelf().await);
    fetch(&kernel, format!("{base}/cut")).await.unwrap();
    assert_eq!(listed(&kernel)["here"], true);
    let asked = shelf.asked.lock().unwrap().clone();
    let begins = [300_000, 600_000, 900_000].map(|n| Some(format!("bytes={n}-")));
    assert_eq!(asked, [[None].as_slice(), &begins].concat());
    // What was fetched is what the component reads.
    let path = kernel.state().join("assets").join(Digest::of(&notes()).hex());
    assert_eq!(std::fs::read(path).unwrap(), notes());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_is_thrown_away_and_one_that_is_too_long_is_not_taken() {
    let (kernel, (base, _)) = (kernel(), shelf().await);
    let why = fetch(&kernel, format!("{base}/wrong")).await.unwrap_err();
    assert!(why.contains("not the file that was signed"), "{why}");
    let why = fetch(&kernel, format!("{base}/long")).await.unwrap_err();
    assert!(why.contains("sends more than"), "{why}");
    let why = fetch(&kernel, format!("{base}/gone")).await.unwrap_err();
    assert!(why.contains("HTTP 404"), "{why}");
    assert_eq!(listed(&kernel)["here"], false);
    // None of it is in the way of the right one.
    fetch(&kernel, format!("{base}/whole")).await.unwrap();
    assert_eq!(listed(&kernel)["here"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_download_left_is_used_where_ranges_are_and_begun_anew_where_not() {
    let (kernel, (base, shelf)) = (kernel(), shelf().await);
    let part = kernel.state().join("assets").join(format!("{}.part", Digest::of(&notes()).hex()));
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &notes()[..1_000]).unwrap();
    let why = fetch(&kernel, format!("{base}/shifted")).await.unwrap_err();
    assert!(why.contains("another range"), "{why}");
    fetch(&kernel, format!("{base}/whole")).await.unwrap();
    assert_eq!(listed(&kernel)["here"], true);
    let asked = shelf.asked.lock().unwrap().clone();
    assert_eq!(asked, [Some("bytes=1000-".to_owned()), Some("bytes=1000-".to_owned())]);
}

#[test]
fn without_a_source_it_says_where_else_the_file_may_come_from() {
    let kernel = kernel();
    let why = refused(&kernel, &["assets", "fetch"]);
    assert!(why.contains("names no source") && why.contains("--from URL"), "{why}");
    assert_eq!(
        listed(&kernel),
        json!({
            "component": "local/reader", "name": "notes.txt", "sha256": Digest::of(&notes()), "size": notes().len(),
            "sources": [], "license": "MIT", "here": false,
        })
    );
}
