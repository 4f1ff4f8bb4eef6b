//! Peers that fall silent, or say a byte now and then: each is given up after half a minute. All at the same time, because
//! that is how long each takes.

use fai_core::object::{Hash, Kind};
use fai_network::wire::message::Request;

use crate::asker::refused;
use crate::bounded;
use crate::peer::{Deed, Script, Then};
use crate::world::{World, header, record};

fn at(kind: Kind, make: impl Fn(&World, &Hash) -> Deed + Send + Sync + 'static) -> Script {
    Script::records(move |world, hash| {
        let asked = world.records.get(hash).is_some_and(|(found, _)| *found == kind);
        asked.then(|| make(world, hash))
    })
}

#[test]
fn silent_and_trickling_peers_are_given_up() {
    bounded(async {
        let hello = |then| Script::replies(move |_, request| matches!(request, Request::Hello { .. }).then(|| Deed(Vec::new(), then)));
        let refs = |then| Script::replies(move |_, request| matches!(request, Request::Refs { .. }).then(|| Deed(vec![200, 0, 0], then)));
        let longest = |then| at(Kind::Tree, move |_, hash| Deed(record(header(Kind::Tree, *hash, 64 << 20), b"abc"), then));
        let scripts = [
            hello(Then::Silence),
            hello(Then::Trickle),
            refs(Then::Silence),
            refs(Then::Trickle),
            Script::replies(|_, request| {
                matches!(request, Request::Commits { .. }).then(|| Deed((1u32 << 20).to_le_bytes().to_vec(), Then::Trickle))
            }),
            at(Kind::Tree, |_, _| Deed(Vec::new(), Then::Silence)),
            at(Kind::Chunk, |world, hash| Deed(world.answer(hash)[..100].to_vec(), Then::Trickle)),
            longest(Then::Silence),
            longest(Then::Trickle),
        ];
        let ends = scripts.map(|script| async {
            let (error, liar, _) = refused(World::second(), script).await;
            assert_eq!(error.kind(), "connection", "{error}");
            let text = error.to_string();
            assert!(text.contains(&liar) && text.contains("silent for 30 seconds"), "{text}");
        });
        futures::future::join_all(ends).await;
    });
}
