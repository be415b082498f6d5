//! `ezdfs serve`

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ezdfs_config::{AccessLog, AdminVerb, Freshness, Loaded, ServeSite};
use ezdfs_core::{Clock as _, Error, ErrorKind, OsEntropy, SystemClock};
use ezdfs_engine::{CacheOptions, Follower, FollowerOptions};
use ezdfs_http::{
    AdminSettings, CachePolicies, CachePolicy, Cors, Format, InlineTypes, Limits, Listen, Offload,
    Placeholder, Placeholders, Policies, PurgeHook, PurgeHooks, ServeSettings, Server, SigningKeys,
    SiteSettings, Tls, TlsFiles, Token, Tokens, Verb,
};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Store};
use crate::maintenance::Maintenance;
use crate::membership::Membership;
use crate::notify::{Notify, Sockets};
use crate::outcome::{Failure, Outcome, Result};
use crate::say;
use crate::signals;

const AFTER: &str = "\
Serves files below `url_prefix` with GET and HEAD, and /healthz and /readyz on the admin
listener. Both addresses are printed on stderr when they take connections; port 0 takes a free
one. What is known of a file is answered from memory while the change feed is fresh, at most
`store.max_staleness` old; `serve.freshness = \"strict\"` asks the database each time. The access
log goes to stdout. SIGTERM or SIGINT lets answers under way finish; a second one does not. SIGHUP
reads the certificate of `serve.tls_certificate` again.

Under systemd it says when it is ready (Type=notify-reload), keeps its watchdog content, and takes
sockets: the first for assets, the second for the admin listener.

Examples:
  ezdfs serve
  ezdfs serve --listen 0.0.0.0:8080
  ezdfs --config /etc/ezdfs/ezdfs.toml --log-format json serve --admin-listen 127.0.0.1:0";

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
    let hangups = signals::hangups();
    let notify = Notify::of_process();
    let sockets = Sockets::of_process()?;
    let opening = async {
        let loaded = context.load()?;
        let store = context.open_loaded(&loaded).await?.with_file_cache();
        let others = sites(context, &loaded).await?;
        Ok::<_, Error>((store, others))
    };
    let (mut store, mut others) = tokio::select! {
        opened = opening => opened?,
        () = &mut signal => return Err(Failure::Interrupted),
    };
    let mut followers = vec![follow(&mut store)?];
    for site in &mut others {
        if let Some(store) = &mut site.store {
            followers.push(follow(store)?);
        }
    }
    let settings = store.settings();
    let addresses = Addresses {
        assets: args.listen.unwrap_or(settings.serve.listen),
        admin: args.admin_listen.unwrap_or(settings.admin.listen),
    };
    let tls = tls(&settings.serve)?;
    let server = bind(&store, addresses, sockets, tls.clone(), &others).await?;
    say::note(&format!("ezdfs: serving {}", asset_url(&store, server.address())));
    if let Some(admin) = server.admin_address() {
        say::note(&format!("ezdfs: admin listener http://{admin}/"));
    }
    notify.tell("READY=1");
    let stores: Vec<&Store> = std::iter::once(&store)
        .chain(others.iter().filter_map(|site| site.store.as_ref()))
        .collect();
    tokio::select! {
        () = until(server, &stores, signal, &notify) => {}
        () = reload(tls, hangups, &notify) => {}
        () = notify.keep_alive() => {}
    }
    for follower in followers.into_iter().flatten() {
        follower.stop().await;
    }
    Ok(Outcome::Done)
}

/// Reads the certificate again at each SIGHUP; never ends.
async fn reload(tls: Option<Tls>, mut hangups: signals::Hangups, notify: &Notify) {
    loop {
        hangups.next().await;
        let boot = SystemClock.boot().as_micros();
        notify.tell(&format!("RELOADING=1\nMONOTONIC_USEC={boot}"));
        match &tls {
            None => tracing::info!("there is no certificate to read again"),
            Some(tls) => match tls.reload() {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(e) => {
                    tracing::error!(error = %e, "the certificate cannot be read; the old one stays");
                }
            },
        }
        notify.tell("READY=1");
    }
}

/// A further site: its settings, and its store if it is not that of the main site.
pub(crate) struct Site {
    settings: ServeSite,
    store: Option<Store>,
}

async fn sites(context: &Context, loaded: &Loaded) -> Result<Vec<Site>, Error> {
    let main = &loaded.settings.store;
    let mut sites = Vec::new();
    for settings in &loaded.settings.serve.sites {
        let metadata = settings.metadata.as_ref().unwrap_or(&main.metadata);
        let binarydata = settings.binarydata.as_ref().unwrap_or(&main.binarydata);
        let is_main = (metadata, binarydata) == (&main.metadata, &main.binarydata);
        let store = if is_main {
            None
        } else {
            let store = context.open_pair(loaded, metadata, binarydata).await?;
            Some(store.with_file_cache())
        };
        sites.push(Site { settings: settings.clone(), store });
    }
    Ok(sites)
}

fn tls(settings: &ezdfs_config::ServeSettings) -> Result<Option<Tls>, Error> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    let tls = Tls::load(files, settings.http2);
    Ok(Some(tls.map_err(|e| e.context("serve.tls_certificate"))?))
}

/// Where both listeners are, unless sockets were passed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) assets: SocketAddr,
    pub(crate) admin: SocketAddr,
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

/// Both listeners of a store and of further sites, bound; the rest as configured.
///
/// # Errors
/// When an address cannot be bound.
pub(crate) async fn bind(
    store: &Store,
    addresses: Addresses,
    sockets: Sockets,
    tls: Option<Tls>,
    others: &[Site],
) -> Result<Server, Error> {
    let settings = &store.settings().serve;
    let listen = |socket: Option<TcpListener>, address| {
        socket.map_or(Listen::Address(address), Listen::Socket)
    };
    let sites = others.iter().map(|site| {
        Ok(SiteSettings {
            service: site.store.as_ref().unwrap_or(store).service.clone(),
            url_prefix: site.settings.url_prefix.as_str().parse()?,
            public: site.settings.public.as_ref().unwrap_or(&settings.public).clone(),
        })
    });
    let serve = ServeSettings {
        listen: listen(sockets.assets, addresses.assets),
        tls,
        url_prefix: settings.url_prefix.as_str().parse()?,
        public: settings.public.clone(),
        sites: sites.collect::<Result<_, Error>>()?,
        signing_keys: signing_keys(store)?,
        memory: store.settings().cache.memory.0,
        offload: offload(store)?,
        policies: policies(settings)?,
        access_log: match settings.access_log {
            AccessLog::Combined => Some(Format::Combined),
            AccessLog::Json => Some(Format::Json),
            AccessLog::Off => None,
        },
        limits: limits(settings),
    };
    let admin = AdminSettings {
        listen: listen(sockets.admin, addresses.admin),
        tokens: tokens(&store.settings().admin)?,
        max_file: store.settings().admin.max_file.0,
        hooks: purge_hooks(store)?,
        limits: Limits { drain: settings.drain, ..Limits::default() },
    };
    let log = Box::new(std::io::stdout());
    Server::bind(store.service.clone(), serve, Some(admin), log).await
}

fn limits(settings: &ezdfs_config::ServeSettings) -> Limits {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        connections: count(settings.max_connections),
        requests: count(settings.max_requests),
        min_rate: settings.min_rate.0,
        drain: settings.drain,
        http2: settings.http2,
        ..Limits::default()
    }
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
            AdminVerb::Purge => Verb::Purge,
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

/// Life of a URL that the object store is asked to honour.
const SIGNED_LIFE: Duration = Duration::from_secs(60);

fn offload(store: &Store) -> Result<Offload, Error> {
    let settings = &store.settings().serve;
    let from = settings.offload_from.0;
    let refuse = |needs: &str| {
        let message = format!(
            "`serve.offload` needs {needs}, which the binarydata handler `{}` is not; set it to \"off\"",
            store.service.binary().name
        );
        Err(Error::new(ErrorKind::Config, message))
    };
    match settings.offload {
        ezdfs_config::Offload::Off => Ok(Offload::Off),
        ezdfs_config::Offload::XAccelRedirect if store.local.is_some() => {
            Ok(Offload::Accel { prefix: settings.offload_prefix.clone(), from })
        }
        ezdfs_config::Offload::XAccelRedirect => refuse("files in a directory"),
        ezdfs_config::Offload::Presigned => match store.signer() {
            Some(sign) => Ok(Offload::Presigned { sign, life: SIGNED_LIFE, from }),
            None => refuse("an object store in a cloud"),
        },
    }
}

fn purge_hooks(store: &Store) -> Result<PurgeHooks, Error> {
    let hooks = &store.settings().admin.purge_hooks;
    let mut secrets = Vec::new();
    for hook in hooks {
        let secret = hook.authorization.as_ref().map(|secret| store.loaded.reveal(secret));
        let secret = secret.transpose();
        secrets.push(secret.map_err(|e| e.context(format_args!("purge hook `{}`", hook.name)))?);
    }
    PurgeHooks::new(hooks.iter().zip(&secrets).map(|(hook, secret)| PurgeHook {
        name: &hook.name,
        url: &hook.url,
        method: &hook.method,
        headers: &hook.headers,
        authorization: secret.as_ref().map(|secret| secret.expose()),
        body: hook.body.as_deref(),
    }))
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
    let serve = &store.settings().serve;
    let scheme = if serve.tls_certificate.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}{}", serve.url_prefix.path())
}

/// Serves, and maintains the stores, until `signal` ends; ends at once at a second signal.
pub(crate) async fn until(
    server: Server,
    stores: &[&Store],
    signal: impl Future<Output = ()>,
    notify: &Notify,
) {
    let tasks: Vec<_> = stores
        .iter()
        .map(|store| (Maintenance::start(store), Membership::start(&store.service)))
        .collect();
    let delay = stores.first().map(|store| store.settings().serve.shutdown_delay);
    let readiness = server.readiness();
    let stopping = CancellationToken::new();
    let impatient = async {
        signal.await;
        let second = signals::shutdown();
        notify.tell("STOPPING=1");
        tracing::info!("shutting down: answers under way finish first");
        readiness.withdraw();
        let leaving = async {
            tokio::time::sleep(delay.unwrap_or_default()).await;
            stopping.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = leaving => {}
            () = second => {}
        }
    };
    tokio::select! {
        () = server.run(stopping.cancelled()) => {
            for (maintenance, membership) in tasks {
                maintenance.stop().await;
                membership.stop().await;
            }
        }
        () = impatient => tracing::warn!("second signal: ended at once"),
    }
}
