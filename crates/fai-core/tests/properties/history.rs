//! Collections and repackings on random histories: whatever refs, `HEAD`, staging and recent operations lead to is there
//! after every step, byte for byte, and nothing is wrong; and what nothing leads to is gone in the end, with its room.

mod content;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::world::{DAY, World};
use crate::cases;

/// A step of a history. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// Writes and adds versions of files, which may go from the worktree at once.
    Add {
        files: Vec<(u8, u8)>,
        evict: bool,
    },
    /// A file is deleted.
    Remove(u8),
    /// Drops what is staged.
    Unstage,
    Commit {
        amend: bool,
    },
    /// A commit that follows two.
    Merge(u8),
    /// Makes a branch at the current commit, and goes on elsewhere.
    Branch(u8),
    /// The current branch goes to another commit that a branch names.
    Reset(u8),
    /// Another branch becomes the current one, or its commit.
    Switch {
        choice: u8,
        detach: bool,
    },
    DeleteBranch(u8),
    /// The current branch goes back to where some branch was.
    Undo(u8),
    /// So many days pass, and a collection comes that waits for so many; `None` waits for nothing.
    Collect {
        days: u8,
        age: Option<u8>,
    },
    Repack {
        max: bool,
    },
    /// The index is made anew from the packs.
    Rebuild,
}

fn any_step() -> impl Strategy<Value = Step> {
    let files = prop::collection::vec((0..6u8, 0..6u8), 1..4);
    prop_oneof![
        8 => (files, prop::bool::weighted(0.3)).prop_map(|(files, evict)| Step::Add { files, evict }),
        1 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Unstage),
        6 => prop::bool::weighted(0.3).prop_map(|amend| Step::Commit { amend }),
        1 => any::<u8>().prop_map(Step::Merge),
        3 => any::<u8>().prop_map(Step::Branch),
        1 => any::<u8>().prop_map(Step::Reset),
        2 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(choice, detach)| Step::Switch { choice, detach }),
        2 => any::<u8>().prop_map(Step::DeleteBranch),
        1 => any::<u8>().prop_map(Step::Undo),
        3 => (0..20u8, prop::option::of(0..20u8)).prop_map(|(days, age)| Step::Collect { days, age }),
        1 => any::<bool>().prop_map(|max| Step::Repack { max }),
        1 => Just(Step::Rebuild),
    ]
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Add { files, evict } => world.add(files, *evict),
        Step::Remove(file) => world.remove(*file),
        Step::Unstage => world.unstage(),
        Step::Commit { amend } => world.commit(*amend),
        Step::Merge(choice) => world.merge(*choice),
        Step::Branch(number) => world.make_branch(*number),
        Step::Reset(choice) => world.reset(*choice),
        Step::Switch { choice, detach } => world.switch(*choice, *detach),
        Step::DeleteBranch(choice) => world.delete_branch(*choice),
        Step::Undo(choice) => world.undo(*choice),
        Step::Collect { days, age } => {
            world.now += i64::from(*days) * DAY;
            world.collect(age.map(|age| Duration::from_secs(u64::from(age) * DAY as u64)));
        }
        Step::Repack { max } => world.repack(*max),
        Step::Rebuild => world.assert_sound(true),
    }
}

proptest! {
    #![proptest_config(cases(20))]

    #[test]
    fn what_something_leads_to_stays_and_the_rest_goes(steps in prop::collection::vec(any_step(), 4..24)) {
        let mut world = World::new();
        // A commit that is always there: a history that lost all of them is not collected.
        world.add(&[(0, 0), (2, 0)], false);
        world.commit(false);
        for step in &steps {
            take(&mut world, step);
            world.assert_sound(false);
            world.assert_kept();
        }
        world.collect(None);
        world.assert_sound(false);
        world.assert_kept();
        let needed = world.reached();
        prop_assert_eq!(&world.records(), &needed, "not exactly what is needed is indexed");
        world.assert_packs_hold(&needed);
        // Neither another encoding nor an index made anew changes what is held.
        world.repack(false);
        world.assert_sound(true);
        world.assert_kept();
        // A chunk on which others stood only through a longer chain may be free now.
        prop_assert!(world.reached().is_subset(&world.records()));
        world.collect(None);
        world.assert_sound(false);
        let needed = world.reached();
        prop_assert_eq!(&world.records(), &needed);
        world.assert_packs_hold(&needed);
    }
}
