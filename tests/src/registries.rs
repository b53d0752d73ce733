//! Registries on loopback: Debian's `docker-registry`, one with the referrers API, and directories behind HTTP and HTTPS.

use crate::peers::once;
use crate::server::Server;
use axum::Router;
use axum::http::{StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ferro_blob_store::InMemoryBlobStore;
use ferro_oci_server::{AppState, InMemoryRegistryMeta};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// `hunter2`, as `htpasswd -B` writes it.
const HTPASSWD: &str = "me:$2b$05$jUdNpCL7qqTenZv63v1Poe0yvrg3wQE4AFL3ulpjewXG3m42lQOqO\n";

/// Debian's `docker-registry`: the reference implementation, without the referrers API. Stopped when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    server: Server,
    dir: TempDir,
}

impl DockerRegistry {
    /// An empty one on a free port; with `guarded`, for `me` with the password `hunter2` only.
    pub fn start(guarded: bool) -> Result<Self, String> {
        let program = docker_registry()?;
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let auth = format!("auth: {{htpasswd: {{realm: tests, path: \"{}\"}}}}\n", path("htpasswd"));
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{}",
            path("data"),
            if guarded { auth.as_str() } else { "" }
        );
        std::fs::write(path("htpasswd"), HTPASSWD).map_err(|e| e.to_string())?;
        std::fs::write(path("config.yml"), config).map_err(|e| e.to_string())?;
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" serve \"$1\" 2>&1"]).arg(program).arg(path("config.yml"));
        let server = Server::start(command, |line| {
            let (_, after) = line.split_once("listening on ")?;
            Some(format!("http://{}", after.split(['"', ' ']).next()?))
        });
        Ok(Self { server, dir })
    }

    /// `127.0.0.1:<port>`
    pub fn host(&self) -> &str {
        self.server.base.trim_start_matches("http://")
    }

    /// The file that holds a blob.
    pub fn blob(&self, hex: &str) -> PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

/// The program: the machine's, or out of the package, which need not be installed for that.
fn docker_registry() -> Result<PathBuf, String> {
    let installed = Path::new("/usr/bin/docker-registry");
    if installed.is_file() {
        return Ok(installed.to_path_buf());
    }
    let dir = once("docker-registry", "debian", |dir| {
        let steps = "apt-get download docker-registry && dpkg -x docker-registry_*.deb .";
        let out = Command::new("sh").args(["-ec", steps]).current_dir(dir).output().map_err(|e| e.to_string())?;
        if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    })?;
    Ok(dir.join("usr/bin/docker-registry"))
}

/// A registry that lists referrers itself (crate `ferro-oci-server`): its host and port. It lives as long as the runtime.
pub async fn with_referrers_api() -> String {
    let state = AppState::new(Arc::new(InMemoryBlobStore::new()), Arc::new(InMemoryRegistryMeta::new()));
    serve(ferro_oci_server::router(state)).await
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    host
}

fn files(dir: &Path) -> Router {
    let dir = dir.to_path_buf();
    Router::new().fallback(move |uri: Uri| {
        let path = dir.join(uri.path().trim_start_matches('/'));
        async move { std::fs::read(path).map_err(|_| StatusCode::NOT_FOUND) }
    })
}

/// The files of a directory: `http://127.0.0.1:<port>`
pub async fn http(dir: &Path) -> String {
    format!("http://{}", serve(files(dir)).await)
}

/// A server in front of a directory's files that answers only while its gate is open.
#[derive(Debug)]
pub struct Gate {
    /// `http://127.0.0.1:<port>`
    pub base: String,
    open: watch::Sender<bool>,
    came: mpsc::UnboundedReceiver<()>,
}

impl Gate {
    /// With an open gate.
    pub async fn before(dir: &Path) -> Self {
        let ((open, is_open), (come, came)) = (watch::channel(true), mpsc::unbounded_channel());
        let dir = dir.to_path_buf();
        let app = Router::new().fallback(move |uri: Uri| {
            let (come, mut is_open) = (come.clone(), is_open.clone());
            let path = dir.join(uri.path().trim_start_matches('/'));
            async move {
                let bytes = std::fs::read(path).map_err(|_| StatusCode::NOT_FOUND);
                come.send(()).unwrap();
                is_open.wait_for(|open| *open).await.unwrap();
                bytes
            }
        });
        Self { base: format!("http://{}", serve(app).await), open, came }
    }

    /// Lets nobody through any more.
    pub fn shut(&mut self) {
        self.open.send_replace(false);
        while self.came.try_recv().is_ok() {}
    }

    /// Waits until somebody stands before it.
    pub async fn arrived(&mut self) {
        self.came.recv().await.unwrap();
    }

    /// Lets everybody through, with what was there when they came.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// A server that sends everybody on to `base`.
pub async fn redirecting(base: &str) -> String {
    let base = base.to_owned();
    let app = Router::new().fallback(move |uri: Uri| {
        let to = format!("{base}{}", uri.path());
        async move { axum::response::Redirect::temporary(&to) }
    });
    format!("http://{}", serve(app).await)
}

/// The files of a directory over TLS: `https://localhost:<port>`, and its certificate as PEM.
pub async fn https(dir: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = files(dir);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(socket).await else { return };
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(tls), TowerToHyperService::new(app))
                    .await;
            });
        }
    });
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(der));
    (format!("https://localhost:{port}"), pem)
}
