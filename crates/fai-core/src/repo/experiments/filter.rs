//! Conditions on params and metrics as people type them: `lr<1e-3 and optimizer=adamw`.
//!
//! A name is a word (letters, digits and `._/-@:[]`) or stands in quotes; so is a value. Numbers are compared as numbers,
//! everything else as text. What a commit does not have fulfils no condition, `!=` included; neither does NaN, but for `!=`.

use std::cmp::Ordering;

use super::super::Error;
use crate::object::Value;

/// The longest filter, in bytes.
const MAX_LEN: usize = 10_000;

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `=` or `==`
    Equal,
    /// `!=`
    Unequal,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The param or metric, as it was typed.
    pub name: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what.
    pub value: Value,
}

/// Comparisons that must all hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// The comparisons.
    pub conditions: Vec<Condition>,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Says at which character something else was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser { text, rest: text };
        if text.len() > MAX_LEN {
            return Err(Error::Usage(format!("a filter is longer than {MAX_LEN} bytes")));
        }
        let mut conditions = Vec::new();
        loop {
            conditions.push(parser.condition()?);
            parser.skip_space();
            match parser.rest {
                "" => return Ok(Self { conditions }),
                _ => parser.and()?,
            }
        }
    }
}

impl Condition {
    /// True when `found` fulfils this condition.
    pub fn holds(&self, found: &Value) -> bool {
        let ordering = match (found.as_number(), self.value.as_number()) {
            (Some(found), Some(wanted)) => found.partial_cmp(&wanted),
            _ => Some(plain(found).cmp(&plain(&self.value))),
        };
        match self.operator {
            Operator::Unequal => ordering != Some(Ordering::Equal),
            Operator::Equal => ordering == Some(Ordering::Equal),
            Operator::Less => ordering == Some(Ordering::Less),
            Operator::Greater => ordering == Some(Ordering::Greater),
            Operator::AtMost => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
            Operator::AtLeast => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A value as text, as it is compared with text.
fn plain(value: &Value) -> String {
    match value.to_json() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn condition(&mut self) -> Result<Condition, Error> {
        let (name, _) = self.word("the name of a param or metric")?;
        let operator = self.operator()?;
        let (text, quoted) = self.word("a value")?;
        let value = match quoted {
            true => Value::Text(text),
            false => Value::from_typed(&text),
        };
        Ok(Condition { name, operator, value })
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn expected(&self, what: &str) -> Error {
        let before = self.text.len() - self.rest.len();
        let at = self.text.get(..before).unwrap_or_default().chars().count() + 1;
        let found = match self.rest.chars().next() {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        Error::Usage(format!(
            "the filter {:?} has {found} at character {at}, where {what} is expected",
            self.text
        ))
    }

    fn operator(&mut self) -> Result<Operator, Error> {
        const OPERATORS: [(&str, Operator); 7] = [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("!=", Operator::Unequal),
            ("==", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
            ("=", Operator::Equal),
        ];
        self.skip_space();
        for (sign, operator) in OPERATORS {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(operator);
            }
        }
        Err(self.expected("one of < <= > >= = !="))
    }

    /// A word or a quoted text, and which of them it was.
    fn word(&mut self, what: &str) -> Result<(String, bool), Error> {
        self.skip_space();
        for quote in ['"', '\''] {
            if let Some(after) = self.rest.strip_prefix(quote) {
                let Some((inside, rest)) = after.split_once(quote) else {
                    self.rest = "";
                    return Err(self.expected(&format!("a closing {quote}")));
                };
                self.rest = rest;
                return Ok((inside.to_owned(), true));
            }
        }
        let belongs = |c: char| c.is_alphanumeric() || "._/-+@:[]%".contains(c);
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.expected(what));
        }
        self.rest = rest;
        Ok((word.to_owned(), false))
    }

    fn and(&mut self) -> Result<(), Error> {
        for sign in ["&&", ","] {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(());
            }
        }
        let (word, rest) = self
            .rest
            .split_at(self.rest.find(char::is_whitespace).unwrap_or(self.rest.len()));
        if !word.eq_ignore_ascii_case("and") {
            return Err(self.expected("\"and\""));
        }
        self.rest = rest;
        Ok(())
    }
}
