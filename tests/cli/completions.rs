//! `fai completions`

use crate::support::Sandbox;

#[test]
fn every_shell_has_a_script() {
    let sandbox = Sandbox::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.bytes(&["completions", shell]);
        let script = String::from_utf8(script).unwrap();
        for word in ["fai", "checkout", "commit"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    sandbox.misused(&["completions", "dos"]);
}

#[test]
fn bash_accepts_its_script() {
    let sandbox = Sandbox::empty();
    let output = sandbox.shell("\"$FAI\" completions bash | bash -n").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
