//! Three peers on a network of their own: namespaces joined by a bridge, made and removed here. They find each other by
//! mDNS, with no address typed. Needs root and `ip`; skipped, with the reason printed, where the kernel forbids it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use fai_testkit::noise;
use serde_json::Value;

use crate::support::{Sandbox, files_below, text};

/// Namespaces `NAME-1` to `NAME-3`, each with `10.77.0.N` on one bridge.
struct Lan {
    name: String,
}

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

impl Lan {
    fn new() -> Result<Self, String> {
        let lan = Self {
            name: format!("fai{}", std::process::id()),
        };
        let switch = lan.space(0);
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        for host in 1..=3 {
            let (space, port) = (lan.space(host), format!("v{host}"));
            ip(&["netns", "add", &space])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            let cable = [
                "-n", &space, "link", "add", "eth0", "type", "veth", "peer", "name", &port,
            ];
            ip(&[&cable[..], &["netns", &switch]].concat())?;
            ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
            ip(&[
                "-n",
                &space,
                "addr",
                "add",
                &format!("10.77.0.{host}/24"),
                "dev",
                "eth0",
            ])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        }
        Ok(lan)
    }

    fn space(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in 0..=3 {
            let _ = ip(&["netns", "del", &self.space(host)]);
        }
    }
}

/// A person at one of the machines, with a repository in `repo` below a folder of their own.
struct Person<'a> {
    lan: &'a Lan,
    host: u8,
    sandbox: Sandbox,
}

impl<'a> Person<'a> {
    fn at(lan: &'a Lan, host: u8) -> Self {
        Self {
            lan,
            host,
            sandbox: Sandbox::empty(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.sandbox.path("models")
    }

    /// `fai` on that machine.
    fn command(&self, arguments: &[&str]) -> Command {
        let plain = self.sandbox.command(arguments);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lan.space(self.host)]);
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
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--json"]].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn commit(&self, message: &str) {
        self.json(&["-C", "models", "add", "-A"]);
        self.json(&["-C", "models", "commit", "-m", message]);
    }

    fn serve(&self) -> Serving {
        let mut command = self.command(&["-C", "models", "serve", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (mut first, output) = (String::new(), child.stdout.take().unwrap());
        let serving = Serving(child);
        BufReader::new(output).read_line(&mut first).unwrap();
        assert!(first.contains("10.77.0."), "{first}");
        serving
    }

    #[track_caller]
    fn assert_sound(&self) {
        let report = self.json(&["-C", "models", "fsck", "--full"]);
        assert_eq!(report["problems"], serde_json::json!([]));
    }
}

/// A process that ends with this.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn three_machines_find_each_other_and_share_the_work() {
    let lan = match Lan::new() {
        Ok(lan) => lan,
        Err(reason) => {
            println!("skipped: no network namespaces here ({reason})");
            return;
        }
    };
    let (one, two, three) = (Person::at(&lan, 1), Person::at(&lan, 2), Person::at(&lan, 3));
    one.json(&["init", "models"]);
    fs::write(one.folder().join("model.bin"), noise(7, 30_000_000)).unwrap();
    one.commit("first");
    let first = one.serve();
    let peer = text(&one.json(&["id"])["peer_id"]);

    let seen = two.json(&["peers"]);
    assert_eq!(seen["peers"][0]["peer_id"].as_str(), Some(peer.as_str()), "{seen}");
    assert_eq!(seen["peers"][0]["repositories"][0]["name"], "models");
    two.json(&["clone", &peer]);
    assert_eq!(files_below(&two.folder()), files_below(&one.folder()));

    let other = text(&two.json(&["id"])["peer_id"]);
    one.json(&["-C", "models", "access", "allow", &other, "--write"]);
    fs::write(two.folder().join("head.bin"), noise(8, 2_000_000)).unwrap();
    two.commit("second");
    two.json(&["-C", "models", "push"]);
    assert_eq!(files_below(&two.folder()), files_below(&one.folder()));

    let _second = two.serve();
    let cloned = three.json(&["clone", &peer]);
    assert_eq!(cloned["commits"], 2, "{cloned}");
    assert_eq!(files_below(&three.folder()), files_below(&one.folder()));
    drop(first);
    // The first machine is gone: the second one has it all.
    let again = Person::at(&lan, 3);
    again.json(&["clone", &other]);
    assert_eq!(files_below(&again.folder()), files_below(&two.folder()));
    for person in [&one, &two, &three, &again] {
        person.assert_sound();
    }
}
