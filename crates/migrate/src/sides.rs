//! Sides: `META,BIN` pairs of `--from` and `--to`, checked as Ibexa checks them
//! (ibexa-dfs.md §4), and what a pair of sides asks to be migrated.

use std::fmt;

use ezdfs_core::{Error, ErrorKind, Result};

/// The handler name that always exists.
pub const DEFAULT_HANDLER: &str = "default";

/// A metadata handler and a binarydata handler, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidePair {
    /// Name of the metadata handler.
    pub metadata: String,
    /// Name of the binarydata handler.
    pub binarydata: String,
}

/// Which end of the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `--from`
    Source,
    /// `--to`
    Target,
}

impl End {
    /// The command line option that names this end.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::Source => "--from",
            Self::Target => "--to",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// The handlers that exist, by name, in the order of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handlers {
    metadata: Vec<String>,
    binarydata: Vec<String>,
}

impl Handlers {
    /// The configured handlers in file order. [`DEFAULT_HANDLER`] is appended last where it is not
    /// among them, as Ibexa does.
    pub fn new<M, B>(metadata: M, binarydata: B) -> Self
    where
        M: IntoIterator<Item: Into<String>>,
        B: IntoIterator<Item: Into<String>>,
    {
        Self {
            metadata: with_default(metadata.into_iter().map(Into::into).collect()),
            binarydata: with_default(binarydata.into_iter().map(Into::into).collect()),
        }
    }

    /// Metadata handlers.
    #[must_use]
    pub fn metadata(&self) -> &[String] {
        &self.metadata
    }

    /// Binarydata handlers.
    #[must_use]
    pub fn binarydata(&self) -> &[String] {
        &self.binarydata
    }

    /// What an omitted `--to` means: the first handler of each kind.
    #[must_use]
    pub fn first(&self) -> SidePair {
        let first = |names: &[String]| names.first().map_or(DEFAULT_HANDLER, |n| n).to_owned();
        SidePair { metadata: first(&self.metadata), binarydata: first(&self.binarydata) }
    }
}

/// The two lists, as `--list-io-handlers` prints them.
impl fmt::Display for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Metadata handlers:")?;
        for name in &self.metadata {
            writeln!(f, "  {name}")?;
        }
        writeln!(f, "Binary data handlers:")?;
        for (at, name) in self.binarydata.iter().enumerate() {
            let end = if at + 1 == self.binarydata.len() { "" } else { "\n" };
            write!(f, "  {name}{end}")?;
        }
        Ok(())
    }
}

fn with_default(mut names: Vec<String>) -> Vec<String> {
    if !names.iter().any(|n| n == DEFAULT_HANDLER) {
        names.push(DEFAULT_HANDLER.to_owned());
    }
    names
}

/// Parses `--bulk-count`.
///
/// # Errors
/// [`ErrorKind::Usage`] for anything but a positive integer.
pub fn parse_bulk_count(text: &str) -> Result<usize> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| {
        Error::new(
            ErrorKind::Usage,
            format!("--bulk-count must be a positive integer, and `{text}` is none"),
        )
    })
}

/// Both sides from the options, checked in Ibexa's order: first that each has two values, then
/// that each handler exists. An omitted `--from` is `default,default`; an omitted `--to` is
/// [`Handlers::first`].
///
/// # Errors
/// [`ErrorKind::Usage`]: the message names the option, or the side, the kind and the handler, and
/// then lists the handlers.
pub fn resolve(
    from: Option<&str>,
    to: Option<&str>,
    handlers: &Handlers,
) -> Result<(SidePair, SidePair)> {
    let source = match from {
        Some(text) => SidePair::parse(End::Source, text)?,
        None => SidePair::default(),
    };
    let target = match to {
        Some(text) => SidePair::parse(End::Target, text)?,
        None => handlers.first(),
    };
    source.check(End::Source, handlers)?;
    target.check(End::Target, handlers)?;
    Ok((source, target))
}

impl Default for SidePair {
    /// `default,default`
    fn default() -> Self {
        Self { metadata: DEFAULT_HANDLER.to_owned(), binarydata: DEFAULT_HANDLER.to_owned() }
    }
}

impl SidePair {
    /// Parses the value of `--from` or `--to`: exactly two values with a comma between them, taken
    /// literally.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`], naming the option.
    pub fn parse(end: End, text: &str) -> Result<Self> {
        match text.split(',').collect::<Vec<_>>()[..] {
            [metadata, binarydata] => {
                Ok(Self { metadata: metadata.to_owned(), binarydata: binarydata.to_owned() })
            }
            _ => Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "{} takes two handler names with a comma between them, as in \
                     `default,default`; `{text}` is something else",
                    end.option()
                ),
            )),
        }
    }

    fn check(&self, end: End, handlers: &Handlers) -> Result<()> {
        let unknown = |kind: &str, name: &str| {
            Err(Error::new(
                ErrorKind::Usage,
                format!(
                    "the {end} names the {kind} handler `{name}`, which does not exist\n\n{handlers}"
                ),
            ))
        };
        if !handlers.metadata.contains(&self.metadata) {
            return unknown("metadata", &self.metadata);
        }
        if !handlers.binarydata.contains(&self.binarydata) {
            return unknown("binary data", &self.binarydata);
        }
        Ok(())
    }
}

/// `META,BIN`, as on the command line.
impl fmt::Display for SidePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.metadata, self.binarydata)
    }
}

/// What differs between two sides: the half whose handler is the same on both is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// Bytes and rows.
    Both,
    /// Bytes only: no row is touched.
    BinaryOnly,
    /// Rows only: no byte is copied.
    MetadataOnly,
}

impl Halves {
    /// What is to be migrated; `None` for identical sides, where there is nothing to do.
    #[must_use]
    pub fn of(source: &SidePair, target: &SidePair) -> Option<Self> {
        match (source.metadata != target.metadata, source.binarydata != target.binarydata) {
            (true, true) => Some(Self::Both),
            (false, true) => Some(Self::BinaryOnly),
            (true, false) => Some(Self::MetadataOnly),
            (false, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handlers() -> Handlers {
        Handlers::new(["dfs", "nfsmeta"], ["nfs", "aws_s3"])
    }

    #[test]
    fn omitted_sides_are_default_and_the_first_handlers() {
        let (from, to) = resolve(None, None, &handlers()).unwrap();
        assert_eq!(
            (from.to_string(), to.to_string()),
            ("default,default".into(), "dfs,nfs".into())
        );
        let none = Handlers::new(Vec::<String>::new(), Vec::<String>::new());
        let (from, to) = resolve(None, None, &none).unwrap();
        assert_eq!(Halves::of(&from, &to), None);
        // A configured `default` keeps its place.
        let first = Handlers::new(["default", "dfs"], ["nfs"]).first();
        assert_eq!(first.to_string(), "default,nfs");
    }

    #[test]
    fn a_side_has_exactly_two_values_and_the_option_is_named() {
        for bad in ["dfs", "", "dfs,nfs,x", ",,"] {
            let e = resolve(None, Some(bad), &handlers()).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Usage);
            assert!(e.message().contains("--to"), "{e}");
            let e = resolve(Some(bad), Some("dfs"), &handlers()).unwrap_err();
            assert!(e.message().contains("--from"), "{e}");
        }
        // The number of values comes before the existence of handlers.
        let e = resolve(Some("nope,nope"), Some("dfs"), &handlers()).unwrap_err();
        assert!(e.message().contains("--to"), "{e}");
    }

    #[test]
    fn an_unknown_handler_is_named_with_side_and_kind_and_the_lists_follow() {
        for (from, to, words) in [
            ("x,nfs", "dfs,nfs", ["source", "metadata handler `x`"]),
            ("dfs,y", "dfs,nfs", ["source", "binary data handler `y`"]),
            ("dfs,nfs", "z,nfs", ["target", "metadata handler `z`"]),
            ("dfs,nfs", "dfs,", ["target", "binary data handler ``"]),
            ("dfs,nfs", "dfs, nfs", ["target", "binary data handler ` nfs`"]),
        ] {
            let e = resolve(Some(from), Some(to), &handlers()).unwrap_err();
            for word in words.iter().chain(&["aws_s3", "nfsmeta", "default"]) {
                assert!(e.message().contains(word), "{word}: {e}");
            }
        }
    }

    #[test]
    fn bulk_counts_are_positive() {
        assert_eq!(parse_bulk_count("7").unwrap(), 7);
        for bad in ["0", "-1", "x", "", "1.5"] {
            assert_eq!(parse_bulk_count(bad).unwrap_err().kind(), ErrorKind::Usage, "{bad}");
        }
    }

    #[test]
    fn the_same_handler_on_one_side_skips_that_half() {
        let pair = |t: &str| SidePair::parse(End::Source, t).unwrap();
        assert_eq!(Halves::of(&pair("a,b"), &pair("c,d")), Some(Halves::Both));
        assert_eq!(Halves::of(&pair("a,b"), &pair("a,d")), Some(Halves::BinaryOnly));
        assert_eq!(Halves::of(&pair("a,b"), &pair("c,b")), Some(Halves::MetadataOnly));
        assert_eq!(Halves::of(&pair("a,b"), &pair("a,b")), None);
    }
}
