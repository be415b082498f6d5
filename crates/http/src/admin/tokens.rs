//! Bearer tokens (RFC 6750): who may do what below which directories. Without a token of its own
//! nothing that changes or shows a file may be done.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use ezdfs_core::{Error, ErrorKind, Result, Sha256};
use sha2::Digest as _;
use subtle::ConstantTimeEq as _;

/// What a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Read files.
    Get,
    /// List directories.
    List,
    /// Write files; the target of a copy or a move.
    Put,
    /// Delete files and directories; the source of a move.
    Delete,
    /// Drop what caches keep.
    Purge,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Get, Self::List, Self::Put, Self::Delete, Self::Purge];

    /// As configured.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }
}

/// One token: the digest of its text, and what it allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// For the log.
    pub name: String,
    /// SHA-256 of its text, which is stored nowhere.
    pub sha256: Sha256,
    /// What it allows.
    pub verbs: Vec<Verb>,
    /// Directories (`images/`) at and below which it allows it; the empty text for all.
    pub prefixes: Vec<String>,
}

impl Token {
    /// Whether it allows `verb` at `path`.
    #[must_use]
    pub fn allows(&self, verb: Verb, path: &str) -> bool {
        self.verbs.contains(&verb) && self.prefixes.iter().any(|prefix| covers(prefix, path))
    }
}

/// Whether `path` is the directory `prefix` or lies below it, by whole segments.
fn covers(prefix: &str, path: &str) -> bool {
    let dir = prefix.trim_end_matches('/');
    dir.is_empty()
        || path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// All tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Token>);

/// Why a request may not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// No token, or one that is not known: 401.
    Unknown,
    /// The token does not allow this: 403.
    Forbidden,
}

impl Tokens {
    /// From tokens with distinct names.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for two of one name.
    pub fn new(tokens: Vec<Token>) -> Result<Self> {
        for (i, token) in tokens.iter().enumerate() {
            if tokens.iter().take(i).any(|t| t.name == token.name) {
                let message = format!("two admin tokens are called `{}`; rename one", token.name);
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        Ok(Self(tokens))
    }

    /// The token of a request. All are compared, in constant time, so that the answer's delay says
    /// nothing of any.
    ///
    /// # Errors
    /// [`Denied::Unknown`].
    pub fn of(&self, fields: &HeaderMap) -> Result<&Token, Denied> {
        let mut values = fields.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Denied::Unknown);
        };
        let text = value.as_bytes();
        let scheme = text.get(..7).filter(|s| s.eq_ignore_ascii_case(b"Bearer "));
        let presented = scheme.and_then(|_| text.get(7..)).ok_or(Denied::Unknown)?;
        let digest = sha2::Sha256::digest(presented.trim_ascii());
        let mut found = None;
        for token in &self.0 {
            if bool::from(digest.as_slice().ct_eq(token.sha256.as_bytes())) {
                found = Some(token);
            }
        }
        found.ok_or(Denied::Unknown)
    }

    /// Whether a request may do all of these; the name of its token.
    ///
    /// # Errors
    /// What it is denied for.
    pub fn authorise(&self, fields: &HeaderMap, wants: &[(Verb, &str)]) -> Result<&str, Denied> {
        let token = self.of(fields)?;
        if wants.iter().all(|(verb, path)| token.allows(*verb, path)) {
            Ok(&token.name)
        } else {
            Err(Denied::Forbidden)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn token(name: &str, verbs: &[Verb], prefixes: &[&str]) -> Token {
        Token {
            name: name.to_owned(),
            sha256: Sha256::from_bytes(sha2::Sha256::digest(name.as_bytes()).into()),
            verbs: verbs.to_vec(),
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    fn request(values: &[&str]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        fields
    }

    #[test]
    fn abuse_39_a_token_is_known_and_allows_what_it_says() {
        let tokens = Tokens::new(vec![
            token("deploy", &[Verb::Put, Verb::Delete], &["images/", "css"]),
            token("all", &Verb::ALL, &[""]),
        ])
        .unwrap();
        let may = |who: &str, verb, path| tokens.authorise(&request(&[who]), &[(verb, path)]);
        for path in ["images/a", "images", "css/x/y"] {
            assert_eq!(may("Bearer deploy", Verb::Put, path), Ok("deploy"), "{path}");
        }
        for path in ["imagesx/a", "original/a", "", "Images/a", "cssx"] {
            assert_eq!(may("bearer deploy", Verb::Put, path), Err(Denied::Forbidden), "{path}");
        }
        assert_eq!(may("Bearer deploy", Verb::Get, "images/a"), Err(Denied::Forbidden));
        assert_eq!(may("Bearer all", Verb::List, ""), Ok("all"));
        for who in ["Bearer", "Bearer ", "Bearer Deploy", "Basic deploy", "deploy", "Bearerdeploy"]
        {
            assert_eq!(may(who, Verb::Put, "images/a"), Err(Denied::Unknown), "{who}");
        }
        let none = tokens.authorise(&request(&[]), &[]);
        let two = tokens.authorise(&request(&["Bearer all", "Bearer all"]), &[]);
        assert_eq!((none, two), (Err(Denied::Unknown), Err(Denied::Unknown)));
        assert_eq!(Tokens::default().of(&request(&["Bearer x"])), Err(Denied::Unknown));
    }

    #[test]
    fn abuse_51_both_ends_are_checked() {
        let tokens = Tokens::new(vec![token("t", &Verb::ALL, &["a"])]).unwrap();
        let fields = request(&["Bearer t"]);
        let may = |from, to| tokens.authorise(&fields, &[(Verb::Get, from), (Verb::Put, to)]);
        assert_eq!(may("a/x", "a/y"), Ok("t"));
        assert_eq!(may("b/x", "a/y"), Err(Denied::Forbidden));
        assert_eq!(may("a/x", "b/y"), Err(Denied::Forbidden));
    }

    #[test]
    fn names_are_distinct() {
        let twins = vec![token("a", &[], &[]), token("a", &[], &[])];
        assert_eq!(Tokens::new(twins).unwrap_err().kind(), ErrorKind::Config);
    }
}
