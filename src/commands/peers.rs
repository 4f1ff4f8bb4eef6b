//! `fai peers`

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use fai_core::object::Time;
use fai_core::repo::Error;
use fai_network::fetch::Remote;
use fai_network::{Multiaddr, Neighbour, PeerId, Protocol};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::context::Context;
use crate::known::{self, Met, Served};
use crate::peers::Peers;
use crate::ui::Symbol;
use crate::ui::format::{time, time_rfc3339};

/// How long the network is listened to.
const LISTEN: Duration = Duration::from_secs(3);

/// How long a peer may take to say what it serves, and then to answer a ping.
const ANSWER: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_millis(500);

/// Peers that are asked at the same time.
const AT_ONCE: usize = 32;

/// How often all are asked again by `--watch`.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Round trips that differ by less, in milliseconds and as a part of the longer one, are the same to people.
const SAME: (u64, u64) = (5, 4);

/// List the peers on the local network and what they serve, and those that were met before
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  fai peers\n  fai peers --watch\n  fai peers forget 12D3KooWM9ek9..."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Go on until stopped, and tell of every change
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Forget a peer that was met before
    Forget {
        /// Its id
        peer: PeerId,
    },
}

/// A peer on the network, and what it serves if it says so.
#[derive(Clone, PartialEq, Eq)]
struct Found {
    peer: PeerId,
    neighbour: Neighbour,
    /// None when it did not answer.
    repositories: Option<Vec<(String, String)>>,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        if let Some(Action::Forget { peer }) = self.action {
            return forget(context, peer);
        }
        let peers = Peers::asking(context)?;
        let mut shown: Option<Vec<Found>> = None;
        let mut asked = Instant::now();
        loop {
            peers.runtime.block_on(async { tokio::time::sleep(LISTEN).await });
            let now = peers.node.neighbours().borrow().clone();
            let same = shown.as_ref().filter(|shown| {
                shown.iter().map(|found| found.peer).eq(now.keys().copied()) && asked.elapsed() < ASK_AGAIN
            });
            let found = match same {
                Some(shown) => shown.iter().map(|found| found.again(&now)).collect(),
                None => {
                    asked = Instant::now();
                    ask_all(context, &peers, now)?
                }
            };
            shown = Some(self.tell(context, shown, found)?);
            if !self.watch {
                return Ok(());
            }
        }
    }

    /// Prints what changed, and returns what people have been told by then.
    fn tell(&self, context: &Context, shown: Option<Vec<Found>>, found: Vec<Found>) -> Result<Vec<Found>> {
        let who = |all: &[Found]| -> Vec<_> { all.iter().map(|one| (one.peer, one.repositories.clone())).collect() };
        let shown = match shown {
            Some(shown) if who(&shown) == who(&found) => shown,
            _ => {
                print(context, &found, self.watch)?;
                return Ok(found);
            }
        };
        let mut told = Vec::new();
        for (before, now) in shown.into_iter().zip(found) {
            let (old, new) = (before.neighbour.round_trip, now.neighbour.round_trip);
            if !differ(old, new) {
                told.push(before);
                continue;
            }
            let text = |round_trip: Option<u64>| round_trip.map_or_else(|| "?".to_owned(), |ms| format!("{ms} ms"));
            let line = format!("{}: {}, was {}", now.peer, text(new), text(old));
            context.out.say(Symbol::Item, line)?;
            let peer = now.peer.to_string();
            context
                .out
                .event(&json!({ "event": "round_trip", "peer_id": peer, "round_trip_ms": new, "was_ms": old }))?;
            told.push(now);
        }
        Ok(told)
    }
}

fn differ(old: Option<u64>, new: Option<u64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.abs_diff(new) > SAME.0.max(old.max(new) / SAME.1),
        (old, new) => old.is_some() != new.is_some(),
    }
}

fn forget(context: &Context, peer: PeerId) -> Result<()> {
    if !known::forget(&context.home()?, &peer)? {
        return Err(Error::Usage(format!("{peer} is not remembered")).into());
    }
    context.out.say(Symbol::Done, format!("Forgot {peer}"))?;
    context.out.document(&json!({ "forgotten": peer.to_string() }))
}

/// Asks all of them what they serve, and remembers those that answer.
fn ask_all(context: &Context, peers: &Peers, now: BTreeMap<PeerId, Neighbour>) -> Result<Vec<Found>> {
    let asking = futures::stream::iter(now).map(|(peer, neighbour)| ask(peers, peer, neighbour));
    let mut found: Vec<Found> = peers.runtime.block_on(asking.buffer_unordered(AT_ONCE).collect());
    found.sort_by_key(|found| found.peer);
    let seen = context.now()?.seconds;
    let met = found.iter().filter_map(|found| found.met(seen)).collect();
    known::remember(&context.home()?, met);
    Ok(found)
}

/// What a peer serves. One that does not answer is listed all the same.
async fn ask(peers: &Peers, peer: PeerId, neighbour: Neighbour) -> Found {
    let addresses = neighbour.addresses.iter().cloned().collect();
    let asking = async {
        let connection = peers.node.dial(Some(peer), addresses).await?;
        Remote::list(&peers.node, &connection).await
    };
    let answer = tokio::time::timeout(ANSWER, asking).await;
    let repositories = match answer {
        Ok(Ok(all)) => Some(all.into_iter().map(|(name, id)| (name, id.to_string())).collect()),
        _ => None,
    };
    let mut neighbours = peers.node.neighbours();
    if repositories.is_some() {
        let measured = neighbours.wait_for(|all| all.get(&peer).is_none_or(|known| known.round_trip.is_some()));
        let _ = tokio::time::timeout(PING, measured).await;
    }
    let neighbour = neighbours.borrow().get(&peer).cloned().unwrap_or(neighbour);
    Found {
        peer,
        neighbour,
        repositories,
    }
}

impl Found {
    /// The same peer, as it is on the network now.
    fn again(&self, now: &BTreeMap<PeerId, Neighbour>) -> Self {
        Self {
            neighbour: now.get(&self.peer).unwrap_or(&self.neighbour).clone(),
            ..self.clone()
        }
    }

    fn met(&self, seen: i64) -> Option<Met> {
        let served = self.repositories.as_ref()?.iter();
        Some(Met {
            peer_id: self.peer.to_string(),
            addresses: self.neighbour.addresses.iter().map(ToString::to_string).collect(),
            repositories: served
                .map(|(name, id)| Served {
                    name: name.clone(),
                    id: id.clone(),
                })
                .collect(),
            round_trip_ms: self.neighbour.round_trip,
            last_seen: seen,
        })
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
        let place = neighbour.addresses.iter().find_map(socket);
        let silent = if repositories.is_some() {
            ""
        } else {
            ", does not answer"
        };
        let details = details(place, neighbour.round_trip);
        out.say(Symbol::Item, format!("{peer}{details}{silent}"))?;
        for (name, id) in repositories.iter().flatten() {
            out.line(format!("    {name} ({})", id.get(..8).unwrap_or_default()))?;
        }
    }
    let here = |met: &Met| found.iter().any(|found| found.peer.to_string() == met.peer_id);
    let before: Vec<Met> = known::read(&context.home()?)
        .into_iter()
        .filter(|met| !here(met))
        .collect();
    if !before.is_empty() {
        out.say(Symbol::Search, format!("Met {} others before:", before.len()))?;
    }
    let offset_minutes = context.now()?.offset_minutes;
    let at = |seconds| Time {
        seconds,
        offset_minutes,
    };
    for met in &before {
        let place = met.addresses.iter().find_map(|address| socket(&address.parse().ok()?));
        let (details, seen) = (details(place, met.round_trip_ms), time(at(met.last_seen)));
        out.say(Symbol::Item, format!("{}{details}, last seen {seen}", met.peer_id))?;
        for Served { name, id } in &met.repositories {
            out.line(format!("    {name} ({})", id.get(..8).unwrap_or_default()))?;
        }
    }
    let now = time_rfc3339(context.now()?);
    let present = found.iter().map(|found| document(found, &now));
    let past = before
        .iter()
        .map(|met| remembered(met, &time_rfc3339(at(met.last_seen))));
    let document = json!({ "peers": present.chain(past).collect::<Vec<Value>>() });
    if watch {
        out.event(&document)
    } else {
        out.document(&document)
    }
}

/// ` (192.168.1.101:4001, 3 ms)`, as far as it is known.
fn details(place: Option<String>, round_trip: Option<u64>) -> String {
    let known: Vec<String> = place
        .into_iter()
        .chain(round_trip.map(|ms| format!("{ms} ms")))
        .collect();
    match known.is_empty() {
        true => String::new(),
        false => format!(" ({})", known.join(", ")),
    }
}

fn document(found: &Found, now: &str) -> Value {
    let repositories = found.repositories.iter().flatten();
    json!({
        "peer_id": found.peer.to_string(),
        "addresses": found.neighbour.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "round_trip_ms": found.neighbour.round_trip,
        "repositories": repositories.map(|(name, id)| json!({ "name": name, "id": id })).collect::<Vec<_>>(),
        "answers": found.repositories.is_some(),
        "remembered": false,
        "last_seen": now,
    })
}

fn remembered(met: &Met, seen: &str) -> Value {
    json!({
        "peer_id": met.peer_id,
        "addresses": met.addresses,
        "round_trip_ms": met.round_trip_ms,
        "repositories": met.repositories,
        "remembered": true,
        "last_seen": seen,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_changes_of_a_round_trip_are_none() {
        for (old, new) in [(0, 5), (20, 22), (200, 240)] {
            assert!(!differ(Some(old), Some(new)), "{old} {new}");
        }
        for (old, new) in [(0, 6), (20, 40), (200, 300)] {
            assert!(differ(Some(old), Some(new)), "{old} {new}");
        }
        assert!(differ(None, Some(1)) && !differ(None, None));
    }
}
