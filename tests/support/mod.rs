//! A folder to try `fai` in: a repository, a home of its own, a fixed clock and author. What commands should do is
//! not here.

pub mod network;
pub mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// When everything happens in tests, and as `log` shows it.
pub const DATE: &str = "2024-01-15T14:30:22+01:00";
pub const SHOWN_DATE: &str = "2024-01-15 14:30:22";

/// Signs that only terminals get to see.
const SYMBOLS: [&str; 13] = [
    "✅", "→", "➕", "➖", "✏", "🔀", "📈", "🔄", "📦", "🔢", "📊", "⚠", "\x1b",
];

/// A temporary folder with a repository in `repo` and the user's settings in `home`.
pub struct Sandbox {
    folder: TempDir,
}

/// What a failed command said, on stderr and as JSON.
pub struct Problem {
    pub kind: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Sandbox {
    /// With a new repository.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.ok(&["init"]);
        sandbox
    }

    /// Without a repository: `repo` is an empty folder.
    pub fn empty() -> Self {
        let folder = match roomy_memory() {
            Some(memory) => tempfile::tempdir_in(memory).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        fs::create_dir(folder.path().join("repo")).unwrap();
        Self { folder }
    }

    /// With these files committed.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let sandbox = Self::new();
        files.iter().for_each(|(path, bytes)| sandbox.write(path, bytes));
        sandbox.commit("first");
        sandbox
    }

    /// The worktree.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("repo").canonicalize().unwrap()
    }

    /// The folder around the worktree.
    pub fn outside(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// Writes a file of the worktree with the folders above it.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub fn set_executable(&self, path: &str, executable: bool) {
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn is_executable(&self, path: &str) -> bool {
        self.path(path).metadata().unwrap().permissions().mode() & 0o100 != 0
    }

    /// `fai` in the worktree, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(assert_cmd::cargo::cargo_bin!("fai")), arguments)
    }

    /// A shell script in the worktree, which finds the program in `$FAI`.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = self.prepared(Command::new("sh"), &["-c", script]);
        command.env("FAI", assert_cmd::cargo::cargo_bin!("fai"));
        command
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("FAI_") || name == "RUST_LOG" || name == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.root())
            .env("FAI_HOME", self.outside().join("home"))
            .env("HOME", self.outside())
            .env("FAI_DATE", DATE)
            .env("FAI_AUTHOR_NAME", "Ada Lovelace")
            .env("FAI_AUTHOR_EMAIL", "ada@example.org")
            .env("LANG", "C.UTF-8")
            .env_remove("LC_ALL")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed without a word on stderr, and gives its standard output.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (out, complaints) = self.warned(arguments);
        assert_eq!(complaints, "", "fai {arguments:?}");
        out
    }

    /// Runs a command that must succeed, and gives standard output and standard error.
    #[track_caller]
    pub fn warned(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "fai {arguments:?}: {}", said(&output));
        let out = String::from_utf8(output.stdout).unwrap();
        for symbol in SYMBOLS {
            assert!(!out.contains(symbol), "{symbol:?} on a pipe: {out}");
        }
        (out, String::from_utf8(output.stderr).unwrap())
    }

    /// Standard output of a command that must succeed, as bytes.
    #[track_caller]
    pub fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "fai {arguments:?}: {}", said(&output));
        output.stdout
    }

    /// The document of a command that must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["--json"]].concat());
        parsed(&text)
    }

    /// Runs a command that must fail with exit code 1, for people and for scripts, which must be told the same.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> Problem {
        self.fails_with(1, arguments)
    }

    /// As [`Sandbox::fails`], with this exit code.
    #[track_caller]
    pub fn fails_with(&self, code: i32, arguments: &[&str]) -> Problem {
        let plain = self.run(arguments);
        assert_eq!(plain.status.code(), Some(code), "fai {arguments:?}: {}", said(&plain));
        assert_eq!(plain.stdout, b"", "fai {arguments:?}: {}", said(&plain));
        let json = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(json.status.code(), Some(code), "fai {arguments:?}: {}", said(&json));
        assert_eq!(json.stdout, b"", "fai {arguments:?}: {}", said(&json));
        let document = parsed(&String::from_utf8(json.stderr).unwrap());
        let problem = Problem {
            kind: document["error"]["kind"].as_str().unwrap().to_owned(),
            message: document["error"]["message"].as_str().unwrap().to_owned(),
            hint: document["error"]["hint"].as_str().map(str::to_owned),
        };
        let hint = problem.hint.as_ref().map(|hint| format!("hint: {hint}\n"));
        let expected = format!("error: {}\n{}", problem.message, hint.unwrap_or_default());
        assert_eq!(String::from_utf8(plain.stderr).unwrap(), expected);
        problem
    }

    /// Runs a command line that makes no sense: exit code 2 and a word about usage.
    #[track_caller]
    pub fn misused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "fai {arguments:?}: {}", said(&output));
        assert_eq!(output.stdout, b"", "fai {arguments:?}: {}", said(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Adds everything and commits it; gives the commit's id.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        self.ok(&["add", "-A"]);
        text(&self.json(&["commit", "-m", message])["id"])
    }

    /// The paths in one list of `status`.
    #[track_caller]
    pub fn status(&self, list: &str) -> Vec<String> {
        let document = self.json(&["status"]);
        let path = |entry: &Value| entry.as_str().map_or_else(|| text(&entry["path"]), str::to_owned);
        document[list].as_array().unwrap().iter().map(path).collect()
    }

    /// Staged changes as `added a.txt`.
    #[track_caller]
    pub fn staged(&self) -> Vec<String> {
        let document = self.json(&["status"]);
        let staged = document["staged"].as_array().unwrap().iter();
        staged
            .map(|entry| format!("{} {}", text(&entry["change"]), text(&entry["path"])))
            .collect()
    }

    /// Fails unless the worktree is what is committed.
    #[track_caller]
    pub fn assert_clean(&self) {
        let status = self.json(&["status"]);
        for list in ["staged", "modified", "deleted", "untracked"] {
            assert_eq!(status[list], serde_json::json!([]), "{list}: {status}");
        }
    }

    /// Fails unless every stored byte is what it should be and nothing is missing.
    #[track_caller]
    pub fn assert_sound(&self) {
        let report = self.json(&["fsck", "--full"]);
        assert_eq!(
            (&report["ok"], &report["problems"]),
            (&true.into(), &serde_json::json!([]))
        );
    }

    /// Paths of a listing.
    #[track_caller]
    pub fn listed(&self, arguments: &[&str]) -> Vec<String> {
        let document = self.json(&[&["ls"], arguments].concat());
        let files = document["files"].as_array().unwrap().iter();
        files.map(|file| text(&file["path"])).collect()
    }
}

impl Problem {
    /// Fails unless it is of this kind and names all of `words`.
    #[track_caller]
    pub fn is(&self, kind: &str, words: &[&str]) -> &Self {
        assert_eq!(self.kind, kind, "{}", self.message);
        for word in words {
            assert!(self.message.contains(word), "{word:?} is not in {:?}", self.message);
        }
        self
    }

    /// Fails unless the hint names `word`.
    #[track_caller]
    pub fn hints(&self, word: &str) {
        let hint = self.hint.as_deref().unwrap_or_default();
        assert!(hint.contains(word), "{word:?} is not in the hint {hint:?}");
    }
}

/// A folder in memory with room for the largest tests, if this system has one. Syncing costs nothing there: on a disk
/// the tests that write much would hold up all others.
fn roomy_memory() -> Option<&'static Path> {
    const NEEDED_KIB: u64 = 2 << 20;
    static FOUND: OnceLock<bool> = OnceLock::new();
    let memory = Path::new("/dev/shm");
    let look = || {
        let output = Command::new("df").args(["-Pk", "/dev/shm"]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    };
    let roomy = *FOUND.get_or_init(|| memory.is_dir() && look().is_some_and(|free| free >= NEEDED_KIB));
    roomy.then_some(memory)
}

/// The text of a JSON string.
#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

/// The first 8 digits of an id.
pub fn short(id: &str) -> &str {
    &id[..8]
}

/// The names of an object's fields, in their order.
#[track_caller]
pub fn fields(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("not an object: {value}"));
    object.keys().map(String::as_str).collect()
}

/// Fails unless the object has all of these fields; it may have more.
#[track_caller]
pub fn assert_fields(value: &Value, expected: &[&str]) {
    let found = fields(value);
    for name in expected {
        assert!(found.contains(name), "no field {name:?} in {value}");
    }
}

/// All files below a folder, with their content, by relative path. `.fai` is left out.
pub fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != ".fai") {
                    folders.push(path);
                }
            } else {
                let relative = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.push((relative, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

fn said(output: &Output) -> String {
    let (out, complaints) = (&output.stdout, &output.stderr);
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(complaints)
    )
}
