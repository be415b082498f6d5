//! SQLite.

use std::path::Path;
use std::sync::Arc;

use ezdfs_core::{Clock, NamePrefix};
use ezdfs_metadata::{SqliteMetadata, SqliteOptions};
use ezdfs_testkit::SqliteForeignWriter;
use ezdfs_testkit::metadata_suite::{NEIGHBOUR_PREFIX, PREFIX, Setup, clock};

pub(crate) fn options(prefix: &str) -> SqliteOptions {
    SqliteOptions {
        prefix: NamePrefix::new(prefix),
        origin: "it's me".to_owned(),
        ..SqliteOptions::default()
    }
}

pub(crate) async fn open(file: &Path, prefix: &str, clock: impl Clock) -> SqliteMetadata {
    SqliteMetadata::open(file, options(prefix), Arc::new(clock)).await.unwrap()
}

async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ezdfs.db");
    let clock = clock();
    Setup {
        store: Arc::new(open(&file, PREFIX, clock.clone()).await),
        // As a second process would: connections of its own.
        neighbour: Arc::new(open(&file, NEIGHBOUR_PREFIX, clock.clone()).await),
        foreign: Arc::new(SqliteForeignWriter::connect(&file, "ezdfsfile").await),
        clock,
        guard: Box::new(dir),
    }
}

ezdfs_testkit::metadata_suite!(setup);
