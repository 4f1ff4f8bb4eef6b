//! Paths inside a repository: relative, `/`-separated, every component a valid name.

use std::borrow::Borrow;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use super::name::{NameError, check_name};

/// The longest path in bytes.
pub const MAX_PATH_LEN: usize = 4096;

/// A path below a repository's root; the root itself is the empty path.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RepoPath(String);

/// Why a path cannot be used in a repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component breaks a naming rule.
    #[error("{path}: {source}")]
    Name {
        /// The whole path.
        path: String,
        /// The rule.
        #[source]
        source: NameError,
    },
    /// Not UTF-8.
    #[error("{} is not valid UTF-8, and a repository holds only UTF-8 names", .0.display())]
    NotUtf8(PathBuf),
    /// Outside the repository.
    #[error("{} is outside the repository", .0.display())]
    Outside(PathBuf),
    /// Longer than [`MAX_PATH_LEN`].
    #[error("the path {0}... is longer than {MAX_PATH_LEN} bytes")]
    TooLong(String),
}

impl RepoPath {
    /// The repository's root.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Parses a `/`-separated relative path; `.` components and a trailing slash are dropped.
    ///
    /// # Errors
    /// When a component breaks a naming rule (`..` included) or the whole is too long.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH_LEN {
            return Err(PathError::TooLong(text.chars().take(60).collect()));
        }
        if text.starts_with('/') {
            return Err(PathError::Outside(PathBuf::from(text)));
        }
        let names: Vec<&str> = text
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .collect();
        for name in &names {
            check_name(name).map_err(|source| PathError::Name {
                path: text.to_owned(),
                source,
            })?;
        }
        Ok(Self(names.join("/")))
    }

    /// Converts a relative file-system path that has no `..` left.
    ///
    /// # Errors
    /// As [`RepoPath::parse`], and when the path is absolute or not UTF-8.
    pub fn from_relative(path: &Path) -> Result<Self, PathError> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => {
                    names.push(name.to_str().ok_or_else(|| PathError::NotUtf8(path.to_owned()))?);
                }
                _ => return Err(PathError::Outside(path.to_owned())),
            }
        }
        Self::parse(&names.join("/"))
    }

    /// This path with one more name, which the caller has checked or takes from a decoded tree.
    pub fn join(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}/{name}", self.0))
        }
    }

    /// True for the repository's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, from the root down.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The folder and the last name; `None` for the root.
    pub fn split_last(&self) -> Option<(RepoPath, &str)> {
        match self.0.rsplit_once('/') {
            Some((folder, name)) => Some((Self(folder.to_owned()), name)),
            None if self.0.is_empty() => None,
            None => Some((Self::root(), &self.0)),
        }
    }

    /// True when this path is `folder` or lies below it.
    pub fn is_within(&self, folder: &RepoPath) -> bool {
        folder.is_root()
            || self
                .0
                .strip_prefix(folder.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The text, without a leading or trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file-system path below `root`.
    pub fn below(&self, root: &Path) -> PathBuf {
        let mut path = root.to_owned();
        path.extend(self.names());
        path
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.0)
    }
}

impl Borrow<str> for RepoPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(RepoPath::parse("a/./b/").unwrap().as_str(), "a/b");
        assert!(RepoPath::parse("").unwrap().is_root());
        for wrong in ["/a", "a/../b", "..", ".fai/db", "a/.GIT/x", "a/con"] {
            assert!(RepoPath::parse(wrong).is_err(), "{wrong}");
        }
        assert!(RepoPath::from_relative(Path::new("/etc")).is_err());
    }

    #[test]
    fn within_compares_whole_components() {
        let path = |text| RepoPath::parse(text).unwrap();
        assert!(path("a/b").is_within(&path("a")));
        assert!(path("a").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
        assert!(path("x").is_within(&RepoPath::root()));
    }
}
