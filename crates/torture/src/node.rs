//! `Node`: an `ezdfs serve` that is killed, stopped and started again.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::process;
use crate::site::Site;

#[derive(Debug)]
pub(crate) struct Node {
    number: usize,
    elsewhere: bool,
    child: tokio::sync::Mutex<Option<Child>>,
    addresses: Mutex<Option<Addresses>>,
}

/// Where it takes requests.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    assets: SocketAddr,
    admin: SocketAddr,
}

impl Node {
    pub(crate) fn new(number: usize, elsewhere: bool) -> Self {
        let child = tokio::sync::Mutex::default();
        Self { number, elsewhere, child, addresses: Mutex::default() }
    }

    /// `None` while it does not take requests.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.addresses().map(|addresses| addresses.assets)
    }

    /// Of its admin listener.
    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.addresses().map(|addresses| addresses.admin)
    }

    fn addresses(&self) -> Option<Addresses> {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_addresses(&self, addresses: Option<Addresses>) {
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Starts it, again and again while the database is away.
    pub(crate) async fn start(&self, site: &Site) {
        let mut child = self.child.lock().await;
        while child.is_none() {
            *child = self.try_start(site).await;
            if child.is_none() {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    }

    async fn try_start(&self, site: &Site) -> Option<Child> {
        let mut command = process::command(site, self.number, self.elsewhere);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let file = site.dir.join(format!("node-{}.log", self.number));
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        let (mut assets, mut admin) = (None, None);
        let addresses = loop {
            if let (Some(assets), Some(admin)) = (assets, admin) {
                break Addresses { assets, admin };
            }
            let Ok(Some(line)) = lines.next_line().await else {
                process::reap(&mut child).await;
                return None;
            };
            drop(writeln!(log, "{line}"));
            assets = assets.or_else(|| address_after("serving http://", &line));
            admin = admin.or_else(|| address_after("admin listener http://", &line));
        };
        self.set_addresses(Some(addresses));
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                drop(writeln!(log, "{line}"));
            }
        });
        Some(child)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&self) {
        self.set_addresses(None);
        if let Some(mut child) = self.child.lock().await.take() {
            process::signal(child.id(), self.elsewhere, Signal::KILL);
            process::reap(&mut child).await;
        }
    }

    /// SIGSTOP, and SIGCONT so much later.
    pub(crate) async fn pause(&self, lasting: Duration) {
        let id = self.child.lock().await.as_ref().and_then(Child::id);
        process::signal(id, self.elsewhere, Signal::STOP);
        tokio::time::sleep(lasting).await;
        process::signal(id, self.elsewhere, Signal::CONT);
    }
}

fn address_after(what: &str, line: &str) -> Option<SocketAddr> {
    line.split_once(what)?.1.split('/').next()?.parse().ok()
}
