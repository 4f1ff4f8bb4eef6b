//! Who this peer is: an Ed25519 key in the user's own folder. Whoever reads it can pretend to be this peer, so nobody
//! else may.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use libp2p::PeerId;
use libp2p::identity::Keypair;

use crate::Error;

/// The file in the user's folder that holds the key, in libp2p's own encoding.
const FILE: &str = "identity.key";

/// The longest encoding of a key.
const MAX_LEN: u64 = 4096;

/// This peer's key.
#[derive(Clone, Debug)]
pub struct Identity(Keypair);

impl Identity {
    /// The key in the folder `home`, made when there is none: the folder with mode 0700, the file with 0600.
    ///
    /// # Errors
    /// [`Error::LooseKey`] when others may read the file, or write to the folder; when it cannot be read or made.
    pub fn load_or_create(home: &Path) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(home);
        made.map_err(Error::io("create", home))?;
        let path = home.join(FILE);
        match Self::load(home, &path) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Self::create(home, &path)?;
                // Another process may have been faster: what lies there now is the key.
                Self::load(home, &path)
            }
            other => other,
        }
    }

    fn load(home: &Path, path: &Path) -> Result<Self, Error> {
        let metadata = path.symlink_metadata().map_err(Error::io("read", path))?;
        check_mode(path, metadata.mode(), 0o077)?;
        let folder = home.metadata().map_err(Error::io("read", home))?;
        // Whoever may write to the folder may put another key there.
        check_mode(home, folder.mode(), 0o022)?;
        if metadata.len() > MAX_LEN {
            return Err(Error::BadKey(path.to_owned()));
        }
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let key = Keypair::from_protobuf_encoding(&bytes).map_err(|_| Error::BadKey(path.to_owned()))?;
        Ok(Self(key))
    }

    fn create(home: &Path, path: &Path) -> Result<(), Error> {
        let key = Keypair::generate_ed25519();
        let bytes = key.to_protobuf_encoding().map_err(|_| Error::BadKey(path.to_owned()))?;
        let aside = home.join(format!(".{FILE}.{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&aside)?;
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // A link fails where a file is, so that no key ever replaces another.
            let linked = fs::hard_link(&aside, path);
            fs::remove_file(&aside)?;
            match linked {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                other => other,
            }
        };
        write().map_err(Error::io("write", path))
    }

    /// A key that is not kept.
    pub fn passing() -> Self {
        Self(Keypair::generate_ed25519())
    }

    /// The peer's id (`12D3KooW...`).
    pub fn peer(&self) -> PeerId {
        self.0.public().to_peer_id()
    }

    pub(crate) fn keypair(&self) -> Keypair {
        self.0.clone()
    }
}

fn check_mode(path: &Path, mode: u32, forbidden: u32) -> Result<(), Error> {
    if mode & forbidden == 0 {
        Ok(())
    } else {
        Err(Error::LooseKey {
            path: path.to_owned(),
            mode: mode & 0o777,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("fai");
        let first = Identity::load_or_create(&home).unwrap();
        assert_eq!(first.peer(), Identity::load_or_create(&home).unwrap().peer());
        assert!(first.peer().to_string().starts_with("12D3KooW"));
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&home), mode(&home.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("fai");
        Identity::load_or_create(&home).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(home.join(FILE), fs::Permissions::from_mode(mode)).unwrap();
            let refused = Identity::load_or_create(&home);
            assert!(matches!(refused, Err(Error::LooseKey { .. })), "{mode:o}");
        }
        fs::set_permissions(home.join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Identity::load_or_create(&home), Err(Error::LooseKey { .. })));
    }

    #[test]
    fn what_is_no_key_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("fai");
        Identity::load_or_create(&home).unwrap();
        fs::write(home.join(FILE), b"not a key").unwrap();
        assert!(matches!(Identity::load_or_create(&home), Err(Error::BadKey(_))));
        assert_eq!(fs::read(home.join(FILE)).unwrap(), b"not a key");
    }
}
