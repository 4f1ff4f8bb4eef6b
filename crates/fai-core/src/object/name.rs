//! Names inside trees: which ones are refused everywhere, and which two are the same somewhere.
//!
//! A tree can come from anyone. A name that leaves the folder, hides a repository's own files, or that another
//! operating system would read as something else is refused when it is recorded and when it is decoded.

use unicode_normalization::UnicodeNormalization;

/// The longest name: what common file systems hold.
pub const MAX_NAME_LEN: usize = 255;

/// Why a name cannot stand in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name {name:?} is refused: {reason}")]
pub struct NameError {
    /// The name.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

/// Checks one name (a path's component) against the rules that hold on every operating system.
///
/// # Errors
/// Says which rule the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAX_NAME_LEN {
        "it is longer than 255 bytes"
    } else if name == "." || name == ".." {
        "it means another folder"
    } else if name.bytes().any(|byte| matches!(byte, b'/' | b'\\')) {
        "it contains a path separator"
    } else if has_control(name) {
        "it contains a control character"
    } else if name.ends_with(['.', ' ']) {
        "it ends with a dot or a space, which Windows drops"
    } else if is_private(name) {
        "it is reserved for a repository's own files"
    } else if is_windows_device(name) {
        "it names a device on Windows"
    } else {
        return Ok(());
    };
    Err(NameError {
        name: name.to_owned(),
        reason,
    })
}

fn has_control(name: &str) -> bool {
    // One pass that vectorises tells ASCII names, which nearly all are.
    match name.bytes().fold(0, |all, byte| all | byte) {
        0..0x80 => name.bytes().any(|byte| byte.is_ascii_control()),
        _ => name.chars().any(char::is_control),
    }
}

/// The form in which two sibling names must differ: NFC and case-folded, as macOS and Windows compare them.
pub fn fold_name(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Upper then lower case folds what lower case alone keeps apart: ß and ss, ſ and s, the Kelvin sign and k.
    let upper: String = name.nfc().flat_map(char::to_uppercase).collect();
    let lower: String = upper.chars().flat_map(char::to_lowercase).collect();
    lower.nfc().collect()
}

/// `.fai` and `.git`, however a file system might be led to them: other case, characters that HFS+ ignores,
/// NTFS short names (`GIT~1`) and NTFS streams (`.git::$INDEX_ALLOCATION`).
fn is_private(name: &str) -> bool {
    if name.is_ascii() {
        return is_private_base(before_stream(name));
    }
    let visible: String = name.chars().filter(|c| !is_ignorable(*c)).collect();
    is_private_base(before_stream(&fold_name(&visible)))
}

/// A name without an NTFS stream and without what Windows drops at the end.
fn before_stream(name: &str) -> &str {
    let base = name.split(':').next().unwrap_or_default();
    base.trim_end_matches(['.', ' '])
}

fn is_private_base(base: &str) -> bool {
    let Some((start, rest)) = base.split_at_checked(4) else {
        return false;
    };
    let is = |name| start.eq_ignore_ascii_case(name);
    (rest.is_empty() && (is(".fai") || is(".git")))
        || ((is("fai~") || is("git~")) && !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Characters that HFS+ drops when it compares names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{00ad}')
}

/// `CON`, `NUL.txt`, `COM1` and their like, in any case and with any ending.
fn is_windows_device(name: &str) -> bool {
    let base = name.split(['.', ':']).next().unwrap_or_default().trim_end();
    let devices = ["con", "prn", "aux", "nul", "conin$", "conout$"];
    if devices.iter().any(|device| base.eq_ignore_ascii_case(device)) {
        return true;
    }
    let Some((prefix, port)) = base.split_at_checked(3) else {
        return false;
    };
    let mut digits = port.chars();
    (prefix.eq_ignore_ascii_case("com") || prefix.eq_ignore_ascii_case("lpt"))
        && matches!(
            (digits.next(), digits.next()),
            (Some('0'..='9' | '¹' | '²' | '³'), None)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "model.safetensors",
            ".faiignore",
            ".gitignore",
            "ünïcode",
            "a b",
            "...a",
            "com10",
            "console",
            "git~",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn dangerous_names_are_refused() {
        let long = "x".repeat(256);
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "nul\0",
            "tab\t",
            "\u{7f}",
            "end.",
            "end ",
            ".fai",
            ".FAI",
            ".Git",
            ".g\u{200c}it",
            "GIT~1",
            "fai~23",
            ".git::$INDEX_ALLOCATION",
            ".git ",
            "con",
            "NUL.txt",
            "Com1",
            "lpt¹",
            "aux.tar.gz",
            long.as_str(),
        ] {
            assert!(check_name(name).is_err(), "{name:?} should be refused");
        }
    }

    #[test]
    fn names_that_collide_somewhere_fold_alike() {
        for (one, other) in [
            ("Readme", "README"),
            ("é", "e\u{301}"),
            ("straße", "STRASSE"),
            ("ſ", "S"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(fold_name(one), fold_name(other), "{one} {other}");
        }
        assert_ne!(fold_name("a"), fold_name("b"));
    }
}
