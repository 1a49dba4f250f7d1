//! A listener beside those of the server, and the task that serves it.

use std::future::Future;

use tokio::task::AbortHandle;

use super::listener::Listener;

/// A listener and the task that serves it; both end with this.
#[derive(Debug, Default)]
pub(crate) struct Served {
    listener: Option<Listener>,
    task: Option<AbortHandle>,
}

impl Served {
    /// Has a listener that nobody here serves yet.
    pub(crate) fn new(listener: Listener) -> Self {
        Self {
            listener: Some(listener),
            task: None,
        }
    }

    /// Has `task` serve it from now on.
    pub(crate) fn begin(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.task = Some(tokio::spawn(task).abort_handle());
    }

    pub(crate) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// Owns the listener's file from now on, if it has one.
    pub(super) fn claim_file(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.claim_file();
        }
    }

    /// Leaves the listener to another program, which has it and its file from now on.
    pub(super) fn leave(&mut self) {
        if let Some(listener) = &mut self.listener {
            listener.leave_file();
        }
        *self = Self::default();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
