//! From which file this program was started, and with which arguments.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What was found out when the program began.
static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();

/// Remembers the file of this program, which may be replaced while it runs.
///
/// The first call counts.
pub(crate) fn remember_program() {
    let _known = PROGRAM.set(find_program());
}

/// The file from which this program was started, where its next version is by now.
pub(super) fn program() -> io::Result<PathBuf> {
    let known = PROGRAM.get_or_init(find_program).clone();
    known.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Prepares to run `program` with the arguments and the environment of this one.
pub(super) fn command(program: &Path) -> Command {
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments);
    // The watchdog is the next main process's then; of what was passed to this one it gets its own.
    for name in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
    command
}

/// Finds the path by which this program was called; it may be a link that leads elsewhere by and by.
fn find_program() -> Option<PathBuf> {
    let running = env::current_exe().ok();
    let named = env::args_os().next().and_then(find_named);
    let is_running = |path: &PathBuf| is_same_file(path, Path::new("/proc/self/exe"));
    named.filter(is_running).or(running)
}

fn find_named(name: OsString) -> Option<PathBuf> {
    if name.to_string_lossy().contains('/') {
        return std::path::absolute(name).ok();
    }
    let folders = env::var_os("PATH")?;
    let paths = env::split_paths(&folders).map(|folder| folder.join(&name));
    let path = paths.into_iter().find(|path| path.is_file())?;
    std::path::absolute(path).ok()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_by_the_name_by_which_it_was_called() {
        let found = find_program().unwrap();

        assert!(found.is_absolute());
        assert!(is_same_file(&found, Path::new("/proc/self/exe")));
        assert_eq!(find_named("sh".into()).unwrap().file_name().unwrap(), "sh");
        assert!(find_named("no-such-program-anywhere".into()).is_none());
    }
}
