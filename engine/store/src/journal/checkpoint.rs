//! Checkpoints beside the segments: the last one of each, in a file of its own. What is in it is
//! a text that the service has signed and that is not understood here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest text of a checkpoint, bytes.
const TEXT_MAX: u64 = 16 << 10;

/// The file beside a segment.
pub(super) fn beside(segment: &Path) -> PathBuf {
    segment.with_extension("checkpoint")
}

/// Keeps a segment's last checkpoint. Durable when it returns, and whole at every moment.
///
/// # Errors
/// When it could not be made durable.
pub fn keep_checkpoint(folder: &Path, segment: &str, signed: &str) -> io::Result<()> {
    let name = Path::new(segment);
    if name.components().count() != 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no segment"));
    }
    let path = beside(&folder.join(name));
    let draft = folder.join("checkpoint.new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{signed}")?;
    file.sync_all()?;
    fs::rename(&draft, &path)?;
    File::open(folder)?.sync_all()
}

/// The checkpoints beside the segments, in their order.
///
/// # Errors
/// When one cannot be read.
pub fn checkpoints(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "checkpoint")
        {
            let read = File::open(&path).and_then(|file| {
                let mut text = Vec::new();
                file.take(TEXT_MAX).read_to_end(&mut text)?;
                Ok(text)
            });
            match read {
                Ok(text) => all.push((path, String::from_utf8_lossy(&text).trim().to_owned())),
                // Its segment's time was over while this went on.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    all.sort();
    Ok(all)
}
