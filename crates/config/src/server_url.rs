//! URLs of databases on servers: `mysql://user@host1:3306,host2/database`.
//!
//! Refusals never quote a URL, because what was written into it may be a password.

use crate::reader::Refusal;
use crate::url::{Split, host_and_port, percent_decoded};

/// A database on a server, or on one of the servers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Who logs in.
    pub user: String,
    /// The hosts in the order in which they are tried; at least one.
    pub hosts: Vec<HostPort>,
    /// Name of the database.
    pub database: String,
}

/// A host of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or address; one of IPv6 without brackets.
    pub name: String,
    /// Port; `None` for the usual one.
    pub port: Option<u16>,
}

impl ServerUrl {
    /// Hosts and database, whoever logs in and in whatever order the hosts are tried: the same for
    /// two URLs that mean the same. `port` is the usual one.
    #[must_use]
    pub fn place(&self, port: u16) -> String {
        let mut hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|h| format!("{}:{}", h.name.to_lowercase(), h.port.unwrap_or(port)))
            .collect();
        hosts.sort();
        format!("{}/{}", hosts.join(","), self.database)
    }

    pub(crate) fn parse(parts: &Split<'_>) -> Result<Self, Refusal> {
        // A `/`, `?` or `#` in an unescaped password ends the host too early; the `@` then comes
        // later.
        if parts.userinfo.is_some_and(|u| u.contains(':')) || parts.rest.contains('@') {
            return Err(Refusal::new(
                "a password in a URL ends up in logs and process lists",
                "write user@host and set `password = { env = \"NAME\" }` beside `url`",
            ));
        }
        if parts.rest.contains(['?', '#']) {
            return Err(Refusal::new(
                "the URL of a database has no parameters",
                "remove everything from the ? on: `tls`, `connections` and `password` are keys \
                 beside `url`; write ? in a name as %3F and # as %23",
            ));
        }
        let form = format!("write \"{}://user@host[:port]/database\"", parts.scheme);
        let wrong = || Refusal::new("not the URL of a database on a server", form.clone());
        let hosts = parts.host.ok_or_else(wrong)?.split(',').map(|host| {
            let (name, port) = host_and_port(host)?;
            Some(HostPort { name: name.to_owned(), port })
        });
        let hosts: Vec<HostPort> = hosts.collect::<Option<_>>().ok_or_else(wrong)?;
        let database = parts.rest.strip_prefix('/').unwrap_or_default();
        if database.is_empty() || database.contains('/') {
            return Err(wrong());
        }
        let Some(user) = parts.userinfo.filter(|user| !user.is_empty()) else {
            return Err(Refusal::new("the URL names no user", form));
        };
        if user.contains('@') {
            return Err(Refusal::new("there is more than one @", "write @ in a name as %40"));
        }
        Ok(Self { user: name(user)?, hosts, database: name(database)? })
    }
}

/// Decodes `%XX` in the name of a user or a database.
fn name(text: &str) -> Result<String, Refusal> {
    match String::from_utf8(percent_decoded(text)?) {
        Ok(name) if !name.chars().any(char::is_control) => Ok(name),
        _ => Err(Refusal::new(
            "the name of the user or the database is not text",
            "write it in UTF-8, without control characters",
        )),
    }
}
