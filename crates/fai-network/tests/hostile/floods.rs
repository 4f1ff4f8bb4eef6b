//! Peers that say too much, and replies that do not belong to what was asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use fai_core::object::{Commit, CommitId, Id, Kind, Object};
use fai_network::Error;
use fai_network::fetch::Remote;
use fai_network::wire::message::{Reason, Reply, Request, commit_of, wire_commit};
use minicbor::bytes::ByteVec;

use crate::asker::{Asker, refused};
use crate::bounded;
use crate::peer::{Deed, Peer, Script, Then, framed, said};
use crate::world::{ID, MAIN, World, selected, welcome};

fn to_refs(make: impl Fn(&World, &str) -> Deed + Send + Sync + 'static) -> Script {
    Script::replies(move |world, request| match request {
        Request::Refs { after } => Some(make(world, after)),
        _ => None,
    })
}

fn to_commits(make: impl Fn(&World, Vec<CommitId>) -> Deed + Send + Sync + 'static) -> Script {
    Script::replies(move |world, request| match request {
        Request::Commits { want, .. } => Some(make(world, want.iter().map(commit_of).collect())),
        _ => None,
    })
}

fn to_hello(make: impl Fn() -> Deed + Send + Sync + 'static) -> Script {
    Script::replies(move |_, request| matches!(request, Request::Hello { .. }).then(&make))
}

async fn violation(script: Script, because: &str) {
    let (error, liar, _) = refused(World::second(), script).await;
    assert_eq!(error.kind(), "protocol", "{error}");
    let text = error.to_string();
    assert!(text.contains(&liar) && text.contains(because), "{text}");
}

#[test]
fn frames_that_are_too_long_or_no_messages_are_refused() {
    bounded(async {
        let long = |len: u32| Deed(len.to_le_bytes().to_vec(), Then::Silence);
        violation(to_hello(move || long(u32::MAX)), "4294967295 bytes").await;
        violation(to_refs(move |_, _| long((1 << 20) + 1)), "1048577 bytes").await;
        violation(to_commits(move |_, _| long(1 << 31)), "2147483648 bytes").await;
        violation(
            to_refs(|_, _| Deed(framed(&fai_testkit::noise(1, 1 << 20)), Then::GoOn)),
            "",
        )
        .await;
        violation(to_hello(|| Deed(framed(b""), Then::GoOn)), "").await;
        // CBOR that claims 2^60 refs, commits, and bytes of one commit, in a few bytes.
        let huge = |head: &[u8]| framed(&[head, &(1u64 << 60).to_be_bytes()].concat());
        violation(to_refs(move |_, _| Deed(huge(&[0x82, 2, 0x81, 0x9b]), Then::GoOn)), "").await;
        violation(
            to_commits(move |_, _| Deed(huge(&[0x82, 3, 0x81, 0x9b]), Then::GoOn)),
            "",
        )
        .await;
        violation(
            to_commits(move |_, _| Deed(huge(&[0x82, 3, 0x81, 0x81, 0x5b]), Then::GoOn)),
            "",
        )
        .await;
        // A million commits of no bytes.
        let nothing = vec![ByteVec::from(Vec::new()); 1_000_000];
        violation(
            to_commits(move |_, _| said(&Reply::Commits(nothing.clone()))),
            "not asked for",
        )
        .await;
        // Arrays in arrays, as deep as a frame allows.
        violation(to_refs(|_, _| Deed(framed(&vec![0x81; 1 << 20]), Then::GoOn)), "").await;
    });
}

#[test]
fn replies_to_something_else_are_refused() {
    bounded(async {
        violation(to_hello(|| said(&Reply::Moved)), "something else").await;
        violation(to_refs(|_, _| said(&Reply::Commits(Vec::new()))), "something else").await;
        violation(
            to_commits(|_, _| said(&Reply::Progress { records: 1, bytes: 1 })),
            "something else",
        )
        .await;
        violation(
            to_hello(|| said(&welcome(ID, Some("refs/heads/../../etc")))),
            "no valid name",
        )
        .await;
        violation(to_hello(|| said(&welcome(ID, Some("refs/tags/v1")))), "no valid name").await;
        let refusal = || Reply::Refused {
            reason: Reason::Failed,
            message: format!("\u{1b}[2J{}", "x".repeat(100_000)),
        };
        let (error, ..) = refused(World::second(), to_refs(move |_, _| said(&refusal()))).await;
        assert_eq!(error.kind(), "peer_failed");
        let text = error.to_string();
        assert!(text.len() < 1000 && !text.contains('\u{1b}'), "{text}");
        // Asked for one repository, it talks about another.
        let asker = Asker::with_first().await;
        let peer = Peer::start(World::second(), to_hello(|| said(&welcome([8; 32], None)))).await;
        let connection = asker
            .node
            .dial(Some(peer.id), vec![peer.address.clone()])
            .await
            .unwrap();
        let opened = Remote::open(&asker.node, connection, selected(ID)).await;
        assert!(matches!(opened, Err(Error::Protocol { .. })));
    });
}

#[test]
fn refs_that_do_not_ascend_or_never_end_are_refused() {
    bounded(async {
        let refs = |names: &[&str]| {
            let commit = wire_commit(&World::second().main());
            said(&Reply::Refs(
                names.iter().map(|name| ((*name).to_owned(), commit)).collect(),
            ))
        };
        violation(to_refs(move |_, _| refs(&["refs/heads/b", "refs/heads/a"])), "order").await;
        violation(to_refs(move |_, _| refs(&["refs/heads/a", "refs/heads/a"])), "order").await;
        // The same page for ever.
        violation(to_refs(move |_, _| refs(&["refs/heads/a", "refs/heads/b"])), "order").await;
        for name in [
            "HEAD",
            "refs/heads/",
            "refs/heads/../x",
            "refs/heads/a\u{7}",
            "refs/remotes/x",
        ] {
            violation(to_refs(move |_, _| refs(&[name])), "a ref with the name").await;
        }
        // Always more of them: a million are the most.
        let count = AtomicU64::new(0);
        let endless = to_refs(move |_, _| {
            let commit = wire_commit(&World::second().main());
            let start = count.fetch_add(15_000, Ordering::SeqCst);
            let name = |number: u64| format!("refs/heads/{number:010}");
            let page = (start..start + 15_000).map(|number| (name(number), commit));
            said(&Reply::Refs(page.collect()))
        });
        violation(endless, "too many").await;
    });
}

#[test]
fn commits_that_were_not_asked_for_are_refused() {
    bounded(async {
        let encoded = |world: &World, id: CommitId| ByteVec::from(world.records[id.hash()].1.clone());
        // Before the one that leads to it.
        let backwards = to_commits(move |world, want| {
            let parent = Commit::decode(&world.records[want[0].hash()].1).unwrap().parents[0];
            said(&Reply::Commits(vec![encoded(world, parent), encoded(world, want[0])]))
        });
        violation(backwards, "not asked for").await;
        let twice = to_commits(move |world, want| {
            said(&Reply::Commits(vec![encoded(world, want[0]), encoded(world, want[0])]))
        });
        violation(twice, "not asked for").await;
        // One that came may not come again because a later one names it as its parent.
        let mut world = World::second();
        let (parent, tree) = (world.main(), world.tree(Vec::new()));
        world.refs.insert("refs/tags/v1".into(), parent);
        let child = world.commit_on_main(tree);
        let again = to_commits(move |world, _| {
            let all = [parent, child, parent].map(|id| encoded(world, id));
            said(&Reply::Commits(all.into()))
        });
        let (error, ..) = refused(world, again).await;
        assert_eq!(error.kind(), "protocol", "{error}");
        violation(
            to_commits(|_, _| said(&Reply::Commits(vec![vec![0x80].into()]))),
            "not asked for",
        )
        .await;
        // What is asked for, and is no commit.
        let mut world = World::first();
        let id = CommitId::from_hash(world.put(Kind::Commit, b"no commit".to_vec()));
        world.refs.insert(MAIN.into(), id);
        let script = to_commits(|_, _| said(&Reply::Commits(vec![b"no commit".to_vec().into()])));
        let (error, ..) = refused(world, script).await;
        assert_eq!(error.kind(), "false_data", "{error}");
        let (error, ..) = refused(World::second(), to_commits(|_, _| said(&Reply::Commits(Vec::new())))).await;
        assert!(matches!(error, Error::Nowhere { kind: "commit", .. }), "{error}");
    });
}

#[test]
fn commits_with_parents_that_nobody_has_end_soon() {
    bounded(async {
        // A chain, each link of which names 63 more that are nowhere: what is missing must not pile up.
        const LINKS: usize = 20_000;
        let mut world = World::first();
        let tree = Commit::decode(&world.records[world.main().hash()].1).unwrap().tree;
        let mut chain = vec![world.main()];
        for link in 0..LINKS as u64 {
            let nowhere =
                (0..63).map(|number: u64| Kind::Commit.hash(&[link.to_le_bytes(), number.to_le_bytes()].concat()));
            let last = *chain.last().unwrap();
            let parents = std::iter::once(last).chain(nowhere.map(CommitId::from_hash)).collect();
            chain.push(world.commit(tree, parents, ""));
        }
        world.refs.insert(MAIN.into(), *chain.last().unwrap());
        let replies = std::sync::Arc::new(AtomicU64::new(0));
        let counted = std::sync::Arc::clone(&replies);
        let script = to_commits(move |world, want| {
            counted.fetch_add(1, Ordering::SeqCst);
            // On from the oldest link that is asked for.
            let at = chain.iter().position(|id| want.contains(id)).unwrap_or_default();
            let links = chain[at.saturating_sub(400).max(1)..=at].iter().rev();
            said(&Reply::Commits(
                links.map(|id| world.records[id.hash()].1.clone().into()).collect(),
            ))
        });
        let (error, ..) = refused(world, script).await;
        assert!(matches!(error, Error::Nowhere { kind: "commit", .. }), "{error}");
        let replies = replies.load(Ordering::SeqCst);
        assert!(replies <= 3, "{replies} replies were taken");
    });
}

#[test]
fn a_hundred_thousand_commits_in_a_row_are_a_history() {
    bounded(async {
        const COMMITS: u64 = 100_000;
        let mut world = World::second();
        let tree = Commit::decode(&world.records[world.main().hash()].1).unwrap().tree;
        for _ in 0..COMMITS {
            world.commit_on_main(tree);
        }
        let asker = Asker::with_first().await;
        let peer = Peer::honest(world).await;
        let (started, before) = (Instant::now(), crate::peak_memory());
        let report = asker.take(&peer).await.unwrap();
        println!(
            "{COMMITS} commits in {:?}; {} MiB more at the peak",
            started.elapsed(),
            (crate::peak_memory() - before) >> 20
        );
        assert_eq!(report.commits, COMMITS + 1);
        assert_eq!(asker.repository.refs().unwrap()[0].1, peer_main(&peer, &asker).await);
    });
}

async fn peer_main(peer: &Peer, asker: &Asker) -> CommitId {
    asker.meet(peer).await.unwrap().refs().await.unwrap()[0].1
}

#[test]
fn as_many_refs_as_may_be_are_asked_for_in_time() {
    bounded(async {
        // Commits without parents, one a ref: all are missing from the start.
        const REFS: usize = 50_000;
        let mut world = World::first();
        let tree = Commit::decode(&world.records[world.main().hash()].1).unwrap().tree;
        for number in 0..REFS {
            let commit = world.commit(tree, Vec::new(), &number.to_string());
            world.refs.insert(format!("refs/tags/{number}"), commit);
        }
        let asker = Asker::with_first().await;
        let started = Instant::now();
        let report = asker.take(&Peer::honest(world).await).await.unwrap();
        println!("{REFS} refs in {:?}", started.elapsed());
        assert_eq!(report.commits, REFS as u64);
    });
}

#[test]
fn an_older_state_takes_nothing_away() {
    bounded(async {
        let asker = Asker::with_first().await;
        let new = Peer::honest(World::second()).await;
        asker.take(&new).await.unwrap();
        let before = asker.state();
        let old = Peer::honest(World::first()).await;
        let mut remote = asker.meet(&old).await.unwrap();
        let refs = remote.refs().await.unwrap();
        assert_eq!(refs[0].1, World::first().main());
        // What is asked for is here already: nothing comes, and nothing moves unless the caller says so.
        let report = asker.fetch(vec![remote], Vec::new()).await.unwrap();
        assert_eq!((report.commits, report.wire_bytes), (0, 0));
        assert_eq!(asker.state(), before);
    });
}
