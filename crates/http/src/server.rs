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
use crate::admin;
use crate::assets::Assets;
use crate::listener::Listener;
use crate::readiness::Readiness;
use crate::settings::{AdminSettings, ServeSettings};
use crate::target::Targets;

/// Both listeners, bound.
#[derive(Debug)]
pub struct Server {
    assets: Arc<Assets>,
    listener: Listener,
    admin: Option<(Listener, AdminSettings)>,
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
        let listener = Listener::bind("serve.listen", serve.listen, serve.limits).await?;
        let admin = match admin {
            Some(settings) => {
                let limits = settings.limits.clone();
                let listener = Listener::bind("admin.listen", settings.listen, limits).await?;
                Some((listener, settings))
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
        let targets = Targets::new(serve.url_prefix, serve.public, max_path_bytes(&service)?);
        let (keys, policies) = (serve.signing_keys, serve.policies);
        let assets = Arc::new(Assets::new(service, targets, keys, policies, log));
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
        let answer = |peer: SocketAddr| {
            let assets = assets.clone();
            service_fn(move |request| {
                let assets = assets.clone();
                async move { Ok::<_, Infallible>(assets.answer(request, peer).await) }
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
            if let Some((admin, settings)) = admin {
                let router = admin::router(assets.clone(), readiness.clone(), &settings);
                let router = TowerToHyperService::new(router);
                // Err: `serving` is gone, which it is only after it sent.
                let end = async move {
                    let _ = is_drained.wait_for(|drained| *drained).await;
                };
                admin.run(|_| router.clone(), end).await;
            }
        };
        tokio::join!(serving, administering);
        if let Some(writer) = log
            && tokio::task::spawn_blocking(move || writer.close()).await.is_err()
        {
            tracing::error!("the access log was not closed");
        }
    }
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
