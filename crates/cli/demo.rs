//! `ezdfs demo`: the main job in one step, on the embedded default.

mod site;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ezdfs_config::{AccessLog, Environment, Loaded, Sources, load};
use ezdfs_core::{Error, ErrorKind, FilePath};
use ezdfs_migrate::{
    CancellationToken, Ending, Migration, Options, Place, Places, Side, SidePair, Summary, Symbol,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::context::{Context, Store, open_handlers};
use crate::out::Out;
use crate::outcome::{Failure, Outcome, Result, failure};
use crate::{say, serve, signals};

const AFTER: &str = "\
Unpacks a sample site that ezdfs carries, migrates it as `ezdfs migrate-files --from default,default
--to dfs,nfs` would, into SQLite and plain files, and serves it. URLs to open go to stdout, one per
line. No configuration is read. Everything is in one temporary directory, which is removed at the end
(Ctrl-C or SIGTERM) unless --keep or --data-dir is given.

Examples:
  ezdfs demo
  ezdfs demo --listen 127.0.0.1:0        any free port
  ezdfs demo --data-dir ./demo           again on the same directory: nothing is copied
  ezdfs --data-dir ./demo ls -lR         what it made, with every other command";

/// Where the sample site is unpacked, below the data directory.
const SITE: &str = "demo-site";
/// The journal of the migration, in the data directory.
const JOURNAL: &str = "demo-journal";

/// Migrate a sample site and serve it
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct DemoArgs {
    /// Address of the asset listener; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Keep the temporary data directory; its name is printed on stderr
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(args: DemoArgs, context: &Context) -> Result {
    let sources = context.sources();
    if sources.config.is_some() {
        return Err(failure(
            ErrorKind::Usage,
            "demo runs on the embedded default and reads no configuration: leave --config out",
        ));
    }
    can_listen(args.listen).await?;
    let home = Home::new(sources.data_dir.as_deref(), args.keep)?;
    let shown = show(&args, &home).await;
    let removed = block_in_place(|| home.close());
    let outcome = shown?;
    removed?;
    Ok(outcome)
}

/// Everything between making the data directory and removing it.
async fn show(args: &DemoArgs, home: &Home) -> Result {
    let loaded = settings(home.path())?;
    block_in_place(|| site::unpack(&default_root(&loaded)?))?;
    let started = Instant::now();
    let (store, summary) = migrate(&loaded).await?;
    tell(&summary, started.elapsed());
    say::note(&home.describe());

    let server = serve::bind(&store, args.listen, (Ipv4Addr::LOCALHOST, 0).into()).await?;
    if let Some(admin) = server.admin_address() {
        say::note(&format!("admin listener http://{admin}/"));
    }
    let base = serve::asset_url(&store, reachable(server.address()));
    let mut out = Out::new();
    for path in site::SHOWN {
        out.line(&url(&base, &path.parse()?))?;
    }
    out.flush()?;
    say::note("Open one of these. Ctrl-C ends the demo.");
    serve::until_signal(server, &store).await;
    Ok(Outcome::Done)
}

/// A port that is taken is told before anything is made.
async fn can_listen(address: SocketAddr) -> Result<(), Error> {
    TcpListener::bind(address).await.map(drop).map_err(|e| {
        let what = format!(
            "cannot listen on {address}; `ezdfs demo --listen 127.0.0.1:0` takes a free port"
        );
        Error::new(ErrorKind::Config, what).with_source(e)
    })
}

/// The data directory.
enum Home {
    Given(PathBuf),
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn new(given: Option<&Path>, keep: bool) -> Result<Self, Error> {
        if let Some(dir) = given {
            // The sample site must not get into a store with other files.
            if dir.join("ezdfs.db").exists() && !dir.join(SITE).exists() {
                let what = format!(
                    "{} holds a store that `ezdfs demo` did not make; name another directory with \
                     --data-dir",
                    dir.display()
                );
                return Err(Error::new(ErrorKind::Usage, what));
            }
            return Ok(Self::Given(dir.to_owned()));
        }
        let dir = tempfile::Builder::new().prefix("ezdfs-demo-").tempdir().map_err(|e| {
            let what = format!(
                "cannot make a directory in {}; name one with --data-dir",
                std::env::temp_dir().display()
            );
            Error::new(ErrorKind::Config, what).with_source(e)
        })?;
        Ok(if keep { Self::Kept(dir.keep()) } else { Self::Temporary(dir) })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(dir) | Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    fn describe(&self) -> String {
        let dir = self.path().display();
        match self {
            Self::Given(_) | Self::Kept(_) => format!("data directory {dir}"),
            Self::Temporary(_) => format!("data directory {dir}, removed at the end (else: --keep)"),
        }
    }

    /// Removes a temporary directory. Blocks.
    fn close(self) -> Result<(), Error> {
        let Self::Temporary(dir) = self else { return Ok(()) };
        let what = format!("cannot remove {}", dir.path().display());
        dir.close().map_err(|e| Error::new(ErrorKind::Unavailable, what).with_source(e))
    }
}

/// The embedded default in `data_dir`, whatever files and variables say, with the sample site behind
/// the handler `default`.
fn settings(data_dir: &Path) -> Result<Loaded, Error> {
    let sources = Sources {
        config: None,
        data_dir: Some(data_dir.to_owned()),
        env: Environment::default(),
        candidates: Vec::new(),
    };
    let mut loaded = load(&sources)?;
    loaded.settings.store.default_root =
        Some(loaded.data_dir.join(SITE).join("var/site/storage"));
    // stdout is for the URLs.
    loaded.settings.serve.access_log = AccessLog::Off;
    Ok(loaded)
}
