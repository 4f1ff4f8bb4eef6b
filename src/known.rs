//! Peers that were met before: where they were, when, and what they served. One small file in the user's own folder, which
//! may be lost without harm. How peers are reached is in `peers`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use fai_network::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

/// The file in the user's folder.
const FILE: &str = "peers.json";

/// Of the file; another one is written anew.
const VERSION: u32 = 1;

/// The longest file that is read.
const MAX_LEN: u64 = 16 << 20;

/// Peers that are remembered, and addresses and repositories of each.
const MAX_PEERS: usize = 1000;
const MAX_ADDRESSES: usize = 16;
const MAX_REPOSITORIES: usize = 64;

/// A peer that was met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// Its id.
    pub peer_id: String,
    /// Where it answered, the last one first.
    pub addresses: Vec<String>,
    /// What it served, as far as it was seen.
    pub repositories: Vec<Served>,
    /// How long an answer took, in milliseconds, when it was measured last.
    pub round_trip_ms: Option<u64>,
    /// When it was met last, in seconds since 1970.
    pub last_seen: i64,
}

/// A repository as a peer serves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The name there.
    pub name: String,
    /// Its id.
    pub id: String,
}

#[derive(Default, Serialize, Deserialize)]
struct Known {
    version: u32,
    peers: Vec<Met>,
}

/// All that are remembered, the last one met first. A file that cannot be read holds none.
pub fn read(home: &Path) -> Vec<Met> {
    let read = || -> Result<Known> {
        let mut text = String::new();
        File::open(home.join(FILE))?.take(MAX_LEN).read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    };
    match read() {
        Ok(known) if known.version == VERSION => known.peers,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(%error, "no peers are remembered");
            Vec::new()
        }
    }
}

/// Where a peer answered before, the last place first.
pub fn addresses(home: &Path, peer: &PeerId) -> Vec<Multiaddr> {
    let peer = peer.to_string();
    let met = read(home).into_iter().find(|met| met.peer_id == peer);
    let addresses = met.map(|met| met.addresses).unwrap_or_default();
    addresses.iter().filter_map(|address| address.parse().ok()).collect()
}

/// Remembers peers that were just met. Work never fails because of it: what cannot be written is not remembered.
pub fn remember(home: &Path, met: Vec<Met>) {
    if met.is_empty() {
        return;
    }
    if let Err(error) = change(home, |peers| met.into_iter().for_each(|met| merge(peers, met))) {
        tracing::debug!(%error, "peers are not remembered");
    }
}

/// Forgets a peer; false when it was not remembered.
pub fn forget(home: &Path, peer: &PeerId) -> Result<bool> {
    let peer = peer.to_string();
    let mut found = false;
    change(home, |peers| {
        let before = peers.len();
        peers.retain(|met| met.peer_id != peer);
        found = peers.len() < before;
    })?;
    Ok(found)
}

/// Takes in what is new of a peer; what else was known of it stays.
fn merge(peers: &mut Vec<Met>, met: Met) {
    let position = peers.iter().position(|known| known.peer_id == met.peer_id);
    let mut all = position.map(|position| peers.remove(position)).unwrap_or_default();
    let mut addresses = met.addresses;
    addresses.extend(all.addresses);
    let mut repositories = met.repositories;
    repositories.extend(all.repositories);
    all = Met {
        addresses: first_of(addresses, MAX_ADDRESSES, |one, other| one == other),
        repositories: first_of(repositories, MAX_REPOSITORIES, |one, other| one.id == other.id),
        round_trip_ms: met.round_trip_ms.or(all.round_trip_ms),
        peer_id: met.peer_id,
        last_seen: met.last_seen,
    };
    peers.insert(0, all);
    peers.truncate(MAX_PEERS);
}

/// The first `most` of `all`, each once.
fn first_of<T>(all: Vec<T>, most: usize, same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in all {
        if kept.len() < most && !kept.iter().any(|other| same(&one, other)) {
            kept.push(one);
        }
    }
    kept
}

/// Changes the file, one process after another; readers see the old one or the new one.
fn change(home: &Path, edit: impl FnOnce(&mut Vec<Met>)) -> Result<()> {
    // The folder itself is the lock, so that nothing is left lying about.
    let folder = File::open(home).with_context(|| format!("cannot open {}", home.display()))?;
    folder.lock()?;
    let before = read(home);
    let mut peers = before.clone();
    edit(&mut peers);
    if peers == before {
        return Ok(());
    }
    let known = Known {
        version: VERSION,
        peers,
    };
    // Temporary files are their owner's alone, and so is what this one becomes.
    let mut aside = tempfile::NamedTempFile::new_in(home)?;
    aside.write_all(&serde_json::to_vec_pretty(&known)?)?;
    aside.as_file().sync_data()?;
    let path = home.join(FILE);
    aside
        .persist(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    fs::File::open(home)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn met(peer: &str, address: &str, seen: i64) -> Met {
        Met {
            peer_id: peer.into(),
            addresses: vec![address.into()],
            last_seen: seen,
            ..Met::default()
        }
    }

    #[test]
    fn the_last_ones_met_are_kept_with_what_was_known_of_them() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()), []);
        let served = |name: &str| Served {
            name: name.into(),
            id: "00".into(),
        };
        let first = Met {
            repositories: vec![served("old")],
            round_trip_ms: Some(3),
            ..met("one", "/ip4/10.0.0.1/tcp/1", 1)
        };
        remember(home.path(), vec![first]);
        for index in 0..40 {
            remember(
                home.path(),
                vec![met("one", &format!("/ip4/10.0.0.1/tcp/{}", index % 20), 2 + index)],
            );
        }
        let renamed = Met {
            repositories: vec![served("new")],
            ..met("one", "/ip4/10.0.0.1/tcp/7", 100)
        };
        remember(home.path(), vec![renamed]);
        let known = read(home.path());
        assert_eq!((known.len(), known[0].last_seen), (1, 100));
        assert_eq!(known[0].round_trip_ms, Some(3));
        assert_eq!(known[0].addresses.len(), MAX_ADDRESSES);
        assert_eq!(known[0].addresses[..2], ["/ip4/10.0.0.1/tcp/7", "/ip4/10.0.0.1/tcp/19"]);
        assert_eq!(known[0].repositories, [served("new")]);

        let many = (0..2 * MAX_PEERS).map(|index| met(&index.to_string(), "/ip4/10.0.0.1/tcp/1", 200));
        remember(home.path(), many.collect());
        let known = read(home.path());
        assert_eq!((known.len(), known[0].peer_id.as_str()), (MAX_PEERS, "1999"));
        let mode = home.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_cannot_be_read_is_no_reason_to_fail() {
        let home = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "{\"version\": 7, \"peers\": []}"] {
            fs::write(home.path().join(FILE), text).unwrap();
            assert_eq!(read(home.path()), [], "{text}");
        }
        remember(home.path(), vec![met("one", "/ip4/10.0.0.1/tcp/1", 1)]);
        assert_eq!(read(home.path()).len(), 1);
        remember(Path::new("/proc/nowhere"), vec![met("one", "/ip4/10.0.0.1/tcp/1", 1)]);
    }
}
