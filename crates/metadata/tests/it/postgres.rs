//! PostgreSQL.

use std::sync::Arc;

use ezdfs_core::{Clock, MetadataStore, NamePrefix};
use ezdfs_metadata::postgres;
use ezdfs_metadata::server::{FeedChoice, Host, Password, ServerOptions, TimeSource, Tls};
use ezdfs_testkit::PostgresForeignWriter;
use ezdfs_testkit::metadata_suite::{NEIGHBOUR_PREFIX, PREFIX, Setup, clock};
use ezdfs_testkit::servers::{PostgresVariant, TestDatabase};

pub(crate) fn options(database: &TestDatabase, prefix: &str) -> ServerOptions {
    let host = Host { name: database.host().to_owned(), port: Some(database.port()) };
    ServerOptions {
        password: Some(Password::new(database.password())),
        prefix: NamePrefix::new(prefix),
        origin: "it's me".to_owned(),
        tls: Tls::Off,
        connections: 4,
        ..ServerOptions::new(host, database.user(), database.database())
    }
}

pub(crate) async fn install(database: &TestDatabase) {
    let options = options(database, PREFIX);
    postgres::install(&options, FeedChoice::Trigger, &mut |_| {}).await.unwrap();
}

async fn open(database: &TestDatabase, prefix: &str, clock: impl Clock) -> Arc<dyn MetadataStore> {
    let time = TimeSource::Clock(Arc::new(clock));
    postgres::open(ServerOptions { time, ..options(database, prefix) }).await.unwrap()
}

async fn setup_on(variant: PostgresVariant) -> Option<Setup> {
    let database = TestDatabase::postgres(variant)?;
    install(&database).await;
    let clock = clock();
    Some(Setup {
        store: open(&database, PREFIX, clock.clone()).await,
        // As a second process would: connections of its own.
        neighbour: open(&database, NEIGHBOUR_PREFIX, clock.clone()).await,
        foreign: Arc::new(PostgresForeignWriter::connect(&database, "ezdfsfile").await),
        clock,
        guard: Box::new(database),
    })
}

/// A database with a linguistic collation, as most have.
mod linguistic {
    use super::{PostgresVariant, Setup, setup_on};

    async fn setup() -> Option<Setup> {
        setup_on(PostgresVariant::Linguistic).await
    }

    ezdfs_testkit::metadata_suite!(setup);
}

/// A database that compares by bytes.
mod bytewise {
    use super::{PostgresVariant, Setup, setup_on};

    async fn setup() -> Option<Setup> {
        setup_on(PostgresVariant::C).await
    }

    ezdfs_testkit::metadata_suite!(setup);
}
