//! An error that a process can return.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What the function of a process returns whose errors go to whoever joins it.
///
/// See [`ChildError`].
pub type ChildResult<T = ()> = Result<T, ChildError>;

/// Any error of a process's function, as text that other processes can read.
///
/// `?` makes one of every error type, whatever it borrows; what it keeps are the words of the error
/// and of its causes. `join` then gives what the function returned, which is an error, so it takes a
/// second `?` to get at the value. A process that nobody joins tells nobody. It has returned either
/// way: its exit code is 0.
///
/// Like other errors that every error can become, it is not one itself; `?` makes a
/// `Box<dyn Error>` of it.
///
/// # Examples
///
/// ```no_run
/// use hatchery::{ChildResult, Process, Queue};
///
/// fn sum(queue: Queue<u32>) -> ChildResult<u32> {
///     let mut sum = 0;
///     for number in &queue {
///         sum += number?;
///     }
///     Ok(sum)
/// }
///
/// #[hatchery::main]
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let queue = Queue::bounded(3)?;
///     let process = Process::spawn(sum, queue.clone())?;
///     queue.put(40)?;
///     queue.put(2)?;
///     queue.close()?;
///     assert_eq!(process.join()??, 42);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildError {
    message: String,
    causes: Vec<String>,
}

impl ChildError {
    /// Makes an error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// Makes one of a boxed error, for `map_err`: the compiler allows no `?` there.
    #[must_use]
    #[expect(
        clippy::boxed_local,
        clippy::needless_pass_by_value,
        reason = "`map_err` gives it as it is"
    )]
    pub fn from_boxed<E: StdError + ?Sized>(error: Box<E>) -> Self {
        Self::of(&*error)
    }

    /// Lists the words of the error and of its causes, the error's own first.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        let causes = self.causes.iter().map(String::as_str);
        std::iter::once(self.message.as_str()).chain(causes)
    }

    fn of<E: StdError + ?Sized>(error: &E) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self {
            message: error.to_string(),
            causes: causes.map(ToString::to_string).collect(),
        }
    }

    fn into_link(self) -> Link {
        let causes = self.causes.into_iter().rev();
        let cause = causes.fold(None, |cause, message| {
            Some(Box::new(Link { message, cause }))
        });
        Link {
            message: self.message,
            cause,
        }
    }
}

impl<E: StdError> From<E> for ChildError {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

impl From<ChildError> for Box<dyn StdError> {
    fn from(error: ChildError) -> Self {
        Box::new(error.into_link())
    }
}

impl From<ChildError> for Box<dyn StdError + Send + Sync> {
    fn from(error: ChildError) -> Self {
        Box::new(error.into_link())
    }
}

/// The error and its causes, on one line.
impl fmt::Display for ChildError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        let mut said = &self.message;
        for cause in &self.causes {
            // Some errors say what their cause says.
            if !said.ends_with(cause.as_str()) {
                write!(formatter, ": {cause}")?;
            }
            said = cause;
        }
        Ok(())
    }
}

/// A [`ChildError`] as an error with its causes.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Link {
    message: String,
    #[source]
    cause: Option<Box<Self>>,
}

#[cfg(test)]
mod tests {
    use std::num::ParseIntError;

    use super::*;
    use crate::error::with_causes;
    use crate::{Lock, Queue};

    #[derive(Debug, thiserror::Error)]
    #[error("the second field is wrong")]
    struct FieldError(#[source] ParseIntError);

    fn fails() -> ChildResult<u32> {
        Ok("x".parse().map_err(FieldError)?)
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = fails().unwrap_err();

        let words = ["the second field is wrong", "invalid digit found in string"];
        assert!(error.chain().eq(words));
        assert_eq!(error.to_string(), words.join(": "));
    }

    #[test]
    fn an_error_is_the_same_when_it_has_been_sent() {
        let error = fails().unwrap_err();
        let bytes = postcard::to_stdvec(&error).unwrap();

        let received: ChildError = postcard::from_bytes(&bytes).unwrap();

        assert_eq!(received, error);
    }

    #[test]
    fn a_boxed_one_has_its_causes_and_comes_back() {
        let error = fails().unwrap_err();

        let boxed: Box<dyn StdError + Send + Sync> = error.clone().into();

        assert_eq!(with_causes(&*boxed), error.to_string());
        assert_eq!(ChildError::from_boxed(boxed), error);
    }

    #[test]
    fn what_repeats_its_cause_is_told_once() {
        let cause = std::io::Error::other("no room");
        let wrapped = crate::GetError::Os(cause);
        let twice = std::io::Error::other(wrapped);

        assert_eq!(
            ChildError::from(twice).to_string(),
            "the kernel refused: no room"
        );
    }

    #[test]
    fn errors_that_borrow_or_hold_an_item_become_one() {
        fn locks(lock: &Lock) -> ChildResult {
            let _held = lock.lock()?;
            let _not_held = lock.try_lock()?;
            Ok(())
        }
        fn puts(queue: &Queue<String>) -> ChildResult {
            queue.put("first".to_owned())?;
            queue.try_put("second".to_owned())?;
            Ok(())
        }
        let lock = Lock::new().unwrap();

        let errors = [locks(&lock), puts(&Queue::bounded(1).unwrap())].map(Result::unwrap_err);

        let words = ["the lock is held by another", "the queue is full"];
        assert_eq!(errors, words.map(ChildError::new));
        assert!(!lock.is_locked());
    }
}
