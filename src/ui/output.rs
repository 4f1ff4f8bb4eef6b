//! Standard output: one line at a time for people, one document for scripts.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;

/// The sign at a line's start, shown on terminals that can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    Done,
    Item,
    Added,
    Removed,
    Modified,
    Renamed,
    Summary,
    Changes,
    Package,
    Numbers,
    Compare,
    Warning,
    Network,
    Peer,
    Ticket,
    Inbox,
    Outbox,
    Saved,
    Search,
}

impl Symbol {
    fn sign(self) -> &'static str {
        match self {
            Symbol::Done => "✅",
            Symbol::Item => "→",
            Symbol::Added => "➕",
            Symbol::Removed => "➖",
            Symbol::Modified => "✏️ ",
            Symbol::Renamed => "🔀",
            Symbol::Summary => "📈",
            Symbol::Changes => "🔄",
            Symbol::Package => "📦",
            Symbol::Numbers => "🔢",
            Symbol::Compare => "📊",
            Symbol::Warning => "⚠️ ",
            Symbol::Network => "🌐",
            Symbol::Peer => "📡",
            Symbol::Ticket => "🎫",
            Symbol::Inbox => "📥",
            Symbol::Outbox => "📤",
            Symbol::Saved => "💾",
            Symbol::Search => "🔍",
        }
    }
}

/// How this run talks.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// One JSON document instead of text.
    pub json: bool,
    /// Nothing but errors.
    pub quiet: bool,
    symbols: bool,
    utf8: bool,
    color: bool,
}

/// How wide lines are where no terminal says it.
const WIDTH: usize = 120;

impl Output {
    /// Looks at the terminal and the environment.
    pub fn new(json: bool, quiet: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        let utf8 = locale.is_some_and(|locale| locale.to_ascii_uppercase().replace('-', "").contains("UTF8"));
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json,
            quiet,
            symbols: terminal && utf8 && !dumb,
            utf8,
            color: terminal && !dumb && !plain,
        }
    }

    /// A line that begins with a symbol where symbols are shown.
    pub fn say(&self, symbol: Symbol, text: impl AsRef<str>) -> Result<()> {
        if self.symbols {
            self.line(format!("{} {}", symbol.sign(), text.as_ref()))
        } else {
            self.line(text)
        }
    }

    /// A plain line.
    pub fn line(&self, text: impl AsRef<str>) -> Result<()> {
        if self.json || self.quiet {
            return Ok(());
        }
        Ok(writeln!(io::stdout().lock(), "{}", text.as_ref())?)
    }

    /// The document that a script asked for; nothing otherwise.
    pub fn document(&self, value: &Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        // As an I/O error, so that a closed pipe is known as one.
        serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
        Ok(writeln!(out)?)
    }

    /// One of many documents, in a line of its own, for scripts that listen.
    pub fn event(&self, value: &Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{value}")?;
        Ok(out.flush()?)
    }

    /// `text` as a QR code, or a warning that says why not.
    pub fn qr(&self, text: &str) -> Result<()> {
        let picture = super::qr::picture(text);
        let refused = match &picture {
            _ if self.json || self.quiet || !io::stdout().is_terminal() => Some("the output is no terminal".to_owned()),
            _ if !self.symbols => Some("this terminal does not say that it shows UTF-8".to_owned()),
            None => Some("there is too much to say for one".to_owned()),
            Some(picture) => columns()
                .filter(|columns| *columns < picture.width)
                .map(|columns| format!("it needs {} columns, and this terminal has {columns}", picture.width)),
        };
        if let Some(reason) = refused {
            self.warn(format!("no QR code: {reason}"));
            return Ok(());
        }
        let Some(picture) = picture else { return Ok(()) };
        if !self.color {
            return picture.light_on_dark().iter().try_for_each(|row| self.line(row));
        }
        // Colours of the fixed palette: the first sixteen are whatever a theme makes of them.
        let paint = |row: &String| self.line(self.paint("38;5;16;48;5;231", row));
        picture.dark_on_light().iter().try_for_each(paint)
    }

    /// What happens besides, on stderr: standard output may be a file's bytes.
    pub fn aside(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// A warning, on stderr, for people and scripts alike.
    pub fn warn(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "warning: {}", text.as_ref());
        }
    }

    /// What to do about the warnings before, on stderr.
    pub fn hint(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "hint: {}", text.as_ref());
        }
    }

    /// `text` in a colour (an ANSI code), where colours are shown.
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// True where signs beyond ASCII are shown: on terminals only, as what is piped is read by programs, too.
    pub fn shows_signs(&self) -> bool {
        self.symbols
    }

    /// How wide lines should be: [`Output::columns`], or a usual width.
    pub fn width(&self) -> usize {
        self.columns().unwrap_or(WIDTH)
    }

    /// `text` in at most `width` characters, with its middle left out.
    pub fn shorten(&self, text: &str, width: usize) -> String {
        let count = text.chars().count();
        if count <= width {
            return text.to_owned();
        }
        let gap = if self.symbols { "…" } else { "..." };
        let kept = width.saturating_sub(gap.chars().count());
        let head: String = text.chars().take(kept / 2).collect();
        let tail: String = text.chars().skip(count - (kept - kept / 2)).collect();
        format!("{head}{gap}{tail}")
    }

    /// How many characters fit into a line: what `COLUMNS` says, else the terminal; `None` when there is no limit.
    pub fn columns(&self) -> Option<usize> {
        let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        told.filter(|columns| *columns > 0).or_else(columns)
    }

    /// True when drawings, which no program reads, may use more than ASCII.
    pub fn shows_utf8(&self) -> bool {
        self.utf8
    }

    /// True when colours are shown.
    pub fn shows_color(&self) -> bool {
        self.color
    }

    /// True when people watch: progress makes sense on stderr.
    pub fn shows_progress(&self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }
}

/// How wide the terminal is, if it says so.
fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
