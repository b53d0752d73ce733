//! Does what it is told, with std and WASI alone.

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

wit_bindgen::generate!({ path: "../../../wit", world: "tool" });
use exports::carapace::plugin::tools::{Content, Context, Guest, Tool, ToolError};

struct Foreign;
export!(Foreign);

impl Guest for Foreign {
    fn list() -> Vec<Tool> {
        let tool = |name: &str| Tool {
            name: name.to_owned(),
            description: "Does what it is told.".to_owned(),
            parameters: r#"{"type":"object"}"#.to_owned(),
            extra: Vec::new(),
        };
        // As many as the manifest that it is packed with has.
        option_env!("FOREIGN_TOOLS").unwrap_or("foreign_do,foreign_plain").split(',').map(tool).collect()
    }

    fn call(_: String, arguments: String, _: Context) -> Result<Vec<Content>, ToolError> {
        let asked: Value = serde_json::from_str(&arguments).map_err(|e| ToolError::InvalidArguments(e.to_string()))?;
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        match act(text("do"), text("with"), text("text")) {
            Ok(answer) => Ok(vec![Content::Text(answer)]),
            Err(why) => Err(ToolError::Failed(why)),
        }
    }
}

fn act(what: &str, with: &str, text: &str) -> Result<String, String> {
    let said = |e: std::io::Error| format!("{:?}: {e}", e.kind());
    match what {
        "environment" => Ok(format!("{:?} {:?}", std::env::vars().collect::<Vec<_>>(), std::env::args().collect::<Vec<_>>())),
        "time" => {
            let begun = Instant::now();
            std::thread::sleep(std::time::Duration::from_millis(30));
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
            Ok(format!("{} {} {}", now.as_secs(), now.subsec_nanos() % 1_000_000, begun.elapsed().as_millis()))
        }
        "random" => Ok(format!("{:?}", wasip2::random::random::get_random_bytes(16))),
        "much-random" => Ok(wasip2::random::random::get_random_bytes(1 << 24).len().to_string()),
        "print" => {
            println!("out: {with}");
            eprint!("err: {with}");
            Ok("printed".to_owned())
        }
        "input" => {
            let mut all = String::new();
            std::io::stdin().read_to_string(&mut all).map_err(said)?;
            Ok(format!("{} bytes", all.len()))
        }
        "read" => std::fs::read_to_string(with).map_err(said),
        "write" => std::fs::File::create(with).and_then(|mut f| f.write_all(text.as_bytes())).map(|()| "written".into()).map_err(said),
        "remove" => std::fs::remove_file(with).map(|()| "removed".into()).map_err(said),
        "list" => {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(with).map_err(said)? {
                names.push(entry.map_err(said)?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names.join(" "))
        }
        "connect" => TcpStream::connect(with).map(|_| "connected".into()).map_err(said),
        "listen" => std::net::TcpListener::bind(with).map(|_| "listening".into()).map_err(said),
        "datagram" => UdpSocket::bind(with).map(|_| "bound".into()).map_err(said),
        "resolve" => with.to_socket_addrs().map(|a| format!("{} addresses", a.count())).map_err(said),
        "exit" => std::process::exit(with.parse().unwrap_or(0)),
        "fetch" => fetch(with, None),
        "post" => fetch(with, Some(text)),
        "spin" => loop {
            std::hint::black_box(with);
        },
        "ask" => loop {
            std::hint::black_box(SystemTime::now());
        },
        // As long as it may.
        "watch" => loop {
            std::fs::read(with).map_err(said)?;
        },
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_secs(3600));
            Ok("slept".to_owned())
        }
        "hoard" => Ok(vec![1u8; 1 << 30].len().to_string()),
        other => Err(format!("what is `{other}`?")),
    }
}

/// A request through `wasi:http`, as its users write it.
fn fetch(url: &str, body: Option<&str>) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let headers = Fields::new();
    headers.append("x-from", b"wasi").map_err(|e| format!("{e:?}"))?;
    let request = OutgoingRequest::new(headers);
    request.set_method(if body.is_some() { &Method::Post } else { &Method::Get }).map_err(|()| "method")?;
    request.set_scheme(Some(if scheme == "http" { &Scheme::Http } else { &Scheme::Https })).map_err(|()| "scheme")?;
    request.set_authority(Some(authority)).map_err(|()| "authority")?;
    request.set_path_with_query(Some(&format!("/{path}"))).map_err(|()| "path")?;
    let out = request.body().map_err(|()| "body")?;
    let future = handle(request, None).map_err(|e| format!("{e:?}"))?;
    if let Some(body) = body {
        let stream = out.write().map_err(|()| "stream")?;
        for piece in body.as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(piece).map_err(|e| format!("{e:?}"))?;
        }
    }
    OutgoingBody::finish(out, None).map_err(|e| format!("{e:?}"))?;
    future.subscribe().block();
    let response = future.get().ok_or("not ready")?.map_err(|()| "taken")?.map_err(|e| format!("{e:?}"))?;
    let incoming = response.consume().map_err(|()| "consumed")?;
    let stream = incoming.stream().map_err(|()| "stream")?;
    let mut all = Vec::new();
    while let Ok(bytes) = stream.blocking_read(64 << 10) {
        all.extend(bytes);
    }
    Ok(format!("{} {}", response.status(), String::from_utf8_lossy(&all)))
}
