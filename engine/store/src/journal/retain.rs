//! Removing what has been kept long enough.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use domain::Timestamp;

use super::{Position, line};

/// Removes whole segments that were last written before a moment and lie wholly before what is
/// drained. Returns how many. The chain goes on from the first segment that is left.
///
/// # Errors
/// When the folder cannot be read or a segment cannot be removed; those before it are gone.
pub fn remove_older(folder: &Path, drained: &Position, before: Timestamp) -> io::Result<usize> {
    let age = u64::try_from(before.millis()).unwrap_or(0);
    let before = SystemTime::UNIX_EPOCH + Duration::from_millis(age);
    let mut removed = 0;
    // From the oldest on, so that no gap is left whatever happens half way.
    for path in line::segments(folder)? {
        if line::name_of(&path) >= drained.segment || fs::metadata(&path)?.modified()? >= before {
            break;
        }
        fs::remove_file(&path)?;
        removed += 1;
    }
    Ok(removed)
}
