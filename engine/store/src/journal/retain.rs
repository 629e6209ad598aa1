//! Removing what has been kept long enough.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::Timestamp;

use super::{Link, Position, line};

/// Segments whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outdated {
    paths: Vec<PathBuf>,
    /// What the journal begins after without them. To be kept before they are removed: it tells
    /// their absence from a theft.
    pub until: Link,
}

/// Finds the segments that were last written before a moment and lie wholly before what is
/// drained. None when there are none.
///
/// # Errors
/// When the folder or the first segment that stays cannot be read.
pub fn outdated(
    folder: &Path,
    drained: &Position,
    before: Timestamp,
) -> io::Result<Option<Outdated>> {
    let age = u64::try_from(before.millis()).unwrap_or(0);
    let before = SystemTime::UNIX_EPOCH + Duration::from_millis(age);
    let mut paths = Vec::new();
    for path in line::segments(folder)? {
        if line::name_of(&path) < drained.segment && fs::metadata(&path)?.modified()? < before {
            paths.push(path);
            continue;
        }
        let until = line::begins_after(&path)?;
        return Ok((!paths.is_empty()).then_some(Outdated { paths, until }));
    }
    // The segment that is being drained is gone: nothing can be said.
    Ok(None)
}

impl Outdated {
    /// Removes them. The chain goes on from the first segment that is left.
    ///
    /// # Errors
    /// When one cannot be removed; those before it are gone.
    pub fn remove(self) -> io::Result<()> {
        // From the oldest on, so that no gap is left whatever happens half way.
        self.paths.iter().try_for_each(|path| {
            match fs::remove_file(super::checkpoint::beside(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::remove_file(path)
        })
    }
}
