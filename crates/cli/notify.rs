//! What systemd wants to know of a server (sd_notify(3)), and the sockets that it passes on
//! (sd_listen_fds(3)). Without systemd nothing happens.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use ezdfs_core::{Error, ErrorKind, Result};
use listenfd::ListenFd;

/// The socket that systemd listens on; `None` without systemd.
#[derive(Debug)]
pub(crate) struct Notify(Option<UnixDatagram>);

impl Notify {
    /// As `$NOTIFY_SOCKET` says.
    pub(crate) fn of_process() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Self(None) };
        match connect(&name) {
            Ok(socket) => Self(Some(socket)),
            Err(e) => {
                tracing::warn!(error = %e, "NOTIFY_SOCKET cannot be used: systemd is not told anything");
                Self(None)
            }
        }
    }

    /// Tells something. The socket never blocks: what cannot be told now is left out.
    pub(crate) fn tell(&self, state: &str) {
        if let Some(socket) = &self.0
            && let Err(e) = socket.send(state.as_bytes())
        {
            tracing::debug!(error = %e, state, "systemd was not told");
        }
    }

    /// Tells again and again that this process is alive, as often as systemd wants that.
    pub(crate) async fn keep_alive(&self) {
        let micros = std::env::var("WATCHDOG_USEC").ok().and_then(|v| v.parse::<u64>().ok());
        let for_others =
            std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid.parse() != Ok(std::process::id()));
        let Some(micros) = micros.filter(|us| *us > 0 && !for_others && self.0.is_some()) else {
            return std::future::pending().await;
        };
        loop {
            self.tell("WATCHDOG=1");
            tokio::time::sleep(Duration::from_micros(micros / 2)).await;
        }
    }
}

fn connect(name: &OsStr) -> std::io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// Sockets that were passed on: the first for assets, the second for the admin listener.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) assets: Option<TcpListener>,
    pub(crate) admin: Option<TcpListener>,
}

impl Sockets {
    /// Those of this process, once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for more than two, or another kind of socket.
    pub(crate) fn of_process() -> Result<Self> {
        let mut passed = ListenFd::from_env();
        if passed.len() > 2 {
            let message = format!(
                "{} sockets were passed on; at most two can be used, the first for assets and the \
                 second for the admin listener",
                passed.len()
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let mut take = |index| {
            passed.take_tcp_listener(index).map_err(|e| {
                let message = "a socket that was passed on is no listening TCP socket; write \
                               ListenStream= with a port";
                Error::new(ErrorKind::Config, message).with_source(e)
            })
        };
        Ok(Self { assets: take(0)?, admin: take(1)? })
    }
}
