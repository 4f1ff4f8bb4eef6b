//! `fai peers`

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use fai_network::fetch::Remote;
use fai_network::{Multiaddr, Neighbour, PeerId, Protocol};
use serde_json::{Value, json};

use crate::context::Context;
use crate::peers::Peers;
use crate::ui::Symbol;

/// How long the network is listened to.
const LISTEN: Duration = Duration::from_secs(3);

/// How long a peer may take to say what it serves.
const ANSWER: Duration = Duration::from_secs(5);

/// List the peers on the local network and what they serve
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  fai peers\n  fai peers --watch")]
pub struct Args {
    /// Go on until stopped, and tell of every change
    #[arg(short, long)]
    watch: bool,
}

/// A peer, and what it serves if it says so.
struct Found {
    peer: PeerId,
    neighbour: Neighbour,
    repositories: Vec<(String, String)>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let peers = Peers::asking(context)?;
        let mut shown: Option<BTreeMap<PeerId, Neighbour>> = None;
        loop {
            peers.runtime.block_on(async { tokio::time::sleep(LISTEN).await });
            let now = peers.node.neighbours().borrow().clone();
            let known = |all: &BTreeMap<PeerId, Neighbour>| all.keys().copied().collect::<Vec<_>>();
            if shown.as_ref().map(known) != Some(known(&now)) {
                let found: Vec<Found> = now
                    .iter()
                    .map(|(peer, neighbour)| ask(&peers, *peer, neighbour))
                    .collect();
                print(context, &found, self.watch)?;
            }
            if !self.watch {
                return Ok(());
            }
            shown = Some(now);
        }
    }
}

/// What a peer serves. One that does not answer is listed all the same.
fn ask(peers: &Peers, peer: PeerId, neighbour: &Neighbour) -> Found {
    let asking = async {
        let addresses = neighbour.addresses.iter().cloned().collect();
        let connection = peers.node.dial(Some(peer), addresses).await?;
        Remote::list(&peers.node, &connection).await
    };
    let answer = peers
        .runtime
        .block_on(async { tokio::time::timeout(ANSWER, asking).await });
    let repositories = match answer {
        Ok(Ok(all)) => all.into_iter().map(|(name, id)| (name, id.to_string())).collect(),
        _ => Vec::new(),
    };
    let neighbour = peers
        .node
        .neighbours()
        .borrow()
        .get(&peer)
        .cloned()
        .unwrap_or_else(|| neighbour.clone());
    Found {
        peer,
        neighbour,
        repositories,
    }
}

fn print(context: &Context, found: &[Found], watch: bool) -> Result<()> {
    let out = &context.out;
    out.say(Symbol::Search, format!("Found {} peers on network:", found.len()))?;
    for Found {
        peer,
        neighbour,
        repositories,
    } in found
    {
        let place = neighbour.addresses.iter().find_map(socket).unwrap_or_default();
        let round_trip = neighbour.round_trip.map(|ms| format!(", {ms} ms")).unwrap_or_default();
        out.say(Symbol::Item, format!("{peer} ({place}{round_trip})"))?;
        for (name, id) in repositories {
            out.line(format!("    {name} ({})", id.get(..8).unwrap_or_default()))?;
        }
    }
    let peers: Vec<Value> = found.iter().map(document).collect();
    let document = json!({ "peers": peers });
    if watch {
        out.event(&document)
    } else {
        out.document(&document)
    }
}

fn document(found: &Found) -> Value {
    json!({
        "peer_id": found.peer.to_string(),
        "addresses": found.neighbour.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "round_trip_ms": found.neighbour.round_trip,
        "repositories": found.repositories.iter().map(|(name, id)| json!({ "name": name, "id": id })).collect::<Vec<_>>(),
    })
}

/// `192.168.1.101:4001`, for addresses over TCP.
fn socket(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(format!("{host}:{port}")),
        _ => None,
    }
}
