//! The network part of `fai demo`: one process serves, another clones, both with keys of their own, over loopback.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A process that ends with this.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves the repository in `work` and clones it to `clone`; what `fai clone --json` says is returned.
pub fn clone_over_loopback(folder: &Path, work: &Path, clone: &Path) -> Result<Value> {
    let mut serving = Serving(
        fai(folder, "owner")?
            .args(["serve", "--listen", "/ip4/127.0.0.1/tcp/0", "--json"])
            .current_dir(work)
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a second process")?,
    );
    let mut first = String::new();
    let output = serving.0.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output);
    lines.read_line(&mut first)?;
    let listening: Value = serde_json::from_str(&first).context("the serving process did not start")?;
    let ticket = listening.get("ticket").and_then(Value::as_str).context("no ticket")?;
    let cloned = fai(folder, "cloner")?
        .args(["clone", ticket, "--json"])
        .arg(clone)
        .output()?;
    ensure!(
        cloned.status.success(),
        "cloning failed: {}",
        String::from_utf8_lossy(&cloned.stderr)
    );
    Ok(serde_json::from_slice(&cloned.stdout)?)
}

/// This program, for a user with a folder of their own.
fn fai(folder: &Path, user: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.env("FAI_HOME", folder.join(user)).current_dir(folder);
    Ok(command)
}
