//! `fai version`

use crate::support::Sandbox;

#[test]
fn it_tells_program_and_format() {
    let sandbox = Sandbox::empty();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sandbox.ok(&["version"]), format!("fai {version}\n"));
    assert_eq!(sandbox.ok(&["--version"]), format!("fai {version}\n"));
    let document = sandbox.json(&["version"]);
    assert_eq!(
        (&document["version"], &document["format"]),
        (&version.into(), &1.into())
    );
}
