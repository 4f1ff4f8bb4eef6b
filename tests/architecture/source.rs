//! Reading Rust as far as the rules need it: what of a file is code, which lines are tests, and which words and
//! paths stand where. Which of them are forbidden is not here.

/// One Rust file.
pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked, line for line.
    pub code: String,
    /// For each line of `code`: does it belong to tests, benches or build scripts?
    test: Vec<bool>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank_literals(text);
        let mut parts = path.split('/');
        let aside = parts.any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "build.rs"));
        let test = if aside || code.trim_start().starts_with("#![cfg(test)]") {
            vec![true; code.lines().count()]
        } else {
            test_lines(&code)
        };
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            test,
        }
    }

    pub fn is_test(&self, line: usize) -> bool {
        self.test.get(line - 1).copied().unwrap_or(false)
    }

    /// Lines outside tests.
    pub fn length(&self) -> usize {
        self.test.iter().filter(|test| !**test).count()
    }

    pub fn violation(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// A violation for each place where one of `patterns` stands as a word of its own.
    pub fn mentions(&self, patterns: &[&str], tests_too: bool, what: &str) -> Vec<String> {
        let found = patterns
            .iter()
            .flat_map(|pattern| words(&self.code, pattern).map(move |at| (at, pattern)));
        let lines = found.map(|(at, pattern)| (line_of(&self.code, at), pattern));
        let counted = lines.filter(|(line, _)| tests_too || !self.is_test(*line));
        counted
            .map(|(line, pattern)| self.violation(line, &format!("`{pattern}`: {what}")))
            .collect()
    }
}

/// Comments, strings and character literals become blanks; every line keeps its number.
fn blank_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside_word = code.chars().next_back().is_some_and(is_word);
        let (skipped, after) = rest.split_at(literal_length(rest, inside_word));
        if skipped.is_empty() {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// Length in bytes of the comment or literal that `rest` starts with; 0 when it starts with code.
fn literal_length(rest: &str, inside_word: bool) -> usize {
    let through = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        let (mut at, mut depth) = (2, 1);
        while depth > 0 && at < rest.len() {
            let tail = &rest.as_bytes()[at..];
            let step = if tail.starts_with(b"/*") {
                1
            } else if tail.starts_with(b"*/") {
                -1
            } else {
                0
            };
            depth += step;
            at += if step == 0 { 1 } else { 2 };
        }
        return at;
    }
    if let Some(inner) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = inner.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return end.map_or(rest.len(), |at| at + 2);
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        let mut chars = inner.chars();
        return match (chars.next(), chars.next()) {
            (Some('\\'), _) => through(3, "'"),
            (Some(c), Some('\'')) => 2 + c.len_utf8(),
            _ => 0, // a lifetime
        };
    }
    let raw = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix));
    if let (Some(raw), false) = (raw, inside_word) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return through(
                rest.len() - raw.len() + hashes + 1,
                &format!("\"{}", "#".repeat(hashes)),
            );
        }
    }
    0
}

/// Marks the lines of every item under `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut test = vec![false; code.lines().count()];
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(attribute) {
            let mut depth = 0;
            let end = code[start..].find(|c| {
                depth += match c {
                    '{' | '(' | '[' => 1,
                    '}' | ')' | ']' => -1,
                    _ => 0,
                };
                depth <= 0 && matches!(c, '}' | ';')
            });
            let last = line_of(code, end.map_or(code.len(), |length| start + length)).min(test.len());
            test[line_of(code, start) - 1..last].fill(true);
        }
    }
    test
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// Offsets at which `pattern` stands as a word of its own.
pub fn words<'a>(code: &'a str, pattern: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(pattern).map(|(at, _)| at).filter(move |at| {
        let starts = !code[..*at].ends_with(is_word);
        let ends = !pattern.ends_with(is_word) || !code[at + pattern.len()..].starts_with(is_word);
        starts && ends
    })
}

/// What is named directly after `root::`, braces included, with offsets: `root::{a::x, b}` gives `a` and `b`.
pub fn names_after<'a>(code: &'a str, root: &'a str) -> Vec<(usize, &'a str)> {
    let mut names = Vec::new();
    for start in words(code, root) {
        let Some(path) = code[start + root.len()..]
            .trim_start()
            .strip_prefix("::")
            .map(str::trim_start)
        else {
            continue;
        };
        let mut name_expected = true;
        let mut depth = 0;
        let base = code.len() - path.len();
        for (at, c) in path.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => name_expected = true,
                c if c.is_whitespace() => {}
                _ if name_expected && depth <= 1 => {
                    let length = path[at..].find(|c| !is_word(c)).unwrap_or(path.len() - at).max(1);
                    names.push((base + at, &path[at..at + length]));
                    name_expected = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "a /* x /* y */ z */ b\n\"q\\\"r\" c 'd' '\\'' '\\u{1F600}' e<'life>\nr#\"raw \" \n\"# f b\"g\" r\"\\\" h // i\nr#type j";
    let code: Vec<String> = blank_literals(text)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(code, ["a b", "c e<'life>", "", "f b h", "r#type j"]);
}
