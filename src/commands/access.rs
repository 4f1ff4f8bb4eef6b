//! `fai access`

use anyhow::Result;
use fai_core::repo::Config;
use fai_network::source::parse_peer;
use serde_json::json;

use crate::context::Context;
use crate::ui::Symbol;

/// Say which peers may clone, pull and push
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai access allow 12D3KooWM9ek9... --write\n  fai access list\n\nHolds at once, also while `fai serve` runs."
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Let a peer clone and pull
    Allow {
        /// Its id, which `fai id` prints there
        peer: String,
        /// Let it push, too
        #[arg(long)]
        write: bool,
    },
    /// Show who may do what
    List,
    /// Take a peer off the list
    Remove {
        /// Its id
        peer: String,
    },
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let path = repository.config_path();
        let check = |peer: &str| {
            parse_peer(peer)
                .map(|peer| peer.to_string())
                .ok_or_else(|| fai_network::Error::BadSource {
                    text: peer.to_owned(),
                    reason: "it is no whole peer id, which looks like 12D3KooW... and has 52 characters".into(),
                })
        };
        match &self.action {
            Action::Allow { peer, write } => {
                let (peer, right) = (check(peer)?, if *write { "write" } else { "read" });
                Config::change(&path, &format!("access.peers.{peer}"), Some(right))?;
                let may = if *write {
                    "clone, pull and push"
                } else {
                    "clone and pull"
                };
                context.out.say(Symbol::Done, format!("{peer} may {may}"))?;
            }
            Action::Remove { peer } => {
                let peer = check(peer)?;
                Config::change(&path, &format!("access.peers.{peer}"), None)?;
                context
                    .out
                    .say(Symbol::Done, format!("{peer} is not on the list any more"))?;
            }
            Action::List => {}
        }
        let config = Config::read(&path)?;
        let everybody = |key: &str, default: &str| config.get(key).unwrap_or_else(|| default.to_owned());
        let (read, write) = (everybody("access.read", "all"), everybody("access.write", "listed"));
        let peers: Vec<(String, String)> = config
            .entries()
            .into_iter()
            .filter_map(|(key, right)| Some((key.strip_prefix("access.peers.")?.to_owned(), right)))
            .collect();
        if matches!(self.action, Action::List) {
            context.out.line(format!("May read: {read}. May push: {write}."))?;
            for (peer, right) in &peers {
                context.out.say(Symbol::Item, format!("{peer}  {right}"))?;
            }
        }
        let peers: Vec<_> = peers
            .iter()
            .map(|(peer, right)| json!({ "peer_id": peer, "right": right }))
            .collect();
        context
            .out
            .document(&json!({ "read": read, "write": write, "peers": peers }))
    }
}
