//! The address of a server, as the variables of the tests give it.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The parts of `scheme://user:password@host:port/database`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ServerUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: Option<String>,
}

impl ServerUrl {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let form = "expected scheme://user:password@host:port";
        let (_, rest) = url.split_once("://").ok_or(form)?;
        let (user, rest) = rest.rsplit_once('@').ok_or(form)?;
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = host.rsplit_once(':').ok_or(form)?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| form)?,
            user: decode(user),
            password: decode(password),
            database: (!database.is_empty()).then(|| database.to_owned()),
        })
    }

    /// With another database.
    pub(super) fn url(&self, scheme: &str, database: &str) -> String {
        let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let user = encode(&self.user);
        let password = match self.password.as_str() {
            "" => String::new(),
            password => format!(":{}", encode(password)),
        };
        format!("{scheme}://{user}{password}@{}:{}/{database}", self.host, self.port)
    }
}

/// Without the password.
impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::ServerUrl;

    #[test]
    fn parts_go_in_and_out() {
        let url = ServerUrl::parse("postgres://me:a%40b%2Fc@[::1]:5432/postgres").unwrap();
        assert_eq!((url.host.as_str(), url.port), ("[::1]", 5432));
        assert_eq!((url.user.as_str(), url.password.as_str()), ("me", "a@b/c"));
        assert_eq!(url.database.as_deref(), Some("postgres"));
        assert_eq!(url.url("postgres", "db"), "postgres://me:a%40b%2Fc@[::1]:5432/db");
        assert!(!format!("{url:?}").contains("a@b"));
    }

    #[test]
    fn a_user_without_password_or_database() {
        let url = ServerUrl::parse("mysql://root@127.0.0.1:3306").unwrap();
        assert_eq!((url.user.as_str(), url.password.as_str()), ("root", ""));
        assert_eq!(url.database, None);
        assert_eq!(url.url("mysql", "db"), "mysql://root@127.0.0.1:3306/db");
    }

    #[test]
    fn a_part_is_missing() {
        for wrong in
            ["", "127.0.0.1:3306", "mysql://127.0.0.1:3306", "mysql://a@b", "mysql://a@b:x"]
        {
            assert!(ServerUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
