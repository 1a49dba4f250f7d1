//! The file in which a manager's state outlives its process.
//!
//! A mark, a version, a length and a checksum, then postcard. It is written beside its place and
//! renamed into it, so that there is always one whole snapshot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::SnapshotError;
use super::protocol::decode;
use super::store::Image;

/// What a snapshot starts with.
const MARK: [u8; 8] = *b"HatchMgr";

/// The version of the format, which is that of [`Image`].
const VERSION: u32 = 1;

/// Mark, version, length and checksum.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;

/// Encodes a snapshot, as [`write`] takes it.
pub(super) fn encode(image: &Image) -> Vec<u8> {
    let body = postcard::to_stdvec(image).expect("an image holds nothing that has no bytes");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&MARK);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&Sha256::digest(&body));
    bytes.extend_from_slice(&body);
    bytes
}

/// Decodes a snapshot.
pub(super) fn parse(bytes: &[u8]) -> Result<Image, SnapshotError> {
    let (mark, rest) = bytes
        .split_first_chunk()
        .ok_or(SnapshotError::NotSnapshot)?;
    if *mark != MARK {
        return Err(SnapshotError::NotSnapshot);
    }
    let too_short = SnapshotError::Length {
        found: bytes.len() as u64,
        expected: HEADER_BYTES as u64,
    };
    let (version, rest) = rest.split_first_chunk().ok_or(too_short.clone())?;
    let found = u32::from_le_bytes(*version);
    if found != VERSION {
        let known = VERSION;
        return Err(SnapshotError::Version { found, known });
    }
    let (length, rest) = rest.split_first_chunk().ok_or(too_short.clone())?;
    let (checksum, body) = rest.split_first_chunk::<32>().ok_or(too_short)?;
    let length = u64::from_le_bytes(*length);
    if length != body.len() as u64 {
        return Err(SnapshotError::Length {
            found: bytes.len() as u64,
            expected: length.saturating_add(HEADER_BYTES as u64),
        });
    }
    if Sha256::digest(body)[..] != checksum[..] {
        return Err(SnapshotError::Checksum);
    }
    decode(body).map_err(|_| SnapshotError::Contents)
}

/// Reads the snapshot at `path`; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Image>, SnapshotError> {
    match fs::read(path) {
        Ok(bytes) => parse(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SnapshotError::Os(error.to_string())),
    }
}

/// Writes `bytes` to `path`, whole or not at all, for this user alone to read.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), SnapshotError> {
    replace(path, bytes).map_err(|error| SnapshotError::Os(error.to_string()))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    // What a writer that was killed has left; it may belong to anybody, so it is not written to.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");

        write(&path, &encode(&Image::default())).unwrap();

        assert_eq!(read(&path), Ok(Some(Image::default())));
        let files = fs::read_dir(folder.path()).unwrap();
        assert_eq!(files.count(), 1, "nothing stays beside it");
    }

    #[test]
    fn no_snapshot_is_no_error() {
        let folder = tempfile::tempdir().unwrap();

        assert_eq!(read(&folder.path().join("state")), Ok(None));
    }

    #[test]
    fn whatever_byte_is_changed_or_missing_is_noticed() {
        let whole = encode(&Image::default());
        assert!(parse(&whole).is_ok());

        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(parse(&changed).is_err(), "byte {place} changed");
            assert!(parse(&whole[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut other = encode(&Image::default());
        other[8] = 9;

        let outcome = parse(&other);

        let (found, known) = (9, VERSION);
        assert_eq!(outcome, Err(SnapshotError::Version { found, known }));
    }
}
