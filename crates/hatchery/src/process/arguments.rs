//! What a process can be given for the argument of its function.

use std::path::{Path, PathBuf};

/// A value that is given to a process whose function takes an `A`.
///
/// It is the `A` itself, or borrowed text, bytes or a path for one that is owned: so
/// `Process::spawn(talk, "alex")` calls a `fn talk(name: String)`.
#[diagnostic::on_unimplemented(
    message = "a process whose function takes `{A}` cannot be given `{Self}`",
    note = "give it exactly what the function takes, as a tuple if that is several things"
)]
pub trait IntoArguments<A> {
    /// Makes the argument.
    fn into_arguments(self) -> A;
}

impl<A> IntoArguments<A> for A {
    fn into_arguments(self) -> A {
        self
    }
}

impl IntoArguments<String> for &str {
    fn into_arguments(self) -> String {
        self.to_owned()
    }
}

impl IntoArguments<PathBuf> for &Path {
    fn into_arguments(self) -> PathBuf {
        self.to_owned()
    }
}

impl<T: Clone> IntoArguments<Vec<T>> for &[T] {
    fn into_arguments(self) -> Vec<T> {
        self.to_vec()
    }
}
