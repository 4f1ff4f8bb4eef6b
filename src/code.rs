//! The revision of the code: which commit of a git repository around this one is checked out. Its files are read here,
//! without running anything; only whether tracked files differ is asked of `git`, where it is installed and nothing in
//! the repository's settings could make it run something else. Whatever goes wrong, there is just less to know.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;
use fai_core::Repository;
use fai_core::repo::CodeRevision;

use crate::context::Context;

/// How long `git` may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest file of git that is read; `packed-refs` of very large repositories are longer, and are then not read.
const MAX_LEN: u64 = 16 << 20;

/// Refs that lead to refs at the most.
const MAX_LINKS: usize = 5;

/// The longest address that is noted.
const MAX_REMOTE: usize = 1000;

/// The code's revision, unless `commit.code` is false or there is none.
pub fn revision(context: &Context, repository: &Repository) -> Result<Option<CodeRevision>> {
    let wanted = context.setting(repository, "commit.code")?;
    if wanted.is_some_and(|value| matches!(value.as_str(), "false" | "no" | "off" | "0")) {
        return Ok(None);
    }
    Ok(repository.worktree().and_then(find))
}

/// Looks for a git repository in `start` and the folders above it.
fn find(start: &Path) -> Option<CodeRevision> {
    let (root, git) = start
        .ancestors()
        .find_map(|folder| Some((folder, git_folder(folder)?)))?;
    let common = match text(&git.join("commondir")) {
        Some(common) => git.join(common.trim()),
        None => git.clone(),
    };
    let commit = head(&git, &common)?;
    let config = [text(&common.join("config")), text(&git.join("config.worktree"))];
    let config: Vec<Setting> = config.iter().flatten().flat_map(|text| settings(text)).collect();
    let url = config.iter().rev().find(|setting| setting.is("remote.origin", "url"));
    Some(CodeRevision {
        commit,
        dirty: if runs_nothing(&config) { dirty(root) } else { None },
        remote: url.and_then(|setting| without_credentials(&setting.value)),
    })
}

/// `.git` of a folder: a folder itself, or a file that names one.
fn git_folder(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.join("HEAD").is_file() {
        return Some(git);
    }
    let named = text(&git)?;
    let target = folder.join(named.strip_prefix("gitdir:")?.trim());
    target.join("HEAD").is_file().then_some(target)
}

/// The commit of `HEAD`.
fn head(git: &Path, common: &Path) -> Option<String> {
    let mut value = text(&git.join("HEAD"))?;
    for _ in 0..MAX_LINKS {
        let Some(name) = value.trim().strip_prefix("ref:").map(str::trim) else {
            return commit_id(value.trim());
        };
        let is_safe = name.starts_with("refs/") && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_safe {
            return None;
        }
        value = [git, common]
            .iter()
            .find_map(|folder| text(&folder.join(name)))
            .or_else(|| packed(&common.join("packed-refs"), name))?;
    }
    None
}

fn packed(path: &Path, name: &str) -> Option<String> {
    let refs = text(path)?;
    let found = refs.lines().filter_map(|line| line.split_once(' '));
    let mut found = found.filter(|(_, packed)| packed.trim() == name);
    found.next().map(|(id, _)| id.to_owned())
}

fn commit_id(text: &str) -> Option<String> {
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| text.to_ascii_lowercase())
}

/// A small file as text.
fn text(path: &Path) -> Option<String> {
    // Opening a pipe would wait for whoever writes into it.
    let metadata = path.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > MAX_LEN {
        return None;
    }
    let file = File::open(path).ok()?;
    let mut text = String::new();
    file.take(MAX_LEN).read_to_string(&mut text).ok()?;
    Some(text)
}

/// One setting of git.
struct Setting {
    /// `remote.origin`, the first part in lower case.
    section: String,
    name: String,
    value: String,
}

impl Setting {
    fn is(&self, section: &str, name: &str) -> bool {
        self.section == section && self.name == name
    }
}

/// The settings in a file, as far as they are needed: values that go over several lines lose the others.
fn settings(text: &str) -> Vec<Setting> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let (first, second) = title.0.split_once([' ', '\t', '.']).unwrap_or((title.0, ""));
            section = first.trim().to_ascii_lowercase();
            let second = second.trim().trim_matches('"');
            if !second.is_empty() {
                section = format!("{section}.{second}");
            }
        } else if let Some((name, value)) = line.split_once('=') {
            let value = value.trim().trim_matches('"').to_owned();
            let (section, name) = (section.clone(), name.trim().to_ascii_lowercase());
            found.push(Setting { section, name, value });
        }
        // A section without a `name = value` counts, too: `[include]` on one line with its path.
        if line.starts_with('[') && !line.ends_with(']') {
            let (section, name, value) = (section.clone(), "?".to_owned(), String::new());
            found.push(Setting { section, name, value });
        }
    }
    found
}

/// True when no setting of the repository could make `git status` run another program: filters, hooks of a file system
/// monitor, fetching what is missing, or other files of settings, which are not read here.
fn runs_nothing(config: &[Setting]) -> bool {
    let first = |setting: &Setting| setting.section.split('.').next().unwrap_or_default().to_owned();
    let risky = |setting: &Setting| {
        let lacks_objects = matches!(
            setting.name.as_str(),
            "promisor" | "partialclone" | "partialclonefilter"
        );
        lacks_objects || matches!(first(setting).as_str(), "filter" | "include" | "includeif" | "diff")
    };
    !config.iter().any(risky)
}

/// True when tracked files differ from the commit.
fn dirty(root: &Path) -> Option<bool> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args([
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
            "--no-pager",
            "status",
        ])
        .args([
            "--porcelain",
            "--untracked-files=no",
            "--ignore-submodules=all",
            "--no-renames",
        ])
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // One byte says it all. A thread waits for it, so that a hanging git is not waited for.
    let (tell, told) = mpsc::channel();
    let output = child.stdout.take();
    std::thread::spawn(move || {
        let mut byte = [0];
        let count = output.and_then(|mut output| output.read(&mut byte).ok());
        let _ = tell.send(count);
    });
    let first = told.recv_timeout(PATIENCE).ok().flatten();
    if first != Some(0) {
        let _ = child.kill();
        let _ = child.wait();
        return first.map(|_| true);
    }
    // Its output ended, so it ends, too.
    child.wait().ok()?.success().then_some(false)
}

/// An address without user name and password; `None` when it is none that others could use.
fn without_credentials(url: &str) -> Option<String> {
    if url.len() > MAX_REMOTE || url.chars().any(char::is_control) {
        return None;
    }
    if let Some((scheme, rest)) = url.split_once("://") {
        let end = rest.find('/').unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        // Tokens are also put into queries.
        let path = path.split(['?', '#']).next().unwrap_or_default();
        return (scheme != "file").then(|| format!("{scheme}://{host}{path}"));
    }
    // `git@host:path`; what is left is a path of this machine.
    let (host, path) = url.split_once(':').filter(|(host, _)| !host.contains('/'))?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    Some(format!("{host}:{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_what_is_secret() {
        for (url, shown) in [
            (
                "https://ada:secret@example.org/a/b.git",
                Some("https://example.org/a/b.git"),
            ),
            (
                "https://ghp_token@example.org/a?token=x#y",
                Some("https://example.org/a"),
            ),
            ("https://a@b:c@example.org", Some("https://example.org")),
            ("ssh://git@example.org:22/a", Some("ssh://example.org:22/a")),
            ("git@example.org:a/b.git", Some("example.org:a/b.git")),
            ("/home/ada/code", None),
            ("file:///home/ada/code", None),
            ("../code", None),
        ] {
            assert_eq!(without_credentials(url).as_deref(), shown, "{url}");
        }
    }

    #[test]
    fn settings_are_read_as_git_writes_them() {
        let text = "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://example.org/a\n\tfetch = x\n[Filter \"lfs\"]\n\tclean = y\n";
        let found = settings(text);
        assert!(
            found
                .iter()
                .any(|setting| setting.is("remote.origin", "url") && setting.value == "https://example.org/a")
        );
        assert!(!runs_nothing(&found));
        assert!(runs_nothing(&settings(
            "[core]\n\tbare = false\n[remote \"a\"]\n\turl = b\n"
        )));
        assert!(!runs_nothing(&settings("[include] path = ../evil\n")));
        assert!(!runs_nothing(&settings("[includeIf \"gitdir:~/\"]\n\tpath = evil\n")));
    }
}
