//! The side that is to survive: a real repository that takes from peers through the real asking side.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fai_core::Repository;
use fai_core::object::{CommitId, Time};
use fai_core::repo::{Event, FsckOptions, InitOptions, Progress, RefMove, RepositoryId, Silent};
use fai_network::fetch::{FetchReport, Remote, Transfer};
use fai_network::wire::message::Selector;
use fai_network::{Error, Identity, Multiaddr, Node, NodeOptions};

use crate::peer::{Peer, Script};
use crate::world::{ID, World};

pub struct Asker {
    folder: tempfile::TempDir,
    pub repository: Arc<Repository>,
    pub node: Node,
    told: Arc<Told>,
}

/// Warnings that a user would have seen.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn on(&self, event: Event<'_>) {
        if let Event::Warning(warning) = event {
            self.0.lock().unwrap().push(warning.to_owned());
        }
    }
}

/// What a repository holds, apart from what waits in quarantine.
#[derive(PartialEq, Eq)]
pub struct State {
    files: BTreeMap<String, Vec<u8>>,
    refs: Vec<(String, CommitId)>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths: Vec<_> = self.files.iter().map(|(name, bytes)| (name, bytes.len())).collect();
        write!(f, "{lengths:?} {:?}", self.refs)
    }
}

impl Asker {
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id = Some(RepositoryId::from_bytes(ID));
        let (repository, _) = Repository::init(folder.path(), InitOptions { bare: false, id }).unwrap();
        let (node, _) = Node::start(&Identity::passing(), NodeOptions::default()).unwrap();
        Self {
            folder,
            repository: Arc::new(repository),
            node,
            told: Arc::default(),
        }
    }

    /// One that has the first commit.
    pub async fn with_first() -> Self {
        let asker = Self::empty();
        asker.take(&Peer::honest(World::first()).await).await.unwrap();
        asker
    }

    /// Takes all refs of a peer. When the peer is lost it is not tried again: nobody is there any more.
    pub async fn take(&self, peer: &Peer) -> Result<FetchReport, Error> {
        let mut remote = self.meet(peer).await?;
        let refs = remote.refs().await?;
        self.fetch(vec![remote], refs).await
    }

    pub async fn meet(&self, peer: &Peer) -> Result<Remote, Error> {
        let mut connection = self.node.dial(Some(peer.id), vec![peer.address.clone()]).await?;
        connection.address = Multiaddr::empty();
        Remote::open(&self.node, connection, Selector::Only).await
    }

    pub async fn fetch(&self, remotes: Vec<Remote>, refs: Vec<(String, CommitId)>) -> Result<FetchReport, Error> {
        let (node, repository, told) = (self.node.clone(), Arc::clone(&self.repository), Arc::clone(&self.told));
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let wants: Vec<CommitId> = refs.iter().map(|(_, commit)| *commit).collect();
            let transfer = Transfer {
                runtime: &runtime,
                node: &node,
                repository: &repository,
                remotes,
                worktree: None,
                progress: &*told,
            };
            let (quarantine, report) = transfer.commits(&wants)?;
            let known: BTreeMap<String, CommitId> = repository.refs()?.into_iter().collect();
            let moves = refs.into_iter().map(|(name, commit)| RefMove {
                before: known.get(&name).copied(),
                name,
                after: Some(commit),
            });
            let moves: Vec<RefMove> = moves.collect();
            repository.accept(quarantine, &moves, Time::default(), "pull", &Silent)?;
            Ok(report)
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    /// What the user was warned of.
    pub fn warnings(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }

    pub fn state(&self) -> State {
        let mut files = BTreeMap::new();
        read_below(self.folder.path(), self.folder.path(), &mut files);
        State {
            files,
            refs: self.repository.refs().unwrap(),
        }
    }

    /// A file of the worktree.
    pub fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(path)).unwrap()
    }

    /// True when no record waits in quarantine.
    pub fn quarantine_is_empty(&self) -> bool {
        let mut files = BTreeMap::new();
        let quarantine = self.repository.directory().join("quarantine");
        read_below(&quarantine, &quarantine, &mut files);
        !files.keys().any(|name| name.contains(".pack"))
    }

    pub fn assert_sound(&self) {
        let options = FsckOptions {
            full: true,
            ..FsckOptions::default()
        };
        let report = self.repository.fsck(&options, &Silent).unwrap();
        assert!(report.ok(), "{:?}", report.problems);
    }

    /// After whatever went wrong: an honest peer gives the second commit.
    pub async fn assert_goes_on(&self) {
        let report = self.take(&Peer::honest(World::second()).await).await.unwrap();
        assert_eq!((report.commits, report.files), (1, 2));
        assert_eq!(self.repository.refs().unwrap()[0].1, World::second().main());
        assert_eq!(self.read("weights/model.bin").len(), 60_000);
        self.assert_sound();
    }
}

/// All files except the database, which has its own ways to say the same, locks, and the quarantine.
fn read_below(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(listing) = fs::read_dir(folder) else { return };
    for path in listing.map(|entry| entry.unwrap().path()) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if name == ".fai/quarantine" || name.contains("db.sqlite") || name.ends_with("lock") {
            continue;
        }
        if path.is_dir() {
            read_below(root, &path, files);
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// Takes from a peer that has `world` and follows `script`. It must fail and leave everything as it was, and an honest
/// peer must be able to go on. Gives the error, and whether something waits in quarantine.
pub async fn refused(world: World, script: Script) -> (Error, String, bool) {
    let asker = Asker::with_first().await;
    let before = asker.state();
    let liar = Peer::start(world, script).await;
    let error = asker.take(&liar).await.expect_err("it passed");
    assert_eq!(asker.state(), before, "{error}");
    let empty = asker.quarantine_is_empty();
    let liar = liar.id.to_string();
    asker.assert_goes_on().await;
    (error, liar, empty)
}
