//! Peers that leave for good: after every message and record of an honest transfer, and in the middle of each.

use crate::asker::Asker;
use crate::bounded;
use crate::peer::{Peer, Script};
use crate::world::World;

#[test]
fn wherever_a_peer_leaves_nothing_is_half_and_the_rest_can_be_had_elsewhere() {
    bounded(async {
        let whole = Peer::honest(World::second()).await;
        Asker::with_first().await.take(&whole).await.unwrap();
        let messages = whole.messages();
        // Welcome, two times refs, commits; two trees, two manifests, four chunks.
        assert_eq!(messages.len(), 12);
        let mut points = vec![0];
        let mut end = 0;
        for len in messages {
            points.extend([end + len / 2, end + len]);
            end += len;
        }
        // With the last byte of the last record everything is there.
        assert_eq!(points.pop(), Some(end));
        for point in points {
            let asker = Asker::with_first().await;
            let before = asker.state();
            let peer = Peer::start(World::second(), Script::leaving_after(point)).await;
            let error = asker.take(&peer).await.expect_err("it passed");
            assert_eq!(error.kind(), "connection", "after {point} bytes: {error}");
            assert!(error.to_string().contains(&peer.id.to_string()), "{error}");
            assert_eq!(asker.state(), before, "after {point} bytes");
            asker.assert_goes_on().await;
        }
    });
}

#[test]
fn what_came_before_the_end_is_not_asked_for_again() {
    bounded(async {
        let asker = Asker::with_first().await;
        let whole = Peer::honest(World::second()).await;
        let first = Asker::with_first().await.take(&whole).await.unwrap();
        let all: usize = whole.messages().iter().sum();
        let peer = Peer::start(World::second(), Script::leaving_after(all - 10)).await;
        asker.take(&peer).await.expect_err("it passed");
        let rest = asker.take(&whole).await.unwrap();
        // Only the record that was cut: the largest is a chunk of 20,000 bytes.
        assert!(rest.wire_bytes < 21_000, "{} of {}", rest.wire_bytes, first.wire_bytes);
    });
}
