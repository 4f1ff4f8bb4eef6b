//! `config`: settings of a repository and of a user, as TOML files that people may also edit.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, Value};

use super::durable::{lock, replace_file};
use super::{Error, Repository};

/// The longest settings file.
const MAX_LEN: u64 = 1 << 20;

/// Settings from one file.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    document: DocumentMut,
}

impl Config {
    /// Reads the settings at `path`; a missing file has none.
    ///
    /// # Errors
    /// When the file cannot be read or is no TOML.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |reason: String| Error::BadConfig {
            path: path.to_owned(),
            reason,
        };
        let text = match fs::metadata(path) {
            Ok(metadata) if metadata.len() > MAX_LEN => return Err(bad(format!("is longer than {MAX_LEN} bytes"))),
            Ok(_) => fs::read_to_string(path).map_err(Error::io("read", path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let document = text
            .parse()
            .map_err(|error: toml_edit::TomlError| bad(format!("is not valid TOML: {}", error.message())))?;
        Ok(Self {
            path: path.to_owned(),
            document,
        })
    }

    /// The setting `section.name` as text.
    pub fn get(&self, key: &str) -> Option<String> {
        let mut item = self.document.as_item();
        for part in key.split('.') {
            item = item.as_table_like()?.get(part)?;
        }
        match item.as_value()? {
            Value::String(text) => Some(text.value().clone()),
            other => Some(other.to_string().trim().to_owned()),
        }
    }

    /// The setting `section.name` as a list of texts; empty when it is none.
    pub fn list(&self, key: &str) -> Vec<String> {
        let mut item = self.document.as_item();
        for part in key.split('.') {
            match item.as_table_like().and_then(|table| table.get(part)) {
                Some(found) => item = found,
                None => return Vec::new(),
            }
        }
        let texts = |value: &Value| value.as_str().map(str::to_owned);
        match item.as_value() {
            Some(Value::Array(array)) => array.iter().filter_map(texts).collect(),
            Some(value) => texts(value).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// All settings by dotted key, in the order of the file.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut keys = Vec::new();
        collect_keys(self.document.as_item(), "", &mut keys);
        keys.into_iter()
            .filter_map(|key| self.get(&key).map(|value| (key, value)))
            .collect()
    }

    /// Changes the setting `key` in the file at `path`; `None` removes it. Comments and order of the file stay.
    ///
    /// # Errors
    /// When the key has no section, or the file cannot be read or written.
    pub fn change(path: &Path, key: &str, value: Option<&str>) -> Result<(), Error> {
        Self::edit(path, [(key, value.map(typed))])
    }

    /// The same for lists of texts, all at once; an empty one is removed.
    ///
    /// # Errors
    /// As [`Config::change`].
    pub fn change_lists(path: &Path, lists: &[(&str, &[String])]) -> Result<(), Error> {
        let array = |list: &[String]| Value::Array(list.iter().map(String::as_str).collect());
        let values = lists
            .iter()
            .map(|(key, list)| (*key, (!list.is_empty()).then(|| array(list))));
        Self::edit(path, values)
    }

    /// Puts values into the file in one replacement of it.
    fn edit<'k>(path: &Path, values: impl IntoIterator<Item = (&'k str, Option<Value>)>) -> Result<(), Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        let _exclusive = lock(&path.with_extension("lock"), false)?;
        let mut config = Self::read(path)?;
        for (key, value) in values {
            config.put(key, value)?;
        }
        let text = config.document.to_string();
        if text.len() as u64 > MAX_LEN {
            return Err(Error::Usage(format!(
                "{} would be longer than {MAX_LEN} bytes, which nobody reads",
                path.display()
            )));
        }
        replace_file(&config.path, text.as_bytes())
    }

    fn put(&mut self, key: &str, value: Option<Value>) -> Result<(), Error> {
        let parts: Vec<&str> = key.split('.').collect();
        let valid = |part: &&str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let (Some((name, sections)), true) = (parts.split_last(), parts.iter().all(valid)) else {
            return Err(Error::Usage(format!("{key:?} is not a setting's name")));
        };
        if sections.is_empty() {
            return Err(Error::Usage(format!(
                "{key:?} has no section: settings are named like user.name"
            )));
        }
        let mut table = self.document.as_table_mut();
        for section in sections {
            let entry = table.entry(section).or_insert_with(|| Item::Table(Table::new()));
            let found = entry.as_table_mut();
            table = found.ok_or_else(|| Error::Usage(format!("{section} is a value, not a section")))?;
        }
        match value {
            Some(value) => {
                table.insert(name, Item::Value(value));
            }
            None => {
                table.remove(name);
            }
        }
        Ok(())
    }
}

impl Repository {
    /// Where this repository's settings are.
    pub fn config_path(&self) -> PathBuf {
        self.directory.join("config.toml")
    }
}

/// Whole numbers and booleans are written as such, everything else as text.
fn typed(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Into::into),
    }
}

fn collect_keys(item: &Item, prefix: &str, keys: &mut Vec<String>) {
    let Some(table) = item.as_table_like() else {
        keys.push(prefix.to_owned());
        return;
    };
    for (name, item) in table.iter() {
        let key = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        };
        collect_keys(item, &key, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_changed_without_touching_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, "# mine\n[user]\nname = \"Ada\" # me\n").unwrap();
        Config::change(&path, "user.email", Some("ada@example.org")).unwrap();
        Config::change(&path, "serve.port", Some("4001")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\n[user]\nname = \"Ada\" # me\n"), "{text}");
        assert!(text.contains("port = 4001"));
        let config = Config::read(&path).unwrap();
        assert_eq!(config.get("user.email").as_deref(), Some("ada@example.org"));
        assert_eq!(config.get("user"), None);
        Config::change(&path, "user.name", None).unwrap();
        assert_eq!(Config::read(&path).unwrap().get("user.name"), None);
        assert_eq!(Config::read(&path).unwrap().entries().len(), 2);
    }

    #[test]
    fn broken_files_and_names_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        for key in ["", "user", "user.", ".name", "a b.c"] {
            assert!(Config::change(&path, key, Some("x")).is_err(), "{key:?}");
        }
        fs::write(&path, "user = [").unwrap();
        assert!(Config::read(&path).is_err());
    }
}
