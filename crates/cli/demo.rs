//! `ezdfs demo`: the main job in one step, on the embedded default.

mod site;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ezdfs_config::{AccessLog, Environment, Loaded, Sources, load};
use ezdfs_core::{Error, ErrorKind, FilePath};
use ezdfs_migrate::{CancellationToken, Ending, Migration, Options, SidePair, Summary, Symbol};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::context::Context;
use crate::migrate::side;
use crate::notify::{Notify, Sockets};
use crate::out::Out;
use crate::outcome::{Failure, Outcome, Result, failure};
use crate::serve::Addresses;
use crate::{say, serve, signals, size};

const AFTER: &str = "\
Unpacks a sample site that ezdfs carries, migrates it as `ezdfs migrate-files --from default,default
--to dfs,nfs` would, into SQLite and plain files, and serves it. URLs to open go to stdout, one per
line. No configuration file and no EZDFS_ variable is read. Everything is in one temporary directory,
which is removed at the end (Ctrl-C or SIGTERM) unless --keep or --data-dir is given.

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
    // From here on a signal ends the demo in an orderly way, and nothing is left behind.
    let signal = signals::shutdown();
    let home = Home::new(sources.data_dir.as_deref(), args.keep)?;
    let shown = show(&args, context, &home, signal).await;
    let removed = block_in_place(|| home.close());
    let outcome = shown?;
    removed?;
    Ok(outcome)
}

/// Everything between making the data directory and removing it.
async fn show(
    args: &DemoArgs,
    context: &Context,
    home: &Home,
    signal: impl Future<Output = ()>,
) -> Result {
    let mut signal = std::pin::pin!(signal);
    let (loaded, root) = settings(home.path())?;
    block_in_place(|| site::unpack(&root))?;
    migrate(&loaded, &mut signal).await?;
    say::note(&home.describe());

    let mut store = context.open_loaded(&loaded).await?;
    let _follower = serve::follow(&mut store)?;
    let addresses = Addresses { assets: args.listen, admin: (Ipv4Addr::LOCALHOST, 0).into() };
    let server = serve::bind(&store, addresses, Sockets::default(), None, &[]).await?;
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
    serve::until(server, &[&store], signal, &Notify::of_process()).await;
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
            Self::Temporary(_) => {
                format!("data directory {dir}, removed at the end (else: --keep)")
            }
        }
    }

    /// Removes a temporary directory. Blocks.
    fn close(self) -> Result<(), Error> {
        let Self::Temporary(dir) = self else { return Ok(()) };
        let what = format!("cannot remove {}", dir.path().display());
        dir.close().map_err(|e| Error::new(ErrorKind::Unavailable, what).with_source(e))
    }
}

/// The embedded default in `data_dir`, whatever files and variables say; and where the sample site is
/// unpacked: the tree behind the handler `default`.
fn settings(data_dir: &Path) -> Result<(Loaded, PathBuf), Error> {
    let sources = Sources {
        config: None,
        data_dir: Some(data_dir.to_owned()),
        env: Environment::default(),
        candidates: Vec::new(),
    };
    let mut loaded = load(&sources)?;
    let root = loaded.data_dir.join(SITE).join("var/site/storage");
    loaded.settings.store.default_root = Some(root.clone());
    // stdout is for the URLs.
    loaded.settings.serve.access_log = AccessLog::Off;
    Ok((loaded, root))
}

/// Migrates `default,default` to `dfs,nfs`. A signal ends it.
async fn migrate(loaded: &Loaded, signal: impl Future<Output = ()>) -> Result<()> {
    let started = Instant::now();
    let store = &loaded.settings.store;
    let to = SidePair { metadata: store.metadata.clone(), binarydata: store.binarydata.clone() };
    let source = side(loaded, &SidePair::default()).await?;
    let target = side(loaded, &to).await?;
    let options = Options { journal: Some(loaded.data_dir.join(JOURNAL)), ..Options::default() };
    let cancel = CancellationToken::new();
    let migration = Migration::new(source, target, options).await?.with_cancel(cancel.clone());
    let mut run = std::pin::pin!(migration.run());
    // Dropped half-way, it would still be writing while its directory is removed.
    let summary = tokio::select! {
        summary = &mut run => summary?,
        () = signal => {
            cancel.cancel();
            run.await?
        }
    };
    if summary.ending == Ending::Cancelled {
        return Err(Failure::Interrupted);
    }
    Ok(tell(&summary, started.elapsed())?)
}

/// What was migrated; every file that was not is named and fails the demo.
fn tell(summary: &Summary, took: Duration) -> Result<(), Error> {
    let counts = &summary.counts;
    say::note(&format!(
        "{} files migrated from default,default to dfs,nfs in {:.2} s: {} copied ({}), {} there already",
        counts.processed(),
        took.as_secs_f64(),
        counts.copied + counts.replaced,
        size::human(counts.bytes),
        counts.same,
    ));
    summary.each_file(|file| {
        if matches!(file.symbol, Symbol::Missing | Symbol::Failed) {
            say::error(&format!("{file}: {}", file.why.as_deref().unwrap_or_default()));
        }
        Ok(())
    })?;
    match counts.missing + counts.failed {
        0 => Ok(()),
        n => Err(Error::new(ErrorKind::Internal, format!("{n} files were not migrated"))),
    }
}

/// An address of this machine for a listener: one that listens on every address is no place to go.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    if address.ip().is_unspecified() { SocketAddr::new(ip, address.port()) } else { address }
}

/// The URL of a path: everything but unreserved characters is percent-encoded (RFC 3986 §2.3).
fn url(base: &str, path: &FilePath) -> String {
    const LITERAL: &AsciiSet =
        &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    format!("{base}{}", utf8_percent_encode(path.as_str(), LITERAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_can_be_opened_as_they_are_printed() {
        let at = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(at("[::]:80"), "[::1]:80");
        assert_eq!(at("192.0.2.1:80"), "192.0.2.1:80");
        let path = "images/a b/100%.jpg".parse().unwrap();
        assert_eq!(url("http://h/var/", &path), "http://h/var/images/a%20b/100%25.jpg");
    }

    #[test]
    fn a_store_with_other_files_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Home::new(Some(dir.path()), false).is_ok());
        std::fs::write(dir.path().join("ezdfs.db"), "").unwrap();
        let refused = Home::new(Some(dir.path()), false).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Usage);
        std::fs::create_dir(dir.path().join(SITE)).unwrap();
        assert!(Home::new(Some(dir.path()), false).is_ok());
    }
}
