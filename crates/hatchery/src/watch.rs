//! Watching a descriptor of our own with tokio.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How often to look where there is no descriptor left to be told by.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Registers `source` with the runtime, to be told when it is readable.
///
/// # Errors
///
/// Returns the error of `epoll_ctl(2)`.
pub(crate) fn watch<T: AsFd + AsRawFd>(source: T) -> io::Result<AsyncFd<T>> {
    watch_for(source, Interest::READABLE)
}

/// As [`watch`], to be told of what `interest` says.
pub(crate) fn watch_for<T: AsFd + AsRawFd>(
    source: T,
    interest: Interest,
) -> io::Result<AsyncFd<T>> {
    register(source, interest).map_err(|(_, error)| error)
}

/// As [`watch`]; an error comes with `source`.
pub(crate) fn watch_or_return<T: AsFd + AsRawFd>(source: T) -> Result<AsyncFd<T>, (T, io::Error)> {
    register(source, Interest::READABLE)
}

fn register<T: AsFd + AsRawFd>(
    source: T,
    interest: Interest,
) -> Result<AsyncFd<T>, (T, io::Error)> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of sources that do not own their \
                  descriptor; `AsFd` makes this one own it or borrow it for as long"
    )]
    let registered = AsyncFd::try_with_interest(source, interest);
    registered.map_err(tokio::io::unix::AsyncFdRegisterError::into_parts)
}

/// Waits until `source` may be readable. What happened before counts as well.
///
/// A different descriptor tells of a child's end once the fork server has died, so each wait
/// registers anew: there are two or three in the life of a process.
pub(crate) async fn readable(source: Option<BorrowedFd<'_>>) {
    let watched = source.map(|source| source.try_clone_to_owned().and_then(watch));
    match watched {
        Some(Ok(watched)) => {
            let _shut_down = watched.readable().await;
        }
        _ => tokio::time::sleep(LOOK).await,
    }
}
