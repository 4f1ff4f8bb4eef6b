//! Machines on networks of their own: namespaces joined by cables, made and removed here, and people who work at them.
//! Needs root and `ip`.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Sandbox;

/// How long anything may take that ends a test when it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Network namespaces, which end with this.
pub struct Network {
    spaces: Vec<String>,
}

/// Runs `ip`.
fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

impl Network {
    /// So many machines, without a cable between them.
    fn machines(count: usize) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let mut network = Self { spaces: Vec::new() };
        for machine in 0..count {
            let space = format!("fai{}-{number}-{machine}", std::process::id());
            ip(&["netns", "add", &space])?;
            network.spaces.push(space);
            ip(&["-n", network.space(machine), "link", "set", "lo", "up"])?;
        }
        Ok(network)
    }

    /// Machines 1 to `count` with `10.77.0.N` on one bridge, which is machine 0.
    pub fn bridged(count: usize) -> Result<Self, String> {
        let network = Self::machines(count + 1)?;
        let switch = network.space(0);
        ip(&["-n", switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", switch, "link", "set", "br0", "up"])?;
        for machine in 1..=count {
            let (space, port) = (network.space(machine), format!("v{machine}"));
            let cable = [
                "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", &port,
            ];
            ip(&[&cable[..], &["netns", switch]].concat())?;
            ip(&["-n", switch, "link", "set", &port, "master", "br0", "up"])?;
            network.address(machine, "eth0", &format!("10.77.0.{machine}/24"))?;
        }
        Ok(network)
    }

    /// Machines 1 to `count`, each with a cable to machine 0 and to nothing else: `10.78.N.2` here and `10.78.N.1` there.
    /// Machine 0 passes nothing on.
    pub fn apart(count: usize) -> Result<Self, String> {
        let network = Self::machines(count + 1)?;
        for machine in 1..=count {
            let port = format!("eth{machine}");
            let cable = ["link", "add", "eth0", "type", "veth", "peer", "name", &port];
            let ends = [
                &["-n", network.space(machine)],
                &cable[..],
                &["netns", network.space(0)],
            ];
            ip(&ends.concat())?;
            network.address(machine, "eth0", &format!("10.78.{machine}.2/24"))?;
            network.address(0, &port, &format!("10.78.{machine}.1/24"))?;
        }
        Ok(network)
    }

    fn address(&self, machine: usize, device: &str, address: &str) -> Result<(), String> {
        let space = self.space(machine);
        ip(&["-n", space, "addr", "add", address, "dev", device])?;
        ip(&["-n", space, "link", "set", device, "up"])
    }

    fn space(&self, machine: usize) -> &str {
        &self.spaces[machine]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in &self.spaces {
            let _ = ip(&["netns", "del", space]);
        }
    }
}

/// A person at one of the machines, with a repository in `models` below a folder of their own.
pub struct Person<'a> {
    network: &'a Network,
    machine: usize,
    pub sandbox: Sandbox,
}

impl<'a> Person<'a> {
    pub fn at(network: &'a Network, machine: usize) -> Self {
        Self {
            network,
            machine,
            sandbox: Sandbox::empty(),
        }
    }

    pub fn folder(&self) -> PathBuf {
        self.sandbox.path("models")
    }

    /// `fai` on that machine.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let plain = self.sandbox.command(arguments);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.network.space(self.machine)]);
        command.arg(plain.get_program()).args(plain.get_args());
        command
            .current_dir(plain.get_current_dir().unwrap())
            .stdin(Stdio::null());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--json"]].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The error of a command that must fail.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--json"]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let document: Value = serde_json::from_slice(&output.stderr).unwrap();
        document["error"].clone()
    }

    /// A repository with one commit of one file.
    #[track_caller]
    pub fn begin(&self, bytes: &[u8]) {
        self.json(&["init", "models"]);
        fs::write(self.folder().join("model.bin"), bytes).unwrap();
        self.commit("first");
    }

    #[track_caller]
    pub fn commit(&self, message: &str) {
        self.json(&["-C", "models", "add", "-A"]);
        self.json(&["-C", "models", "commit", "-m", message]);
    }

    /// This person's peer id.
    #[track_caller]
    pub fn peer(&self) -> String {
        super::text(&self.json(&["id"])["peer_id"])
    }

    /// Serves the repository, or with `--relay` perhaps none.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Serving {
        let folder: &[&str] = if self.folder().exists() { &["-C", "models"] } else { &[] };
        let all = [folder, &["serve", "--json"], arguments].concat();
        let mut child = self.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut serving = Serving {
            child,
            lines,
            first: Value::Null,
        };
        serving.first = serving.event("listening");
        serving
    }

    #[track_caller]
    pub fn assert_sound(&self) {
        let report = self.json(&["-C", "models", "fsck", "--full"]);
        assert_eq!(report["problems"], serde_json::json!([]));
    }
}

/// A process that serves, and ends with this.
pub struct Serving {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// What it said when it began.
    pub first: Value,
}

impl Serving {
    /// The next event of that name.
    #[track_caller]
    pub fn event(&self, name: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|error| panic!("no event {name:?}: {error}"));
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }

    /// True when an event of that name is among those that came until now.
    pub fn has_said(&self, name: &str) -> bool {
        let mut events = self
            .lines
            .try_iter()
            .map(|line| serde_json::from_str::<Value>(&line).unwrap());
        events.any(|event| event["event"] == name)
    }

    /// The addresses by which it can be reached from another machine, by kind: `ip4/10.78.1.2/tcp` and the like.
    pub fn addresses(&self) -> HashMap<String, String> {
        let all = self.first["addresses"].as_array().unwrap().iter();
        let named = all.map(|address| {
            let address = super::text(address);
            let kind: Vec<&str> = address.split('/').skip(1).take(3).collect();
            (kind.join("/"), address)
        });
        named.collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The network, or nothing when the kernel forbids it, with the reason printed.
#[expect(
    clippy::print_stdout,
    reason = "whoever runs the tests is to know what was not tested"
)]
pub fn or_skip<T>(made: Result<T, String>) -> Option<T> {
    if let Err(reason) = &made {
        println!("skipped: no namespaces here ({reason})");
    }
    made.ok()
}
