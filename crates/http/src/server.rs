//! `Server`: asset and admin listener of one store, from bind to the end of the drain.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use ezdfs_core::{Error, ErrorKind, FilePath, Result};
use ezdfs_engine::FileService;
use hyper::service::service_fn;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

use crate::access_log::{AccessLog, AccessLogWriter};
use crate::admin::{self, Terms};
use crate::assets::Assets;
use crate::connection::Connection;
use crate::listener::Listener;
use crate::readiness::Readiness;
use crate::settings::{AdminSettings, Limits, ServeSettings};
use crate::sites::{Site, Sites};
use crate::stall::Pace;
use crate::target::Targets;
use crate::url_prefix::UrlPrefix;

/// Both listeners, bound.
#[derive(Debug)]
pub struct Server {
    assets: Arc<Assets>,
    listener: Listener,
    admin: Option<(Listener, Terms)>,
    readiness: Readiness,
    log: Option<AccessLogWriter>,
}

impl Server {
    /// Binds the listeners; `admin` is `None` for no admin listener. The access log, if it is on,
    /// goes to `access_log`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when an address cannot be bound.
    pub async fn bind(
        service: FileService,
        serve: ServeSettings,
        admin: Option<AdminSettings>,
        access_log: Box<dyn Write + Send>,
    ) -> Result<Self> {
        let (most, memory) = (serve.limits.requests, serve.memory);
        let mut listener = serve.listen.start("serve.listen", serve.limits).await?;
        if let Some(tls) = serve.tls {
            listener = listener.with_tls(tls);
        }
        let admin = match admin {
            Some(AdminSettings { listen, tokens, max_file, hooks, limits }) => {
                // Its long answers and bodies are not watched as HTTP/2 needs it.
                let limits = Limits { http2: false, ..limits };
                let pace = Pace::new(limits.stall_timeout, limits.min_rate);
                let listener = listen.start("admin.listen", limits).await?;
                Some((listener, Terms { tokens, max_file, pace, hooks }))
            }
            None => None,
        };
        let (log, writer) = match serve.access_log {
            Some(format) => {
                let (log, writer) = AccessLog::start(format, service.clock().clone(), access_log)?;
                (Some(log), Some(writer))
            }
            None => (None, None),
        };
        let main = site(service, serve.url_prefix, serve.public)?;
        let others = serve.sites.into_iter().map(|s| site(s.service, s.url_prefix, s.public));
        let sites = Sites::new(main, others.collect::<Result<_>>()?);
        let (keys, policies) = (serve.signing_keys, serve.policies);
        let assets = Arc::new(
            Assets::new(sites, keys, policies, log, most, memory).with_offload(serve.offload),
        );
        let readiness = Readiness::new();
        Ok(Self { assets, listener, admin, readiness, log: writer })
    }

    /// The bound address of the asset listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The bound address of the admin listener.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(listener, _)| listener.address())
    }

    /// What `/readyz` shows; the caller may withdraw it before it shuts the server down.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Serves until `shutdown` ends: then `/readyz` fails, no connection is accepted any more,
    /// answers under way finish within the drain limit, and the admin listener goes last.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { assets, listener, admin, readiness, log } = self;
        let answer = |connection: &Arc<Connection>| {
            let (assets, connection) = (Arc::clone(&assets), Arc::clone(connection));
            service_fn(move |request| {
                let (assets, connection) = (Arc::clone(&assets), Arc::clone(&connection));
                async move { Ok::<_, Infallible>(assets.answer(request, &connection).await) }
            })
        };
        let withdrawn = async {
            shutdown.await;
            readiness.withdraw();
        };
        let (drained, mut is_drained) = watch::channel(false);
        let serving = async {
            listener.run(answer, withdrawn).await;
            // Err: there is no admin listener that waits for it.
            let _ = drained.send(true);
        };
        let administering = async {
            if let Some((admin, terms)) = admin {
                let router = admin::router(assets.clone(), readiness.clone(), terms);
                let router = TowerToHyperService::new(router);
                // Err: `serving` is gone, which it is only after it sent.
                let end = async move {
                    let _ = is_drained.wait_for(|drained| *drained).await;
                };
                admin.run(|_| router.clone(), end).await;
            }
        };
        tokio::select! {
            ((), ()) = async { tokio::join!(serving, administering) } => {}
            () = assets.forget_purged() => {}
        }
        if let Some(writer) = log
            && tokio::task::spawn_blocking(move || writer.close()).await.is_err()
        {
            tracing::error!("the access log was not closed");
        }
    }
}

fn site(service: FileService, url_prefix: UrlPrefix, public: Vec<String>) -> Result<Site> {
    let targets = Targets::new(url_prefix, public, max_path_bytes(&service)?);
    Ok(Site::new(service, targets))
}

/// How long a path may be so that its object key is within what the binarydata handler allows.
fn max_path_bytes(service: &FileService) -> Result<usize> {
    let binary = service.binary();
    let probe: FilePath = "x".parse()?;
    let prefix = binary.prefix.key(&probe, usize::MAX)?.as_ref().len() - 1;
    binary.capabilities.max_key_bytes.checked_sub(prefix).ok_or_else(|| {
        let message = format!(
            "the object prefix of `{}` is longer than any key may be; shorten its URL",
            binary.name
        );
        Error::new(ErrorKind::Config, message)
    })
}
