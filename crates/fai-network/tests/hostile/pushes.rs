//! Peers that push lies, or vanish while they push, to a real server that lets them write.

use fai_core::object::{ContentHash, Kind, Manifest, TreeEntry};
use fai_network::Error;
use fai_network::fetch::Remote;
use fai_network::wire::message::{Move, Reason, Selector, wire_commit};

use crate::askers::Server;
use crate::bounded;
use crate::peer::{Deed, Peer, Script, Then};
use crate::world::{MAIN, World, header, record};

/// Moves `main` from the first commit to that of `world`.
fn forward(world: &World) -> Vec<Move> {
    vec![Move {
        name: MAIN.into(),
        before: Some(wire_commit(&World::first().main())),
        after: wire_commit(&world.main()),
        force: false,
    }]
}

async fn push(server: &Server, pusher: &Peer, moves: Vec<Move>) -> Result<(), Error> {
    let dialled = pusher.node.dial(Some(server.node.peer()), vec![server.address.clone()]);
    let mut remote = Remote::open(&pusher.node, dialled.await?, Selector::Only).await?;
    remote.push(moves, |_, _| {}).await
}

/// Pushes `world` by that script, which must fail and change nothing; then an honest push must work.
async fn refused(world: World, script: Script) -> String {
    let server = Server::writable().await;
    let before = server.asker.state();
    let moves = forward(&world);
    let pusher = Peer::start(world, script).await;
    let error = push(&server, &pusher, moves).await.expect_err("it passed");
    let Error::Refused { reason, message, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(reason, Reason::Failed, "{message}");
    assert_eq!(server.asker.state(), before);
    let honest = Peer::honest(World::second()).await;
    push(&server, &honest, forward(&World::second())).await.unwrap();
    assert_eq!(server.asker.repository.refs().unwrap()[0].1, World::second().main());
    server.asker.assert_sound();
    message
}

#[test]
fn a_pushed_lie_is_refused_and_the_pusher_told() {
    bounded(async {
        let wrong = Script::records(|world, hash| {
            let mut answer = world.answer(hash);
            *answer.last_mut().unwrap() ^= 1;
            Some(Deed(answer, Then::GoOn))
        });
        assert!(refused(World::second(), wrong).await.contains("sent wrong data"));
        let false_file = World::with_tree(|world| {
            let manifest = Manifest {
                size: 3,
                content: ContentHash::from_hash(Kind::Chunk.hash(b"abd")),
                level: 0,
                entries: world.extents(&[b"abc"]),
            };
            let file = world.manifest(&manifest);
            world.tree(vec![TreeEntry::file("f", file, 3, false)])
        });
        let named = false_file.new_one(Kind::Manifest).short();
        assert!(refused(false_file, Script::honest()).await.contains(&named));
        let name = World::with_tree(|world| {
            let file = world.file("x", &[b"x"]);
            world.lawless_tree(&[("..", &file)])
        });
        assert!(refused(name, Script::honest()).await.contains("refused"));
        let other = Script::records(|_, hash| Some(Deed(record(header(Kind::Chunk, *hash, 3), b"abc"), Then::GoOn)));
        assert!(refused(World::second(), other).await.contains("protocol"));
        let nothing = Script::records(|_, hash| Some(Deed(World::empty().answer(hash), Then::GoOn)));
        assert!(refused(World::second(), nothing).await.contains("no peer has the tree"));
    });
}

#[test]
fn pushes_that_make_no_sense_are_refused_before_anything_is_fetched() {
    bounded(async {
        let server = Server::writable().await;
        let before = server.asker.state();
        let good = || forward(&World::second()).remove(0);
        let named = |name: &str| Move {
            name: name.into(),
            ..good()
        };
        let cases = [
            (vec![], Reason::Protocol),
            (vec![good(), good()], Reason::Protocol),
            (vec![named("HEAD")], Reason::Protocol),
            (vec![named("refs/heads/../../config")], Reason::Protocol),
            (
                (0..10_001).map(|n| named(&format!("refs/tags/{n}"))).collect(),
                Reason::Protocol,
            ),
            (vec![Move { before: None, ..good() }], Reason::NotForward),
            (vec![named("refs/heads/other")], Reason::NotForward),
        ];
        for (moves, expected) in cases {
            let pusher = Peer::honest(World::second()).await;
            let error = push(&server, &pusher, moves).await.expect_err("it passed");
            assert!(
                matches!(&error, Error::Refused { reason, .. } if *reason == expected),
                "{error}"
            );
            assert!(pusher.messages().len() <= 1, "no more than a Welcome was asked for");
        }
        // Back to what was before the first commit, without force.
        let mut other = World::empty();
        let file = other.file("else", &[b"else"]);
        let tree = other.tree(vec![file]);
        other.commit_on_main(tree);
        let pusher = Peer::honest(other.clone()).await;
        let error = push(&server, &pusher, forward(&other)).await.expect_err("it passed");
        assert!(
            matches!(
                error,
                Error::Refused {
                    reason: Reason::NotForward,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(server.asker.state(), before);
    });
}

#[test]
fn a_pusher_that_vanishes_leaves_nothing_half() {
    bounded(async {
        let whole = Peer::honest(World::second()).await;
        push(&Server::writable().await, &whole, forward(&World::second()))
            .await
            .unwrap();
        let messages = whole.messages();
        assert_eq!(messages.len(), 10, "Welcome, commits, and eight records");
        let mut end = 0;
        for len in messages {
            let server = Server::writable().await;
            let before = server.asker.state();
            let pusher = Peer::start(World::second(), Script::leaving_after(end + len / 2)).await;
            end += len;
            let dialled = pusher.node.dial(Some(server.node.peer()), vec![server.address.clone()]);
            let mut remote = Remote::open(&pusher.node, dialled.await.unwrap(), Selector::Only)
                .await
                .unwrap();
            // It goes away whole, connection and all, as soon as it has said that much.
            let mut gone = pusher.gone();
            tokio::select! {
                // The other side may see its stream end, and say so, before this one is gone.
                result = remote.push(forward(&World::second()), |_, _| {}) => assert!(
                    matches!(&result, Err(Error::Refused { reason: Reason::Failed, .. })),
                    "{result:?}"
                ),
                _ = gone.wait_for(|gone| *gone) => {}
            }
            drop((remote, pusher));
            assert_eq!(server.asker.state(), before);
            // Its transfer ends by itself, and what it brought is used.
            let honest = Peer::honest(World::second()).await;
            push(&server, &honest, forward(&World::second())).await.unwrap();
            assert_eq!(server.asker.repository.refs().unwrap()[0].1, World::second().main());
            server.asker.assert_sound();
        }
    });
}
