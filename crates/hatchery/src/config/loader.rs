//! Which sources are read, and which of them has the last word.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use super::environment;
use super::error::ConfigError;
use super::file::{self, Assignment};
use super::given::{Form, Given};
use super::key::{ConfigKey, ValueKind};
use super::origin::Origin;
use super::unknown::find_key;

/// The configuration file that is read if it exists.
const DEFAULT_FILE: &str = "hatchery.toml";

/// Collects the sources of a configuration and reads them.
///
/// Flags win over the environment, that over files, and those over the defaults, in whatever
/// order they were added. Among files and among variables a later one wins.
///
/// # Examples
///
/// ```
/// use hatchery::Config;
///
/// let config = Config::loader()
///     .text("hatchery.toml", "server.backlog = 64")
///     .environment([("HATCHERY_SERVER_BACKLOG".into(), "128".into())])
///     .load()?;
/// assert_eq!(config.server.backlog.get(), 128);
/// # Ok::<(), hatchery::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConfigLoader {
    documents: Vec<Document>,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<Flag>,
}

#[derive(Clone, Debug)]
enum Document {
    File(PathBuf),
    DefaultFile,
    Text { name: PathBuf, text: String },
}

#[derive(Clone, Debug)]
struct Flag {
    name: String,
    key: String,
    value: String,
}

impl ConfigLoader {
    /// Adds the file at `path`, which must exist.
    ///
    /// # Default
    ///
    /// No file is read.
    pub fn file(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.documents.push(Document::File(path.into()));
        self
    }

    /// Adds the file that `HATCHERY_CONFIG` names, else `hatchery.toml` in the working directory.
    ///
    /// `HATCHERY_CONFIG` counts only if it is in the variables given to
    /// [`ConfigLoader::environment`], and not if it is empty. The file that it names must exist;
    /// `hatchery.toml` need not.
    ///
    /// # Default
    ///
    /// No file is read.
    pub fn default_file(&mut self) -> &mut Self {
        self.documents.push(Document::DefaultFile);
        self
    }

    /// Adds a text as if it were read from a file called `name`.
    ///
    /// # Default
    ///
    /// No file is read.
    pub fn text(&mut self, name: impl Into<PathBuf>, text: impl Into<String>) -> &mut Self {
        self.documents.push(Document::Text {
            name: name.into(),
            text: text.into(),
        });
        self
    }

    /// Adds environment variables, such as those of [`std::env::vars_os`].
    ///
    /// Those that begin with `HATCHERY_` must name a key, or the file as `HATCHERY_CONFIG` does;
    /// those that begin with `HATCHERY_TEST_` are left to tests. A list is separated by commas.
    ///
    /// # Default
    ///
    /// No variable is read, not even of this process.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> &mut Self {
        self.environment.extend(variables);
        self
    }

    /// Adds the value of a command-line flag, such as `--workers`, for `key`.
    ///
    /// Several values for a key that is a list make the list. For any other key the last one wins.
    ///
    /// # Default
    ///
    /// No flag is given.
    pub fn flag(
        &mut self,
        flag: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> &mut Self {
        self.flags.push(Flag {
            name: flag.into(),
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Reads the sources.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Unreadable`] and [`ConfigError::Syntax`] for a file,
    /// [`ConfigError::UnknownSection`], [`ConfigError::UnknownKey`] and
    /// [`ConfigError::UnknownVariable`] for a name that is none, [`ConfigError::NotUtf8`] and
    /// [`ConfigError::Invalid`] for a value, even one that another source would replace, and
    /// [`ConfigError::Conflict`] for two values that exclude each other.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for document in &self.documents {
            assign(&mut config, self.read(document)?)?;
        }
        assign(&mut config, environment::read(&self.environment)?)?;
        assign(&mut config, self.read_flags()?)?;
        config.check_conflicts()?;
        config.loader = Some(Arc::new(self.clone()));
        Ok(config)
    }

    fn read(&self, document: &Document) -> Result<Vec<Assignment>, ConfigError> {
        match document {
            Document::Text { name, text } => file::read(name, text),
            Document::File(path) => read_file(path, None),
            Document::DefaultFile => self.read_default_file(),
        }
    }

    fn read_default_file(&self) -> Result<Vec<Assignment>, ConfigError> {
        if let Some(path) = environment::file(&self.environment) {
            return read_file(Path::new(path), Some(environment::FILE_VARIABLE));
        }
        match read_file(Path::new(DEFAULT_FILE), None) {
            Err(ConfigError::Unreadable { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Vec::new())
            }
            result => result,
        }
    }

    fn read_flags(&self) -> Result<Vec<Assignment>, ConfigError> {
        let mut assignments: Vec<Assignment> = Vec::new();
        for flag in &self.flags {
            let origin = Origin::Flag(flag.name.clone());
            let key = find_key(&flag.key, &origin)?;
            let given = Given::untyped(origin, &flag.value);
            let earlier = assignments
                .iter_mut()
                .find(|(other, _)| other.path() == key.path());
            match earlier {
                Some((_, earlier)) => repeat(earlier, given),
                None => assignments.push((key, first(key, given))),
            }
        }
        Ok(assignments)
    }
}

fn read_file(path: &Path, variable: Option<&'static str>) -> Result<Vec<Assignment>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        variable,
        source,
    })?;
    file::read(path, &text)
}

fn assign(config: &mut Config, assignments: Vec<Assignment>) -> Result<(), ConfigError> {
    assignments
        .into_iter()
        .try_for_each(|(key, given)| config.assign(key, &given))
}

/// Makes a list of the first value for a key that is one.
fn first(key: &ConfigKey, given: Given) -> Given {
    if key.kind() != ValueKind::Addresses {
        return given;
    }
    Given {
        origin: given.origin.clone(),
        form: Form::List(vec![given]),
    }
}

/// Adds a value to a list, or replaces what is not a list.
fn repeat(earlier: &mut Given, given: Given) {
    match &mut earlier.form {
        Form::List(members) => members.push(given),
        _ => *earlier = given,
    }
}
