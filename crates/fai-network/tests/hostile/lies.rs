//! Peers that send wrong records, and peers that send right records of objects that lie.

use std::sync::atomic::{AtomicBool, Ordering};

use fai_core::codec::Codec;
use fai_core::object::{ContentHash, Extent, Hash, Id, Kind, Manifest, Object, Page, TreeEntry, TreeId};
use fai_core::storage::RecordHeader;
use fai_network::Error;

use crate::asker::{Asker, refused};
use crate::bounded;
use crate::peer::{Deed, Peer, Script, Then};
use crate::world::{World, header, record};

/// A script that answers with something else where a record of that kind is asked for.
fn instead(kind: Kind, make: impl Fn(&World, &Hash) -> Vec<u8> + Send + Sync + 'static) -> Script {
    Script::records(move |world, hash| {
        let asked = world.records.get(hash).is_some_and(|(found, _)| *found == kind);
        asked.then(|| Deed(make(world, hash), Then::GoOn))
    })
}

/// Every kind of record that can come over a stream of records.
const KINDS: [Kind; 3] = [Kind::Tree, Kind::Manifest, Kind::Chunk];

#[test]
fn wrong_bytes_are_refused_for_every_kind() {
    bounded(async {
        for kind in KINDS {
            let flip = move |world: &World, hash: &Hash| {
                let mut answer = world.answer(hash);
                *answer.last_mut().unwrap() ^= 1;
                answer
            };
            let (error, liar, _) = refused(World::second(), instead(kind, flip)).await;
            assert_eq!(error.kind(), "false_data", "{error}");
            let text = error.to_string();
            assert!(text.contains(&liar) && text.contains(kind.name()), "{text}");
        }
    });
}

#[test]
fn where_another_peer_is_honest_a_liar_is_dropped_and_named() {
    bounded(async {
        let asker = Asker::with_first().await;
        let flip = |world: &World, hash: &Hash| {
            let mut answer = world.answer(hash);
            *answer.last_mut().unwrap() ^= 1;
            answer
        };
        let liar = Peer::start(
            World::second(),
            Script::records(move |world, hash| Some(Deed(flip(world, hash), Then::GoOn))),
        )
        .await;
        let honest = Peer::honest(World::second()).await;
        // The first one is asked first.
        let mut first = asker.meet(&liar).await.unwrap();
        let refs = first.refs().await.unwrap();
        let remotes = vec![first, asker.meet(&honest).await.unwrap()];
        let report = asker.fetch(remotes, refs).await.unwrap();
        assert_eq!((report.commits, report.files), (1, 2));
        let warnings = asker.warnings();
        assert!(
            matches!(&warnings[..], [one] if one.contains(&liar.id.to_string()) && one.contains("wrong data")),
            "{warnings:?}"
        );
        asker.assert_sound();
    });
}

#[test]
fn who_breaks_the_rules_on_one_connection_is_asked_nothing_more_on_another() {
    bounded(async {
        let asker = Asker::with_first().await;
        let before = asker.state();
        let wrong = AtomicBool::new(true);
        let script = Script::records(move |_, _| {
            let first = wrong.swap(false, Ordering::SeqCst);
            first.then(|| Deed(World::empty().answer(&Kind::Chunk.hash(b"something else")), Then::GoOn))
        });
        let liar = Peer::start(World::second(), script).await;
        let mut first = asker.meet(&liar).await.unwrap();
        let refs = first.refs().await.unwrap();
        let both = vec![first, asker.meet(&liar).await.unwrap()];
        let error = asker.fetch(both, refs.clone()).await.expect_err("it went on");
        assert_eq!(error.kind(), "protocol", "{error}");
        assert_eq!(asker.state(), before);
        assert_eq!(asker.warnings(), [""; 0], "nobody is left to go on");
    });
}

#[test]
fn what_was_not_asked_for_is_refused() {
    bounded(async {
        for kind in KINDS {
            // An honest record, but another one.
            let other = |world: &World, hash: &Hash| {
                let other = world.records.keys().find(|other| *other != hash).unwrap();
                world.answer(other)
            };
            // The right bytes under the right hash, called something else.
            let renamed = move |world: &World, hash: &Hash| {
                let bytes = &world.records[hash].1;
                let called = if kind == Kind::Page { Kind::Chunk } else { Kind::Page };
                record(header(called, *hash, bytes.len() as u32), bytes)
            };
            // That something else is not there.
            let absent = |_: &World, _: &Hash| World::empty().answer(&Kind::Chunk.hash(b"something else"));
            let garbage = |_: &World, _: &Hash| fai_testkit::noise(3, 4000);
            for script in [
                instead(kind, other),
                instead(kind, renamed),
                instead(kind, absent),
                instead(kind, garbage),
            ] {
                let (error, liar, _) = refused(World::second(), script).await;
                assert_eq!(error.kind(), "protocol", "{error}");
                assert!(error.to_string().contains(&liar), "{error}");
            }
        }
    });
}

#[test]
fn lengths_and_encodings_that_cannot_be_are_refused() {
    bounded(async {
        let claim = |change: fn(&mut RecordHeader)| {
            instead(Kind::Chunk, move |world, hash| {
                let bytes = &world.records[hash].1;
                let mut header = header(Kind::Chunk, *hash, bytes.len() as u32);
                change(&mut header);
                record(header, bytes)
            })
        };
        let impossible = [
            // 4 GiB, in both lengths or in one.
            claim(|header| (header.raw_len, header.encoded_len) = (u32::MAX, u32::MAX)),
            claim(|header| header.raw_len = u32::MAX),
            claim(|header| header.encoded_len = header.raw_len + 1),
            // A delta that was not asked for as one.
            claim(|header| (header.codec, header.base) = (Codec::Delta, Some(header.hash))),
        ];
        for script in impossible {
            assert_eq!(refused(World::second(), script).await.0.kind(), "protocol");
        }
        let wrong = [
            // Bytes that decode to 2 MiB of nothing, to something else, or to nothing at all.
            claim(|header| header.raw_len = 2 << 20),
            claim(|header| header.codec = Codec::Zstd),
            claim(|header| header.codec = Codec::Planes),
        ];
        for script in wrong {
            assert_eq!(refused(World::second(), script).await.0.kind(), "false_data");
        }
    });
}

#[test]
fn a_record_that_nobody_has_is_named() {
    bounded(async {
        let nothing = Script::records(|_, hash| Some(Deed(World::empty().answer(hash), Then::GoOn)));
        let (error, ..) = refused(World::second(), nothing).await;
        let Error::Nowhere { kind: "tree", .. } = error else {
            panic!("{error}");
        };
        // Everything but one.
        let one = World::second().new_one(Kind::Chunk);
        let all_but =
            Script::records(move |_, hash| (*hash == one).then(|| Deed(World::empty().answer(hash), Then::GoOn)));
        let (error, ..) = refused(World::second(), all_but).await;
        assert!(matches!(error, Error::Nowhere { hash, .. } if hash == one), "{error}");
        assert_eq!(error.kind(), "missing");
    });
}

#[test]
fn right_chunks_in_a_wrong_file_are_found_and_thrown_away() {
    bounded(async {
        let world = World::with_tree(|world| {
            let manifest = Manifest {
                size: 6,
                content: ContentHash::from_hash(Kind::Chunk.hash(b"abcdef")),
                level: 0,
                entries: world.extents(&[b"def", b"abc"]),
            };
            let file = world.manifest(&manifest);
            world.tree(vec![TreeEntry::file("f", file, 6, false)])
        });
        let file = world.new_one(Kind::Manifest);
        let (error, _, empty) = refused(world, Script::honest()).await;
        assert_eq!(
            error.kind(),
            fai_core::repo::Error::FalseFile(fai_core::object::FileId::from_hash(file)).kind()
        );
        assert!(error.to_string().contains(&file.short()), "{error}");
        assert!(empty, "or it would make the next transfer fail, too");
    });
}

/// Objects that contradict each other or the rules: each is refused whoever sends it, and nothing of it is kept.
async fn contradiction(world: World, named: Kind, because: &str) {
    let (error, _, empty) = refused(world, Script::honest()).await;
    let Error::Contradiction(found) = &error else {
        panic!("{error}");
    };
    assert_eq!(error.kind(), "false_data");
    assert_eq!(found.kind, named, "{error}");
    assert!(error.to_string().contains(because), "{error}");
    assert!(empty, "{error}");
}

#[test]
fn names_that_leave_the_folder_or_are_two_on_some_system_are_refused() {
    bounded(async {
        let alone = [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "/etc",
            "nul\0",
            "bell\u{7}",
            ".fai",
            ".FAI",
            ".git",
            "GIT~1",
            ".gi\u{200c}t",
            "CON",
            "nul.txt",
            "com1",
            "dot.",
            "space ",
        ];
        for name in alone {
            let world = World::with_tree(|world| {
                let file = world.file("x", &[b"x"]);
                world.lawless_tree(&[(name, &file)])
            });
            contradiction(world, Kind::Tree, "refused").await;
        }
        for (one, other) in [
            ("README", "readme"),
            ("stra\u{df}e", "strasse"),
            ("e\u{301}", "\u{e9}"),
            ("a", "a"),
        ] {
            let world = World::with_tree(|world| {
                let file = world.file("x", &[b"x"]);
                let mut both = [one, other];
                both.sort_unstable();
                world.lawless_tree(&[(both[0], &file), (both[1], &file)])
            });
            contradiction(world, Kind::Tree, "").await;
        }
    });
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    bounded(async {
        let with_file = |size: u64, claimed: u64| {
            World::with_tree(|world| {
                let manifest = Manifest {
                    size,
                    content: ContentHash::from_hash(Kind::Chunk.hash(b"")),
                    level: 0,
                    entries: world.extents(&[b"def"]),
                };
                let file = world.manifest(&manifest);
                world.tree(vec![TreeEntry::file("f", file, claimed, false)])
            })
        };
        contradiction(with_file(3, 4), Kind::Manifest, "").await;
        contradiction(with_file(1 << 60, 1 << 60), Kind::Manifest, "").await;
        // A chunk that is shorter than its file says, where everything else agrees.
        let world = World::with_tree(|world| {
            let hash = world.put(Kind::Chunk, b"abc".to_vec());
            let manifest = Manifest {
                size: 1 << 20,
                content: ContentHash::from_hash(Kind::Chunk.hash(b"abc")),
                level: 0,
                entries: vec![Extent { hash, len: 1 << 20 }],
            };
            let file = world.manifest(&manifest);
            world.tree(vec![TreeEntry::file("f", file, 1 << 20, false)])
        });
        contradiction(world, Kind::Chunk, "length").await;
    });
}

/// Folders in folders, each of which names the one below it `width` times.
fn nested(world: &mut World, mut inner: TreeId, mut size: u64, levels: usize, names: &[&str]) -> TreeId {
    for _ in 0..levels {
        let entries: Vec<TreeEntry> = names.iter().map(|name| TreeEntry::folder(*name, inner, size)).collect();
        size *= names.len() as u64;
        inner = world.tree(entries);
    }
    inner
}

#[test]
fn a_few_trees_that_stand_for_endless_paths_are_refused() {
    bounded(async {
        for (bytes, levels) in [(&b""[..], 2000), (&b"x"[..], 60), (&b""[..], 25)] {
            let world = World::with_tree(|world| {
                let file = world.file("f", &[bytes]);
                let file = if bytes.is_empty() { empty_file(world) } else { file };
                let (size, leaf) = (file.size, world.tree(vec![file]));
                nested(world, leaf, size, levels, &["a", "b"])
            });
            contradiction(world, Kind::Tree, "paths").await;
        }
        // Without any file.
        let world = World::with_tree(|world| {
            let leaf = world.tree(Vec::new());
            nested(world, leaf, 0, 40, &["a", "b"])
        });
        contradiction(world, Kind::Tree, "paths").await;
    });
}

fn empty_file(world: &mut World) -> TreeEntry {
    let manifest = Manifest {
        size: 0,
        content: ContentHash::from_hash(Kind::Chunk.hash(b"")),
        level: 0,
        entries: Vec::new(),
    };
    TreeEntry::file("f", world.manifest(&manifest), 0, false)
}

#[test]
fn folders_deeper_than_any_path_are_refused_also_where_a_short_way_leads_to_them() {
    bounded(async {
        let deep = World::with_tree(|world| {
            let file = empty_file(world);
            let leaf = world.tree(vec![file]);
            nested(world, leaf, 0, 2100, &["a"])
        });
        contradiction(deep, Kind::Tree, "deep").await;
        let million = World::with_tree(|world| {
            // As many as the receiver would follow, and more; each costs the liar a record.
            let file = empty_file(world);
            let leaf = world.tree(vec![file]);
            nested(world, leaf, 0, 10_000, &["a"])
        });
        contradiction(million, Kind::Tree, "deep").await;
        // 1,500 folders below the root, and again 1,500 at the end of 1,500.
        let twice = World::with_tree(|world| {
            let file = empty_file(world);
            let leaf = world.tree(vec![file]);
            let half = nested(world, leaf, 0, 1500, &["a"]);
            let whole = nested(world, half, 0, 1500, &["a"]);
            world.tree(vec![
                TreeEntry::folder("short", half, 0),
                TreeEntry::folder("way", whole, 0),
            ])
        });
        contradiction(twice, Kind::Tree, "paths").await;
    });
}

#[test]
fn a_bomb_that_is_built_one_level_at_a_time_is_refused_when_it_grows_too_large() {
    bounded(async {
        let asker = Asker::with_first().await;
        let mut world = World::first();
        let file = empty_file(&mut world);
        let mut leaf = world.tree(vec![file]);
        // Every step is complete in the repository before the next one comes.
        for step in 0..4 {
            let before = asker.state();
            leaf = nested(&mut world, leaf, 0, 8, &["a", "b"]);
            // Under a name that no worktree follows.
            let commit = world.commit(leaf, Vec::new(), "step");
            world.refs.insert(format!("refs/tags/{step}"), commit);
            let taken = asker.take(&Peer::honest(world.clone()).await).await;
            if step < 2 {
                taken.unwrap();
                continue;
            }
            let error = taken.expect_err("it passed");
            assert_eq!(error.kind(), "false_data", "{error}");
            assert!(error.to_string().contains("paths"), "{error}");
            assert_eq!(asker.state(), before);
            return;
        }
    });
}

#[test]
fn pages_that_name_each_other_thousands_of_times_end_soon() {
    bounded(async {
        let world = World::with_tree(|world| {
            let mut entry = world.extents(&[b"x"])[0];
            // 8192^3 bytes in three small pages.
            for level in 0..3 {
                let page = Page {
                    level,
                    entries: vec![entry; 8192],
                };
                entry = Extent {
                    hash: world.put(Kind::Page, page.encode()),
                    len: 8192 * entry.len,
                };
            }
            let manifest = Manifest {
                size: entry.len,
                content: ContentHash::from_hash(Kind::Chunk.hash(b"x")),
                level: 3,
                entries: vec![entry],
            };
            let file = world.manifest(&manifest);
            world.tree(vec![TreeEntry::file("bomb", file, manifest.size, false)])
        });
        let (error, _, empty) = refused(world, Script::honest()).await;
        assert_eq!(error.kind(), "false_data", "{error}");
        assert!(empty);
    });
}
