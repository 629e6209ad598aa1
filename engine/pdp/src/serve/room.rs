//! How many connections there is room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;

/// File descriptors that connections must leave: for the journal, the store, and what a reload
/// reads. Half of them where there are fewer than twice as many.
const DESCRIPTORS_KEPT: u64 = 128;

/// How many connections may be open: as many as are set, if there are file descriptors for them.
/// Takes what the system grants for that.
pub(super) fn room(wanted: usize) -> usize {
    let wanted = wanted.min(Semaphore::MAX_PERMITS);
    let limit = getrlimit(Resource::Nofile);
    let (mut now, most) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    let needed = (wanted as u64).saturating_add(DESCRIPTORS_KEPT).min(most);
    if needed > now {
        let raised = Rlimit {
            current: Some(needed),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => now = needed,
            Err(error) => tracing::warn!(%error, "the limit of open files could not be raised"),
        }
    }
    let granted = wanted.min(left_for_connections(now));
    if granted < wanted {
        tracing::warn!(
            granted,
            wanted,
            open_files = now,
            "fewer connections than `limits.connections`: raise the limit of open files (ulimit -n)"
        );
    }
    granted
}

/// What connections may take of so many file descriptors.
fn left_for_connections(descriptors: u64) -> usize {
    let left = descriptors - DESCRIPTORS_KEPT.min(descriptors / 2);
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_engine() {
        for (descriptors, left) in [
            (0, 1),
            (1, 1),
            (100, 50),
            (256, 128),
            (1024, 896),
            (20_000, 19_872),
        ] {
            assert_eq!(left_for_connections(descriptors), left, "{descriptors}");
        }
    }
}
