//! Which conditional requests a cloud honours, asked once a day and kept in the data directory: a
//! probe is some twenty round trips, too many for each command.

use std::path::PathBuf;
use std::time::Duration;

use ezdfs_binarydata::{Cloud, Opened};
use ezdfs_core::{Clock as _, Conditions, Entropy as _, OsEntropy, Probed, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};

use crate::load::Loaded;
use crate::settings::BinaryHandler;

/// How long an answer counts: a store may be upgraded.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// Longest time that a probe may take: a node must start while its store is away.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest waits before a store that was away is asked again: it doubles from the first to the
/// last. Chance shortens them by half at most.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// As it is kept, in TOML.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// URL and endpoint: another store's answers are not ours.
    store: String,
    /// Unix seconds.
    at: i64,
    put_absent: bool,
    put_match: bool,
    complete_absent: bool,
    complete_match: bool,
    get_match: bool,
    versions: bool,
}

/// Adds to the capabilities what a probe finds, now or earlier. A store that cannot be probed is
/// used as one that honours nothing, which is slower and as safe, until it answers.
pub(crate) async fn add(loaded: &Loaded, name: &str, handler: &BinaryHandler, opened: &mut Opened) {
    let Some(cloud) = &opened.cloud else { return };
    let file = loaded.data_dir.join("probes").join(format!("{name}.toml"));
    let endpoint = handler.endpoint.as_deref().unwrap_or_default();
    let store = format!("{} {endpoint}", handler.url.as_str());
    let now = SystemClock.now();
    if let Some(kept) = read(&file, &store, now).await {
        opened.capabilities.conditions = kept;
        return;
    }
    let probe = Probe { name: name.to_owned(), store, file, cloud: cloud.clone() };
    let patience = PATIENCE.min(loaded.settings.store.io_timeout);
    match probe.run(patience).await {
        Some(found) => opened.capabilities.conditions = found,
        None => {
            tracing::warn!(handler = name, "the store is asked again while this process lives");
            // It ends with the store, and with the runtime.
            tokio::spawn(probe.until_answered(opened.side.probed.clone(), patience));
        }
    }
}

/// A question to a store.
struct Probe {
    name: String,
    /// URL and endpoint.
    store: String,
    /// Where the answer is kept.
    file: PathBuf,
    cloud: Cloud,
}

impl Probe {
    /// Asks once, and keeps the answer.
    async fn run(&self, patience: Duration) -> Option<Conditions> {
        let name = &self.name;
        match tokio::time::timeout(patience, self.cloud.probe()).await {
            Ok(Ok(found)) => {
                write(&self.file, self.store.clone(), SystemClock.now(), found).await;
                Some(found)
            }
            Ok(Err(e)) => {
                tracing::warn!(handler = %name, error = %e, "the store could not be probed");
                None
            }
            Err(_) => {
                tracing::warn!(handler = %name, "the store could not be probed: no answer");
                None
            }
        }
    }

    async fn until_answered(self, probed: Probed, patience: Duration) {
        let mut longest = FIRST_WAIT;
        loop {
            tokio::time::sleep(longest / 2 + OsEntropy.jitter(longest / 2)).await;
            if !probed.is_awaited() {
                return;
            }
            if let Some(found) = self.run(patience).await {
                tracing::info!(handler = %self.name, ?found, "the store has been probed");
                return probed.tell(found);
            }
            longest = (longest * 2).min(LONGEST_WAIT);
        }
    }
}

async fn read(file: &PathBuf, store: &str, now: Timestamp) -> Option<Conditions> {
    let text = tokio::fs::read_to_string(file).await.ok()?;
    let kept: Kept = toml::from_str(&text).ok()?;
    let at = Timestamp::from_secs(kept.at);
    let counts = kept.store == store && at <= now && now < at.plus(AGE);
    counts.then_some(Conditions {
        known: true,
        put_absent: kept.put_absent,
        put_match: kept.put_match,
        complete_absent: kept.complete_absent,
        complete_match: kept.complete_match,
        get_match: kept.get_match,
        versions: kept.versions,
    })
}

/// Whole or not at all: several processes may do so at once.
async fn write(file: &PathBuf, store: String, now: Timestamp, found: Conditions) {
    let kept = Kept {
        store,
        at: now.secs(),
        put_absent: found.put_absent,
        put_match: found.put_match,
        complete_absent: found.complete_absent,
        complete_match: found.complete_match,
        get_match: found.get_match,
        versions: found.versions,
    };
    let written = async {
        let text = toml::to_string(&kept).map_err(std::io::Error::other)?;
        if let Some(dir) = file.parent() {
            tokio::fs::create_dir_all(dir).await?;
        }
        let new = file.with_extension(format!("{}.new", std::process::id()));
        tokio::fs::write(&new, text).await?;
        tokio::fs::rename(&new, file).await
    };
    if let Err(e) = written.await {
        tracing::debug!(file = %file.display(), error = %e, "the result of a probe was not kept");
    }
}
