//! Repositories on this machine that lie: what is copied from a folder is checked as if a peer had sent it.

use fai_core::Repository;
use fai_core::object::TreeEntry;
use fai_core::repo::{InitOptions, Silent};
use fai_network::Error;
use fai_network::fetch::fetch_from;

use crate::asker::Asker;
use crate::bounded;
use crate::world::World;

/// A repository that holds the records of `world`, whatever they are.
fn holding(world: &World) -> (tempfile::TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let (repository, _) = Repository::init(folder.path(), InitOptions::default()).unwrap();
    let store = |feeder: &mut fai_core::storage::Feeder<'_>| {
        for (kind, bytes) in world.records.values() {
            feeder.object(*kind, bytes.clone())?;
        }
        Ok(())
    };
    repository.store().write(1, &|_| (), store).unwrap();
    (folder, repository)
}

#[test]
fn a_few_trees_that_stand_for_endless_paths_are_refused_from_a_folder_too() {
    bounded(async {
        let asker = Asker::with_first().await;
        let before = asker.state();
        let bomb = World::with_tree(|world| {
            let mut tree = world.tree(Vec::new());
            for _ in 0..25 {
                tree = world.tree(["a", "b"].map(|name| TreeEntry::folder(name, tree, 0)).into());
            }
            tree
        });
        let (_folder, source) = holding(&bomb);
        let taken = fetch_from(&source, &asker.repository, &[bomb.main()], Some(bomb.main()), &Silent);
        let error = taken.map(|_| ()).expect_err("it passed");
        assert!(matches!(&error, Error::Contradiction(_)), "{error}");
        assert!(error.to_string().contains("paths"), "{error}");
        assert_eq!(asker.state(), before);
        assert!(
            asker.quarantine_is_empty(),
            "or it would make the next transfer fail, too"
        );
    });
}
