//! The ways to fetch: all of what commits lead to, a part of it, or single files. Each brings what is missing into a
//! quarantine and checks it there.

use std::collections::HashSet;

use fai_core::object::{CommitId, FileId, Hash, Id};
use fai_core::repo::{Progress, Quarantine, Repository, Selection};

use super::{Brought, Depth, FetchReport, Goal, Remote, check, checking, driver, kept, threads};
use crate::session::plan::{Plan, Reach};
use crate::{Error, Node};

/// A transfer that is to be made, and between whom. Its methods block: call them on a thread that may. What came before an
/// error stays in quarantine for the next time.
pub struct Transfer<'a> {
    /// Where the network runs.
    pub runtime: &'a tokio::runtime::Handle,
    /// This peer, which runs there.
    pub node: &'a Node,
    /// What it is fetched for.
    pub repository: &'a Repository,
    /// Who is asked; all of them serve copies of one repository.
    pub remotes: Vec<Remote>,
    /// The commit that the worktree will hold once the transfer is accepted, if it is one of those that are fetched: its
    /// files are written while they come.
    pub worktree: Option<CommitId>,
    /// Hears how it goes.
    pub progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Fetches commits and everything they lead to. A repository that holds only a part gets all objects, and the contents
    /// that it selects. Every file is held against its content hash.
    ///
    /// # Errors
    /// The first cause that ended it.
    pub fn commits(self, wants: &[CommitId]) -> Result<(Quarantine, FetchReport), Error> {
        self.history(wants, None, None)
    }

    /// As [`Transfer::commits`], for a repository that will hold the contents that `selection` selects, whatever it holds
    /// now: also of commits that it has.
    ///
    /// # Errors
    /// As [`Transfer::commits`].
    pub fn selection(self, wants: &[CommitId], selection: &Selection) -> Result<(Quarantine, FetchReport), Error> {
        self.history(wants, None, Some(selection))
    }

    /// As [`Transfer::commits`], but not all the way back. Also goes on behind commits that the repository has, where its
    /// history is cut.
    ///
    /// # Errors
    /// As [`Transfer::commits`].
    pub fn depth(self, wants: &[CommitId], depth: Depth) -> Result<(Quarantine, FetchReport), Error> {
        self.history(wants, Some(depth), None)
    }

    /// Fetches the contents of files whose objects are in the repository, into a quarantine that holds nothing else.
    ///
    /// # Errors
    /// As [`Transfer::commits`].
    pub fn contents(mut self, files: &[(FileId, u64)]) -> Result<(Quarantine, FetchReport), Error> {
        let quarantine = self.repository.quarantine()?;
        // What an interrupted transfer of more left may lead to what is not here.
        quarantine.retain_objects(&HashSet::new())?;
        let result = self.bring_contents(&quarantine, files);
        kept(quarantine, result)
    }

    /// Fetches one file into a quarantine of its own, without checking its content hash: whoever writes it down does that.
    ///
    /// # Errors
    /// As [`Transfer::commits`].
    pub fn file(mut self, file: FileId, size: Option<u64>) -> Result<(Quarantine, FetchReport), Error> {
        let quarantine = self.repository.quarantine_for(file)?;
        let mut plan = Plan::new(Reach::Contents);
        plan.add_file(file, size)?;
        let result = self.bring(&quarantine, Goal::files(plan, None));
        kept(quarantine, result.map(|brought| brought.report))
    }

    fn history(
        mut self,
        wants: &[CommitId],
        depth: Option<Depth>,
        chosen: Option<&Selection>,
    ) -> Result<(Quarantine, FetchReport), Error> {
        let quarantine = self.repository.quarantine()?;
        let result = self.bring_commits(&quarantine, wants, depth, chosen);
        kept(quarantine, result)
    }

    /// Commits and what they lead to, as far as the repository wants it or will.
    fn bring_commits(
        &mut self,
        quarantine: &Quarantine,
        commits: &[CommitId],
        depth: Option<Depth>,
        chosen: Option<&Selection>,
    ) -> Result<FetchReport, Error> {
        let own = self.repository.selection()?;
        let selection = chosen.or(own.as_ref());
        let plan = Plan::new(match selection {
            Some(_) => Reach::Objects,
            None => Reach::Everything,
        });
        // An earlier transfer may have meant to take less.
        quarantine.cut([])?;
        let goal = Goal {
            commits,
            depth,
            plan,
            // Of a part, contents come later.
            worktree: self.worktree.filter(|_| selection.is_none()),
        };
        let Brought { report, met, hashed } = self.bring(quarantine, goal)?;
        // What an earlier transfer of something else left may lead to what is not here.
        quarantine.retain_objects(&met)?;
        let Some(selection) = selection else {
            check(quarantine, &report, &hashed, self.progress)?;
            return Ok(report);
        };
        let files = self
            .repository
            .contents_to_fetch(quarantine, commits, (selection, chosen.is_some()))?;
        let contents = self.bring_contents(quarantine, &files)?;
        Ok(FetchReport {
            commits: report.commits,
            wire_bytes: report.wire_bytes + contents.wire_bytes,
            time: report.time + contents.time,
            ..contents
        })
    }

    /// The contents of files whose objects are here.
    fn bring_contents(&mut self, quarantine: &Quarantine, files: &[(FileId, u64)]) -> Result<FetchReport, Error> {
        let mut plan = Plan::new(Reach::Contents);
        for (file, size) in files {
            plan.add_file(*file, Some(*size))?;
        }
        let Brought { report, hashed, .. } = self.bring(quarantine, Goal::files(plan, self.worktree))?;
        let hashes: Vec<Hash> = files.iter().map(|(file, _)| *file.hash()).collect();
        checking(&report, self.progress);
        quarantine.check_these(&hashes, threads(), &hashed, self.progress)?;
        Ok(report)
    }

    fn bring(&mut self, quarantine: &Quarantine, goal: Goal<'_>) -> Result<Brought, Error> {
        let remotes = &mut self.remotes;
        driver::run(
            self.runtime,
            self.node,
            self.repository,
            quarantine,
            remotes,
            goal,
            self.progress,
        )
    }
}

impl Goal<'_> {
    /// Files without the commits that lead to them.
    fn files(plan: Plan, worktree: Option<CommitId>) -> Self {
        Self {
            commits: &[],
            depth: None,
            plan,
            worktree,
        }
    }
}
