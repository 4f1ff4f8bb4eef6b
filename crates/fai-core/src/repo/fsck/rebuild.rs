//! `--rebuild`: the index and all that is known about files, made anew from the packs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::findings::Findings;
use super::packs::pack_name;
use super::verify::{PackCheck, each_pack, locations};
use crate::database::{FileRecord, TensorRecord, Writer};
use crate::object::{CommitId, FileId, Hash, Id, Kind};
use crate::repo::content::FileReader;
use crate::repo::describe::describe_layout;
use crate::repo::progress::{Event, Progress};
use crate::repo::quarantine::finish_moves;
use crate::repo::reach::{NeededBy, Visit};
use crate::repo::snapshot::Entry;
use crate::repo::store::read_sealed;
use crate::repo::{DEFAULT_BRANCH, Error, Head, Repository};
use crate::storage::{
    Location, PackSet, Reading, StorageError, copy_good_records, list_packs, pack_path, salvage, sync_folder,
};
use crate::tensor::examine;

/// Files, and tensors of files, written to the database in one transaction.
const BATCH: usize = 256;
const BATCH_TENSORS: usize = 50_000;

impl Repository {
    /// Makes the index anew. The caller holds the repository's locks.
    pub(super) fn rebuild(&self, findings: &mut Findings, progress: &dyn Progress) -> Result<(), Error> {
        let folder = self.store().packs().folder().to_owned();
        // What was accepted and half moved would look incomplete, and be dropped.
        finish_moves(&self.directory, &folder)?;
        // Not `adopt_orphans`: an index that cannot be trusted might call what is in them known, and they would go.
        let salvaged = salvage(&self.directory.join("incoming"), &folder, &|_| None)?;
        sync_folder(&folder)?;
        if !salvaged.packs.is_empty() {
            let count = salvaged.packs.len();
            findings.recovered(format!("{count} half-written packs were finished"));
        }
        let good = self.good_packs(&folder, findings, progress)?;
        self.store().packs().close();
        self.store().index().transaction(|writer| -> Result<(), Error> {
            writer.clear_records()?;
            writer.clear_files()?;
            writer.clear_graph()?;
            writer.clear_search()?;
            writer.clear_experiments()?;
            writer.clear_stat_cache()?;
            enter_all(writer, &folder, &good)
        })?;
        let unused = self.database().pack_usage()?;
        let useless: Vec<Hash> = unused
            .iter()
            .filter(|usage| usage.records == 0)
            .map(|usage| usage.name)
            .collect();
        for name in &useless {
            let path = pack_path(&folder, name);
            std::fs::remove_file(&path).map_err(StorageError::io("remove", &path))?;
        }
        sync_folder(&folder)?;
        self.database().forget_empty_packs(&useless)?;
        self.recover_head(findings)?;
        self.recover_refs(findings)?;
        self.recover_pending(findings)?;
        self.drop_incomplete()?;
        self.describe_all()?;
        findings.report.rebuilt = true;
        Ok(())
    }

    /// Verifies all packs. The good records of one that is not whole move to a fresh pack.
    fn good_packs(
        &self,
        folder: &Path,
        findings: &mut Findings,
        progress: &dyn Progress,
    ) -> Result<BTreeSet<Hash>, Error> {
        let (present, _) = list_packs(folder)?;
        let bytes = |name: &Hash| pack_path(folder, name).metadata().map_or(0, |metadata| metadata.len());
        progress.on(Event::Total {
            files: present.len() as u64,
            bytes: present.iter().map(bytes).sum(),
        });
        let bases = bases(folder, &present);
        let locate = |base: &Hash| bases.get(base).copied();
        let checks = each_pack(self, &present, |packs, reading, name| {
            let check = match read_sealed(folder, name) {
                Ok(pack) => {
                    let mut check = PackCheck::new(name, pack.len, None);
                    check.verify(packs, reading, &locations(&pack), locate, progress)?;
                    check
                }
                // What a newer version wrote is not damaged, and not to be rewritten.
                Err(error @ StorageError::Newer(_)) => return Err(error.into()),
                Err(error) => PackCheck::new(name, 0, Some(error.to_string())),
            };
            progress.on(Event::FileDone);
            Ok(check)
        })?;
        let mut good = BTreeSet::new();
        for check in checks {
            findings.count("bytes", check.bytes);
            if check.broken.is_none() && check.damaged.is_empty() {
                good.insert(check.name);
            } else {
                good.extend(self.replace_pack(folder, &check, &bases, findings)?);
            }
        }
        Ok(good)
    }

    /// Copies what is good of a damaged pack to fresh packs, and sets the file aside under another name.
    fn replace_pack(
        &self,
        folder: &Path,
        check: &PackCheck,
        bases: &HashMap<Hash, Location>,
        findings: &mut Findings,
    ) -> Result<Vec<Hash>, Error> {
        let path = pack_path(folder, &check.name);
        let packs = PackSet::new(folder.to_owned());
        let base_of = |base: &Hash| {
            let mut reading = Reading::new().ok()?;
            let locate = |base: &Hash| Ok::<_, StorageError>(bases.get(base).map(|location| (&packs, *location)));
            reading.read(&packs, *bases.get(base)?, locate).ok()?;
            Some(reading.raw().to_vec())
        };
        let fresh = copy_good_records(&path, &self.directory.join("incoming"), &base_of)?;
        let aside = free_name(&path.with_extension("pack.damaged"));
        // The fresh pack may have the same name, so both must exist for a moment.
        if std::fs::hard_link(&path, &aside).is_err() {
            std::fs::rename(&path, &aside).map_err(Error::io("rename", &path))?;
        }
        sync_folder(folder)?;
        let (mut names, mut records) = (Vec::new(), 0);
        for pack in fresh {
            let pack = pack.seal(folder)?;
            records += pack.entries.len();
            names.push(pack.name);
        }
        sync_folder(folder)?;
        if !names.contains(&check.name) && path.exists() {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
        let kept = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = pack_name(&check.name);
        findings.recovered(format!(
            "{records} good records of {name}; the damaged file is now {kept}"
        ));
        Ok(names)
    }

    /// A damaged `HEAD` becomes a branch again.
    fn recover_head(&self, findings: &mut Findings) -> Result<(), Error> {
        if !matches!(self.head(), Err(Error::BadHead(_) | Error::Io { .. })) {
            return Ok(());
        }
        let refs = self.database().refs()?;
        let branches = || {
            refs.iter()
                .map(|(name, _)| name.as_str())
                .filter(|name| name.starts_with("refs/heads/"))
        };
        let name = branches()
            .find(|name| *name == DEFAULT_BRANCH)
            .or_else(|| branches().next())
            .unwrap_or(DEFAULT_BRANCH);
        self.write_head(&Head::Branch(name.to_owned()))?;
        findings.recovered(format!("HEAD was damaged and is now on {name}"));
        Ok(())
    }

    /// Names the commits that are no other's parent when no ref is left: the newest becomes the branch of `HEAD`.
    fn recover_refs(&self, findings: &mut Findings) -> Result<(), Error> {
        if !self.database().refs()?.is_empty() {
            return Ok(());
        }
        let mut names: BTreeMap<String, CommitId> = BTreeMap::new();
        for (number, (id, _)) in self.tips()?.into_iter().enumerate() {
            let name = match self.head()? {
                Head::Branch(name) if number == 0 => name,
                _ => format!("refs/heads/recovered-{}", id.short()),
            };
            names.insert(name, id);
        }
        self.database().transaction(|writer| -> Result<(), Error> {
            for (name, id) in &names {
                writer.move_ref(name, None, Some(*id))?;
            }
            Ok(())
        })?;
        for (name, id) in names {
            findings.recovered(format!("{name} is now commit {}", id.short()));
        }
        Ok(())
    }

    /// A merge whose draft is lost cannot go on.
    fn recover_pending(&self, findings: &mut Findings) -> Result<(), Error> {
        let Some(pending) = self.database().pending()? else {
            return Ok(());
        };
        if !self.store().has(pending.draft.hash())? {
            self.database().transaction(|writer| writer.end_pending())?;
            findings.recovered(format!(
                "the {} that was under way is over: its draft is lost",
                pending.kind
            ));
        }
        Ok(())
    }

    /// Describes every reachable file again.
    fn describe_all(&self) -> Result<(), Error> {
        let mut describe = Describe {
            repository: self,
            seen: HashSet::new(),
            waiting: Vec::new(),
            tensors: 0,
        };
        self.walk_reachable(&self.roots()?, &mut describe)?;
        describe.flush()
    }
}

/// Enters packs into an empty index. Packs of several generations may lie beside each other, after a kill in the middle
/// of rewriting them: of several records of one id the one counts that stands alone, else one with the shortest chain.
/// So no two of them can come to stand on each other.
fn enter_all(writer: &Writer<'_>, folder: &Path, names: &BTreeSet<Hash>) -> Result<(), Error> {
    let mut with_deltas = Vec::new();
    for name in names {
        let pack = read_sealed(folder, *name)?;
        writer.insert_some(&pack, |entry| Ok(entry.header.base.is_none()))?;
        if pack.entries.iter().any(|entry| entry.header.base.is_some()) {
            with_deltas.push(*name);
        }
    }
    loop {
        // What stands on what was entered before; what is entered now is one delta deeper. So nothing may stand on that
        // yet, not even in the same pack: the next one may hold the record with a shorter chain.
        let entered: RefCell<HashSet<Hash>> = RefCell::default();
        for name in &with_deltas {
            writer.insert_some(&read_sealed(folder, *name)?, |entry| {
                let Some(base) = entry.header.base else {
                    return Ok(false);
                };
                let stands = !entered.borrow().contains(&base) && writer.has_record(&base)?;
                let fresh = stands && !writer.has_record(&entry.header.hash)?;
                if fresh {
                    entered.borrow_mut().insert(entry.header.hash);
                }
                Ok(fresh)
            })?;
        }
        let entered = entered.into_inner();
        if entered.is_empty() {
            return Ok(());
        }
    }
}

/// Where the chunks lie that deltas stand on, as the packs themselves say. Of several records of one chunk the one that
/// stands alone, else one with the shortest chain, so that no two of them can come to stand on each other.
fn bases(folder: &Path, names: &BTreeSet<Hash>) -> HashMap<Hash, Location> {
    let packs = || names.iter().filter_map(|name| read_sealed(folder, *name).ok());
    let needed: HashSet<Hash> = packs()
        .flat_map(|pack| pack.entries.into_iter().filter_map(|entry| entry.header.base))
        .collect();
    let mut found: HashMap<Hash, Location> = HashMap::new();
    let mut waiting: Vec<Location> = Vec::new();
    if needed.is_empty() {
        return found;
    }
    for location in packs().flat_map(|pack| locations(&pack)) {
        let hash = location.header.hash;
        match location.header.base {
            _ if !needed.contains(&hash) => {}
            None => drop(found.entry(hash).or_insert(location)),
            Some(_) => waiting.push(location),
        }
    }
    loop {
        waiting.retain(|location| !found.contains_key(&location.header.hash));
        let on_found = |location: &&Location| location.header.base.is_some_and(|base| found.contains_key(&base));
        let next: Vec<Location> = waiting.iter().filter(on_found).copied().collect();
        if next.is_empty() {
            break;
        }
        for location in next {
            found.entry(location.header.hash).or_insert(location);
        }
    }
    // What stands on nothing that is here is damaged, and is found to be so when it is read.
    for location in waiting {
        found.entry(location.header.hash).or_insert(location);
    }
    found
}

/// Describes files as they are met.
struct Describe<'a> {
    repository: &'a Repository,
    seen: HashSet<FileId>,
    waiting: Vec<(FileRecord, Vec<TensorRecord>)>,
    tensors: usize,
}

impl Visit for Describe<'_> {
    fn file(&mut self, _: NeededBy<'_>, entry: Entry) -> Result<(), Error> {
        if !self.seen.insert(entry.file) {
            return Ok(());
        }
        // What cannot be read is not described; the check that follows says so.
        let Ok(reader) = FileReader::open(self.repository.store(), entry.file) else {
            return Ok(());
        };
        let Ok(detected) = examine(&reader) else {
            return Ok(());
        };
        let known = describe_layout(detected);
        let manifest = reader.manifest();
        let record = known.record(entry.file, manifest.content, manifest.size);
        self.tensors += known.tensors.len();
        self.waiting.push((record, known.tensors));
        if self.waiting.len() >= BATCH || self.tensors >= BATCH_TENSORS {
            self.flush()?;
        }
        Ok(())
    }

    fn broken(&mut self, _: NeededBy<'_>, _: Kind, _: Hash, _: Error) -> Result<(), Error> {
        Ok(())
    }
}

impl Describe<'_> {
    fn flush(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        self.tensors = 0;
        self.repository.database().transaction(|writer| {
            for (record, tensors) in &waiting {
                writer.insert_file(record, tensors)?;
            }
            Ok(())
        })
    }
}

/// `wanted`, or that with the first free number behind it.
pub(super) fn free_name(wanted: &Path) -> PathBuf {
    let numbered = |number: u32| {
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!("-{number}"));
        PathBuf::from(name)
    };
    let taken = |path: &PathBuf| path.symlink_metadata().is_ok();
    std::iter::once(wanted.to_owned())
        .chain((2..).map(numbered))
        .find(|path| !taken(path))
        .unwrap_or_else(|| wanted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::database::Database;
    use crate::storage::{PackWriter, RecordHeader};

    fn chunk(number: u8) -> Hash {
        Kind::Chunk.hash(&[number])
    }

    /// A pack of chunks with what each stands on. What the payloads are does not matter to an index; `salt` gives the
    /// pack another name.
    fn pack(folder: &Path, records: &[(u8, Option<u8>)], salt: u8) -> Hash {
        let mut writer = PackWriter::create(folder).unwrap();
        for (number, base) in records.iter().copied().chain([(salt, None)]) {
            let header = RecordHeader {
                kind: Kind::Chunk,
                codec: if base.is_some() { Codec::Delta } else { Codec::Raw },
                raw_len: 1,
                encoded_len: 1,
                hash: chunk(number),
                base: base.map(chunk),
            };
            writer.append(header, &[number]).unwrap();
        }
        writer.finish().unwrap().seal(folder).unwrap().name
    }

    /// What numbers 0 to 9 stand on after both ways of choosing among the records of some packs.
    fn chosen(packs: &[&[(u8, Option<u8>)]], salt: u8) -> [Vec<Option<Hash>>; 2] {
        let folder = tempfile::tempdir().unwrap();
        let salts = salt..=u8::MAX;
        let names: BTreeSet<Hash> = packs
            .iter()
            .zip(salts)
            .map(|(records, salt)| pack(folder.path(), records, salt))
            .collect();
        let database = Database::open(&folder.path().join("db.sqlite")).unwrap();
        let entered: Result<(), Error> = database.transaction(|writer| enter_all(writer, folder.path(), &names));
        entered.unwrap();
        let found = bases(folder.path(), &names);
        let indexed = (0..10).map(|n| database.locate(&chunk(n)).unwrap().and_then(|found| found.header.base));
        let read = (0..10).map(|n| found.get(&chunk(n)).and_then(|found| found.header.base));
        [indexed.collect(), read.collect()]
    }

    #[test]
    fn of_several_records_the_one_with_the_shortest_chain_counts() {
        let long: &[(u8, Option<u8>)] = &[(0, None), (1, Some(0)), (2, Some(1)), (3, Some(2)), (4, Some(3))];
        let short: &[(u8, Option<u8>)] = &[(2, Some(0)), (3, Some(2)), (4, Some(0))];
        // Other names, so that each of the packs comes first sometimes.
        for salt in 100..110 {
            for chosen in chosen(&[long, short, &[(5, Some(4))]], salt) {
                assert_eq!(chosen[1], Some(chunk(0)));
                assert_eq!(chosen[2], Some(chunk(0)));
                assert_eq!(chosen[3], Some(chunk(2)));
                assert_eq!(chosen[4], Some(chunk(0)));
            }
        }
    }

    #[test]
    fn what_changed_places_does_not_stand_on_each_other() {
        let before: &[(u8, Option<u8>)] = &[(0, None), (1, Some(0)), (2, Some(1)), (3, Some(2))];
        let after: &[(u8, Option<u8>)] = &[(2, Some(0)), (1, Some(2)), (3, Some(1)), (0, None)];
        let centre: &[(u8, Option<u8>)] = &[(3, None), (0, Some(3)), (1, Some(3)), (2, Some(3))];
        for salt in 100..110 {
            for chosen in chosen(&[before, after], salt) {
                assert_eq!(chosen[..3], [None, Some(chunk(0)), Some(chunk(0))]);
            }
            for chosen in chosen(&[before, centre], salt) {
                assert_eq!((chosen[0], chosen[3]), (None, None));
            }
        }
    }
}
