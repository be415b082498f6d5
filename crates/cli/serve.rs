//! `ezdfs serve`

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use ezdfs_config::{AccessLog, AdminVerb, Freshness};
use ezdfs_core::{Error, OsEntropy};
use ezdfs_engine::{CacheOptions, Follower, FollowerOptions};
use ezdfs_http::{
    AdminSettings, CachePolicies, CachePolicy, Cors, Format, InlineTypes, Limits, Placeholder,
    Placeholders, Policies, ServeSettings, Server, SigningKeys, Token, Tokens, Verb,
};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Store};
use crate::maintenance::Maintenance;
use crate::membership::Membership;
use crate::outcome::{Failure, Outcome, Result};
use crate::say;
use crate::signals;

const AFTER: &str = "\
Serves files below `url_prefix` with GET and HEAD, and /healthz and /readyz on the admin
listener. Both addresses are printed on stderr when they take connections; port 0 takes a free
one. What is known of a file is answered from memory while the change feed is fresh, at most
`store.max_staleness` old; `serve.freshness = \"strict\"` asks the database each time. The access
log goes to stdout. SIGTERM or SIGINT lets answers under way finish; a second one does not.

Examples:
  ezdfs serve
  ezdfs serve --listen 0.0.0.0:8080
  ezdfs --config /etc/ezdfs/ezdfs.toml --log-format json serve --admin-listen 127.0.0.1:0";

/// Most bytes of a file that the admin API stores: what S3 takes as one object.
const MAX_FILE: u64 = 5 << 40;

/// Serve the files of the store over HTTP
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct ServeArgs {
    /// Address of the asset listener [else `serve.listen`, 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the admin listener [else `admin.listen`, 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
}

pub(crate) async fn run(args: ServeArgs, context: &Context) -> Result {
    // Whoever reads the addresses may send a signal at once.
    let mut signal = std::pin::pin!(signals::shutdown());
    let mut store = tokio::select! {
        store = context.open() => store?.with_file_cache(),
        () = &mut signal => return Err(Failure::Interrupted),
    };
    let follower = follow(&mut store)?;
    let settings = store.settings();
    let listen = args.listen.unwrap_or(settings.serve.listen);
    let admin = args.admin_listen.unwrap_or(settings.admin.listen);
    let server = bind(&store, listen, admin).await?;
    say::note(&format!("ezdfs: serving {}", asset_url(&store, server.address())));
    if let Some(admin) = server.admin_address() {
        say::note(&format!("ezdfs: admin listener http://{admin}/"));
    }
    until(server, &store, signal).await;
    if let Some(follower) = follower {
        follower.stop().await;
    }
    Ok(Outcome::Done)
}

/// Lets the store answer from memory while the change feed is fresh, if the settings want that and
/// the metadata handler has a feed; and lets it fail at once while the database is away.
///
/// # Errors
/// As [`Follower::start`].
pub(crate) fn follow(store: &mut Store) -> Result<Option<Follower>, Error> {
    if !store.service.metadata().is_separate() {
        return Ok(None);
    }
    let settings = store.settings();
    let (max_staleness, stale_if_error) =
        (settings.store.max_staleness, settings.store.stale_if_error);
    let is_strict = settings.serve.freshness == Freshness::Strict;
    // The follower asks in its own time: its answers show first that the database is back.
    let metadata = Arc::clone(store.service.metadata());
    store.service = store.service.with_breaker();
    if is_strict {
        return Ok(None);
    }
    let options = FollowerOptions { max_staleness, ..FollowerOptions::default() };
    let clock = Arc::clone(store.service.clock());
    let follower = Follower::start(metadata, clock, Arc::new(OsEntropy), options)?;
    let options = CacheOptions { stale_if_error, ..CacheOptions::default() };
    store.service = store.service.with_follower(&follower, options);
    Ok(Some(follower))
}

/// Both listeners of a store, bound to these addresses, the rest as configured.
///
/// # Errors
/// When an address cannot be bound.
pub(crate) async fn bind(
    store: &Store,
    listen: SocketAddr,
    admin: SocketAddr,
) -> Result<Server, Error> {
    let settings = &store.settings().serve;
    let serve = ServeSettings {
        listen,
        url_prefix: settings.url_prefix.as_str().parse()?,
        public: settings.public.clone(),
        signing_keys: signing_keys(store)?,
        policies: policies(settings)?,
        access_log: match settings.access_log {
            AccessLog::Combined => Some(Format::Combined),
            AccessLog::Json => Some(Format::Json),
            AccessLog::Off => None,
        },
        limits: Limits::default(),
    };
    let admin = AdminSettings {
        listen: admin,
        tokens: tokens(&store.settings().admin)?,
        max_file: MAX_FILE,
        limits: Limits::default(),
    };
    let log = Box::new(std::io::stdout());
    Server::bind(store.service.clone(), serve, Some(admin), log).await
}

fn policies(settings: &ezdfs_config::ServeSettings) -> Result<Policies, Error> {
    let cache = settings.cache_policy.iter().map(|p| CachePolicy {
        pattern: &p.pattern,
        hashed: p.hashed,
        cache_control: &p.cache_control,
        cdn_cache_control: p.cdn_cache_control.as_deref(),
    });
    let placeholders = settings.placeholder.iter().map(|p| Placeholder {
        pattern: &p.pattern,
        path: &p.path,
        as_found: p.status == 200,
    });
    Ok(Policies {
        cache: CachePolicies::new(cache)?,
        inline: InlineTypes::new(settings.inline.iter().map(String::as_str))?,
        surrogate_keys: settings.surrogate_keys,
        cors: Cors::new(settings.cors_origins.iter().map(String::as_str))?,
        placeholders: Placeholders::new(placeholders)?,
    })
}

fn tokens(settings: &ezdfs_config::AdminSettings) -> Result<Tokens, Error> {
    let tokens = settings.tokens.iter().map(|token| {
        let verbs = token.verbs.iter().map(|verb| match verb {
            AdminVerb::Get => Verb::Get,
            AdminVerb::List => Verb::List,
            AdminVerb::Put => Verb::Put,
            AdminVerb::Delete => Verb::Delete,
        });
        Ok(Token {
            name: token.name.clone(),
            sha256: token.sha256.parse()?,
            verbs: verbs.collect(),
            prefixes: token.prefixes.clone(),
        })
    });
    Tokens::new(tokens.collect::<Result<_, Error>>()?)
}

fn signing_keys(store: &Store) -> Result<SigningKeys, Error> {
    let settings = &store.settings().serve;
    let mut keys = Vec::new();
    for key in &settings.signing_keys {
        let secret = store.loaded.reveal(&key.secret);
        let secret = secret.map_err(|e| e.context(format_args!("signing key `{}`", key.id)))?;
        keys.push((&*key.id, secret));
    }
    let keys = keys.iter().map(|(id, secret)| (*id, secret.expose().as_bytes()));
    SigningKeys::new(keys, settings.max_signed_life)
}

/// The URL below which a listener at `address` has the assets.
pub(crate) fn asset_url(store: &Store, address: SocketAddr) -> String {
    format!("http://{address}{}", store.settings().serve.url_prefix.path())
}

/// Serves, and maintains the store, until `signal` ends; ends at once at a second signal.
pub(crate) async fn until(server: Server, store: &Store, signal: impl Future<Output = ()>) {
    let (maintenance, membership) = (Maintenance::start(store), Membership::start(&store.service));
    let stopping = CancellationToken::new();
    let impatient = async {
        signal.await;
        let second = signals::shutdown();
        tracing::info!("shutting down: answers under way finish first");
        stopping.cancel();
        second.await;
    };
    tokio::select! {
        () = server.run(stopping.cancelled()) => {
            maintenance.stop().await;
            membership.stop().await;
        }
        () = impatient => tracing::warn!("second signal: ended at once"),
    }
}
