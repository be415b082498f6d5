//! Finding the file and the data directory, and reading them together with the environment.

use std::collections::BTreeMap;
use std::io::{ErrorKind as IoKind, Read as _};
use std::path::{Path, PathBuf};

use ezdfs_core::Error;

use crate::env::{Environment, overlay};
use crate::problem::{Place, Problem, Problems};
use crate::reader::Reader;
use crate::secret::{Hidden, Secret};
use crate::settings::Settings;
use crate::tree::{Node, Origin, Table, Value};
use crate::{read, tree};

/// Variable that names the file.
pub const CONFIG_VARIABLE: &str = "EZDFS_CONFIG";
/// Variable that names the data directory.
pub const DATA_DIR_VARIABLE: &str = "EZDFS_DATA_DIR";
/// Data directory when neither option nor variable names one.
pub const DEFAULT_DATA_DIR: &str = "./ezdfs-data";
/// Where a file is looked for when neither option nor variable names one; the first one counts.
pub const CANDIDATES: [&str; 2] = ["./ezdfs.toml", "/etc/ezdfs/ezdfs.toml"];

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The handlers of an installation without configuration: both in the data directory.
const BUILT_IN: [(&str, &str, &str); 2] =
    [("metadata_handlers", "dfs", "sqlite:ezdfs.db"), ("binarydata_handlers", "nfs", "file:files")];

/// Where to look.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// The environment.
    pub env: Environment,
    /// Files to try when none is named.
    pub candidates: Vec<PathBuf>,
}

impl Sources {
    /// The options given, the environment of this process and [`CANDIDATES`].
    #[must_use]
    pub fn of_process(config: Option<PathBuf>, data_dir: Option<PathBuf>) -> Self {
        Self {
            config,
            data_dir,
            env: Environment::of_process(),
            candidates: CANDIDATES.map(PathBuf::from).to_vec(),
        }
    }
}

/// Settings, and where they come from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// The data directory. Absolute; it need not exist.
    pub data_dir: PathBuf,
    pub(crate) origins: BTreeMap<String, Origin>,
    /// Where secrets may be.
    pub(crate) env: Environment,
}

impl Loaded {
    /// The value of a secret, from the environment that the settings were loaded in.
    ///
    /// # Errors
    /// As [`Secret::resolve`].
    pub fn reveal(&self, secret: &Secret) -> Result<Hidden, Error> {
        secret.resolve(&self.env)
    }

    /// Where a dotted key was set.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }

    /// A problem with a key, at the place where it was set.
    #[must_use]
    pub fn problem(
        &self,
        key: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Problem {
        let place = Reader::new(self.file.clone()).place(&self.origin(key));
        Problem { place, key: key.to_owned(), message: message.into(), fix: fix.into() }
    }

    /// Puts place and key of a setting before an error that it caused.
    #[must_use]
    pub fn at(&self, key: &str, e: Error) -> Error {
        e.context(format_args!("{}: `{key}`", self.problem(key, "", "").place))
    }
}

/// Finds the file, lays the environment over it, reads and validates everything.
///
/// # Errors
/// Every problem that was found; as [`ezdfs_core::Error`] its kind is `Config`.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let data_dir = data_dir(sources)?;
    let (file, mut root) = match find(sources)? {
        Some((path, text)) => {
            let root = tree::parse(&text, &path).map_err(Problems)?;
            (Some(path), root)
        }
        None => (None, Table::new()),
    };
    let mut r = Reader::new(file.clone());
    add_built_in(&mut root);
    overlay(&mut root, &sources.env, &mut r);
    let settings = read::settings(root, &data_dir, &mut r);
    if r.problems.is_empty() {
        Ok(Loaded { settings, file, data_dir, origins: r.origins, env: sources.env.clone() })
    } else {
        Err(Problems(r.problems))
    }
}

fn data_dir(sources: &Sources) -> Result<PathBuf, Problem> {
    let (place, dir) = match (&sources.data_dir, sources.env.get_non_empty(DATA_DIR_VARIABLE)) {
        (Some(dir), _) => (Place::Option("--data-dir"), dir.clone()),
        (None, Some(dir)) => (Place::Env(DATA_DIR_VARIABLE.to_owned()), PathBuf::from(dir)),
        (None, None) => (Place::Defaults, PathBuf::from(DEFAULT_DATA_DIR)),
    };
    std::path::absolute(dir).map_err(|e| Problem {
        place,
        key: String::new(),
        message: format!("not a data directory: {e}"),
        fix: "name a directory with --data-dir".to_owned(),
    })
}

/// The file and its text; `None` when there is no file and none was named.
fn find(sources: &Sources) -> Result<Option<(PathBuf, String)>, Problem> {
    let named = match (&sources.config, sources.env.get_non_empty(CONFIG_VARIABLE)) {
        (Some(path), _) => Some((Place::Option("--config"), path.clone())),
        (None, Some(path)) => Some((Place::Env(CONFIG_VARIABLE.to_owned()), PathBuf::from(path))),
        (None, None) => None,
    };
    if let Some((place, path)) = named {
        let text = read_file(&path).map_err(|e| Problem {
            place,
            key: String::new(),
            message: format!("{} cannot be read: {e}", path.display()),
            fix: "name a file that exists and that this user may read".to_owned(),
        })?;
        return Ok(Some((path, text)));
    }
    for path in &sources.candidates {
        match read_file(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(e) if e.kind() == IoKind::NotFound => {}
            Err(e) => {
                return Err(Problem {
                    place: Place::File { path: path.clone(), line: 0 },
                    key: String::new(),
                    message: format!("the file cannot be read: {e}"),
                    fix: "correct its permissions, or name another file with --config".to_owned(),
                });
            }
        }
    }
    Ok(None)
}

fn read_file(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(std::io::Error::other("more than 1 MiB: this is no configuration"));
    }
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
}

/// Adds the built-in handler to each section that the file leaves out.
fn add_built_in(root: &mut Table) {
    let node = |value| Node { value, origin: Origin::Default, raw: None };
    for (section, name, url) in BUILT_IN {
        if !root.iter().any(|(key, _)| key == section) {
            let url = ("url".to_owned(), node(Value::String(url.to_owned())));
            let handler = (name.to_owned(), node(Value::Table(vec![url])));
            root.push((section.to_owned(), node(Value::Table(vec![handler]))));
        }
    }
}
