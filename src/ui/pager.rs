//! A pager for long output, only on a terminal: `$FAI_PAGER`, `$PAGER`, or `less`.

use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use anyhow::Result;

use super::Output;

/// Shows colours, and ends at once when everything fits on the screen.
const DEFAULT: &str = "less -FRX";

/// Standard output goes through a pager until this is dropped, which waits for whoever reads.
pub struct Pager {
    child: Child,
    terminal: OwnedFd,
}

/// Starts a pager if people look at a terminal. `None` when they do not, or when there is no pager: then everything is printed at once.
///
/// # Errors
/// When standard output cannot be moved.
pub fn start(out: &Output) -> Result<Option<Pager>> {
    let chosen = chosen(|name| std::env::var(name).ok()).filter(|command| command != DEFAULT || has_less());
    let Some(command) = chosen.filter(|_| !out.json && !out.quiet && std::io::stdout().is_terminal()) else {
        return Ok(None);
    };
    let terminal = rustix::io::fcntl_dupfd_cloexec(std::io::stdout(), 3)?;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(&command).stdin(Stdio::piped());
    let Ok(mut child) = shell.spawn() else {
        return Ok(None);
    };
    if let Some(input) = child.stdin.take() {
        rustix::stdio::dup2_stdout(&input)?;
    }
    Ok(Some(Pager { child, terminal }))
}

impl Drop for Pager {
    fn drop(&mut self) {
        let _ = std::io::stdout().flush();
        // The pager sees the end when nobody holds its input any more.
        let _ = rustix::stdio::dup2_stdout(&self.terminal);
        let _ = self.child.wait();
    }
}

fn has_less() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join("less").is_file())
}

/// The command line of the pager; `None` when one is set to nothing or to `cat`.
fn chosen(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = ["FAI_PAGER", "PAGER"].iter().find_map(|name| variable(name));
    let command = named.unwrap_or_else(|| DEFAULT.to_owned());
    let command = command.trim();
    (!command.is_empty() && command != "cat").then(|| command.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_set_is_taken() {
        let with = |own: Option<&str>, common: Option<&str>| {
            chosen(|name| if name == "FAI_PAGER" { own } else { common }.map(str::to_owned))
        };
        assert_eq!(with(None, None).as_deref(), Some(DEFAULT));
        assert_eq!(with(Some("more"), Some("most")).as_deref(), Some("more"));
        assert_eq!(with(None, Some("most")).as_deref(), Some("most"));
        assert_eq!(with(Some(""), Some("most")), None);
        assert_eq!(with(None, Some("cat")), None);
    }
}
