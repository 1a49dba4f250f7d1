//! Where warnings go if the program has not said.

/// Writes warnings and errors to standard error, unless the program has set a subscriber.
///
/// A framework that stays silent when a worker dies helps nobody; a program that wants something
/// else sets its own subscriber before it runs a server, and in
/// [`worker_start`](crate::ServerBuilder::worker_start).
pub(crate) fn install_default() {
    if tracing::dispatcher::has_been_set() {
        return;
    }
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .finish();
    // Somebody may have been faster; then there is one, which is all that is wanted.
    let _set_before = tracing::subscriber::set_global_default(subscriber);
}
