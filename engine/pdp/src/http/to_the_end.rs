//! Work that is done to its end, whether or not the client waits.
//!
//! A request whose client hangs up is dropped where it stands. What has been made durable by then
//! and is not yet in memory would have no effect until the next start; so whatever writes goes on
//! in a task of its own then.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;

use super::Problem;
use super::oauth::error::OAuthError;

/// The work broke off, and may be half done. To send it again is right for all that is done so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokeOff;

const AGAIN: &str = "the work broke off and may not be done; send it again";

impl From<BrokeOff> for Problem {
    fn from(_: BrokeOff) -> Self {
        Self::unavailable(AGAIN)
    }
}

impl From<BrokeOff> for OAuthError {
    fn from(_: BrokeOff) -> Self {
        Self::unavailable(AGAIN)
    }
}

/// Does it. `what` is for the log.
///
/// # Errors
/// When it broke off.
pub(crate) async fn to_the_end<T: Send + 'static>(
    what: &'static str,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, BrokeOff> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let done = ToTheEnd(Some(Box::pin(work))).await;
    done.map_err(|_| {
        // What it panicked with is in the log already.
        tracing::error!(what, "work broke off");
        BrokeOff
    })
}

/// Work that goes on in a task of its own once nobody waits for it here. Nearly always somebody
/// does, and then it costs no task: decisions in sessions are made in this way.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else {
            // Nobody polls what is done.
            return Poll::Pending;
        };
        let done = work.as_mut().poll(context);
        if done.is_ready() {
            self.0 = None;
        }
        done
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_is_begun_is_done_though_nobody_waits_and_a_fault_is_no_end_of_the_engine() {
        let (begun, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = {
            let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
            async move {
                begun.notify_one();
                tokio::time::sleep(Duration::from_millis(20)).await;
                done.notify_one();
            }
        };
        tokio::select! {
            _ = to_the_end("a test", work) => panic!("it takes longer than its beginning"),
            () = begun.notified() => {}
        }
        done.notified().await;
        let broken: Result<(), BrokeOff> = to_the_end("a test", async { panic!("broken") }).await;
        assert_eq!(broken, Err(BrokeOff));
    }
}
