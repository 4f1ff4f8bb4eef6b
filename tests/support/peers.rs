//! Peers of a test: one that serves, one that clones. What they should do is not here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Sandbox, text};

/// A peer that serves a sandbox's repository, for as long as this lives.
pub struct Server {
    _serving: Serving,
    pub port: u16,
    pub address: String,
    pub peer: String,
    pub ticket: String,
}

impl Server {
    pub fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        Self::start_in(sandbox, &sandbox.root(), arguments)
    }

    /// Serves what is in `folder`.
    pub fn start_in(sandbox: &Sandbox, folder: &Path, arguments: &[&str]) -> Self {
        Self::listen(sandbox, folder, "/ip4/127.0.0.1/tcp/0", arguments)
    }

    /// Serves at an address, such as one where another served before.
    pub fn start_at(sandbox: &Sandbox, address: &str) -> Self {
        Self::listen(sandbox, &sandbox.root(), address, &[])
    }

    fn listen(sandbox: &Sandbox, folder: &Path, address: &str, arguments: &[&str]) -> Self {
        let listen = ["serve", "--listen", address, "--json"];
        let mut command = sandbox.command(&[&listen, arguments].concat());
        command.current_dir(folder);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let event: Value = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error} in {first:?}"));
        assert_eq!(event["event"], "listening");
        let address = text(&event["addresses"][0]);
        let port = address.rsplit('/').next().unwrap().parse().unwrap();
        let (peer, ticket) = (text(&event["peer_id"]), text(&event["ticket"]));
        Self {
            _serving: Serving(child),
            port,
            address,
            peer,
            ticket,
        }
    }
}

/// A person who clones into `clone` below a folder of their own, with a key of their own.
pub struct Cloner {
    pub sandbox: Sandbox,
}

impl Cloner {
    pub fn new() -> Self {
        Self {
            sandbox: Sandbox::empty(),
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.sandbox.path("clone")
    }

    #[track_caller]
    pub fn clone_from(&self, source: &str) -> Value {
        self.sandbox.json(&["clone", source, "clone"])
    }

    /// A command inside the clone.
    pub fn inside(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.current_dir(self.folder());
        command
    }

    /// Runs a command inside the clone, and gives its exit code and document or error.
    pub fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.inside(&[arguments, &["--json"]].concat()).output().unwrap();
        let said = if output.status.success() {
            &output.stdout
        } else {
            &output.stderr
        };
        let document = serde_json::from_slice(said);
        let shown = String::from_utf8_lossy(said);
        (
            output.status.code(),
            document.unwrap_or_else(|error| panic!("{arguments:?}: {error} in {shown}")),
        )
    }

    /// The document of a command inside the clone, whatever its exit code is.
    pub fn json_of(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.inside(&[arguments, &["--json"]].concat()).output().unwrap();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> Value {
        let (code, document) = self.json(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {document}");
        document
    }

    #[track_caller]
    pub fn fails(&self, arguments: &[&str], kind: &str) -> String {
        let (code, document) = self.json(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {document}");
        assert_eq!(document["error"]["kind"], kind, "{document}");
        text(&document["error"]["message"])
    }

    pub fn write(&self, path: &str, bytes: &[u8]) {
        fs::write(self.folder().join(path), bytes).unwrap();
    }

    #[track_caller]
    pub fn commit(&self, message: &str) {
        self.ok(&["add", "-A"]);
        self.ok(&["commit", "-m", message]);
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        let report = self.ok(&["fsck", "--full"]);
        assert_eq!(report["problems"], serde_json::json!([]), "{report}");
    }
}

/// A process that ends with this.
pub struct Serving(pub Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
