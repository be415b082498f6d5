//! `ezdfs stat`

use clap::Args;
use ezdfs_core::{DirPath, Entry, Error, FilePath, Record, Scope};
use serde::Serialize;

use crate::context::{Context, Store};
use crate::listing::octal;
use crate::out::Out;
use crate::outcome::{Result, Tally};
use crate::paths::{self, Place};
use crate::when::rfc3339;

const AFTER: &str = "\
Fields that are not known are left out, e.g. the digest of a file that a PHP node wrote. A
file that is in the trash or has expired does not exist for a reader; --hidden shows it all
the same.

JSON (--json): one object per path with the same fields.

Examples:
  ezdfs stat images/1/2/a.jpg
  ezdfs stat --json images/1/2/a.jpg | jq -r .sha256
  ezdfs put new.jpg images/a.jpg --if-match \"$(ezdfs stat --json images/a.jpg | jq -r .etag)\"";

/// Show everything that is known of files or directories
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct StatArgs {
    /// Files or directories
    #[arg(value_name = "PATH", value_parser = paths::place(), required = true)]
    paths: Vec<Place>,
    /// Show soft-deleted and expired files, too
    #[arg(long)]
    hidden: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Stat {
    path: String,
    name: String,
    name_hash: String,
    kind: &'static str,
    visible: bool,
    #[serde(flatten)]
    file: Option<FileStat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ctime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    metadata_handler: String,
    binarydata_handler: String,
}

#[derive(Debug, Serialize)]
struct FileStat {
    size: u64,
    #[serde(rename = "type")]
    datatype: String,
    scope: &'static str,
    etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    object_key: String,
}

pub(crate) async fn run(args: StatArgs, context: &Context) -> Result {
    let store = context.open().await?;
    let mut out = Out::new();
    let mut tally = Tally::default();
    for (i, place) in args.paths.iter().enumerate() {
        if i > 0 && !args.json {
            out.line("")?;
        }
        let one = async {
            let stat = stat(&store, place, args.hidden).await?;
            if args.json { out.json(&stat) } else { print(&stat, &mut out) }
        };
        tally.count(one.await)?;
    }
    out.flush()?;
    Ok(tally.outcome())
}

async fn stat(store: &Store, place: &Place, hidden: bool) -> Result<Stat> {
    let Some(path) = place.path.path() else {
        let entry = store.service.entry(&place.path).await?;
        return Ok(of_entry(store, &place.path, &entry)?);
    };
    match store.service.entry(&place.path).await {
        Ok(Entry::File(_)) if place.slash => Err(crate::ls::not_a_directory(path).into()),
        Ok(entry) => Ok(of_entry(store, &place.path, &entry)?),
        Err(e) if e.kind() == ezdfs_core::ErrorKind::NotFound => {
            let record = store.service.metadata().record(path).await?;
            match record.file(path) {
                Some(_) if hidden => Ok(of_hidden(store, path, &record)?),
                Some(_) => {
                    let what = "it was deleted or has expired; --hidden shows what is left";
                    Err(Error::not_found(path).with_source(what).into())
                }
                None => Err(e.into()),
            }
        }
        Err(e) => Err(e.into()),
    }
}

fn of_entry(store: &Store, path: &DirPath, entry: &Entry) -> Result<Stat, Error> {
    let mut stat = base(store, path);
    let attrs = match entry {
        Entry::File(file) => {
            stat.file = Some(of_file(store, file)?);
            &file.attrs
        }
        Entry::Directory(dir) => {
            stat.kind = "dir";
            &dir.attrs
        }
    };
    if !path.is_root() {
        stat.mtime = Some(rfc3339(entry.mtime()));
        stat.ctime = Some(rfc3339(attrs.ctime));
    }
    stat.mode = attrs.mode.map(octal);
    stat.uid = attrs.uid;
    stat.gid = attrs.gid;
    Ok(stat)
}

fn of_hidden(store: &Store, path: &FilePath, record: &Record) -> Result<Stat, Error> {
    let Some(file) = record.file(path) else { return Err(Error::not_found(path)) };
    let mut stat = of_entry(store, &path.clone().into(), &Entry::File(file))?;
    stat.visible = false;
    Ok(stat)
}

fn base(store: &Store, path: &DirPath) -> Stat {
    let name = store.service.metadata().prefix().dir_name(path);
    Stat {
        path: path.to_string(),
        name_hash: name.hash().to_hex(),
        name: name.to_string(),
        kind: "file",
        visible: true,
        file: None,
        mtime: None,
        ctime: None,
        mode: None,
        uid: None,
        gid: None,
        metadata_handler: store.settings().store.metadata.clone(),
        binarydata_handler: store.settings().store.binarydata.clone(),
    }
}

fn of_file(store: &Store, file: &ezdfs_core::FileMeta) -> Result<FileStat, Error> {
    Ok(FileStat {
        size: file.size,
        datatype: file.datatype.clone(),
        scope: Scope::of(&file.path).as_str(),
        etag: file.etag().to_string(),
        sha256: file.sha256.map(|s| s.to_string()),
        token: file.token.map(|t| t.to_string()),
        pin: file.pin.as_ref().map(|p| p.as_str().to_owned()),
        expires: file.expires.map(rfc3339),
        object_key: store.service.binary().key(&file.path)?.to_string(),
    })
}

/// The members of the JSON form, one per line.
fn print(stat: &Stat, out: &mut Out) -> Result<()> {
    let file = stat.file.as_ref();
    let rows: [(&str, Option<String>); 20] = [
        ("path", Some(if stat.path.is_empty() { "/".to_owned() } else { stat.path.clone() })),
        ("name", Some(stat.name.clone())),
        ("name hash", Some(stat.name_hash.clone())),
        ("kind", Some(stat.kind.to_owned())),
        ("visible", Some(if stat.visible { "yes" } else { "no" }.to_owned())),
        ("size", file.map(|f| f.size.to_string())),
        ("mtime", stat.mtime.clone()),
        ("ctime", stat.ctime.clone()),
        ("type", file.map(|f| f.datatype.clone())),
        ("scope", file.map(|f| f.scope.to_owned())),
        ("etag", file.map(|f| f.etag.clone())),
        ("sha256", file.and_then(|f| f.sha256.clone())),
        ("token", file.and_then(|f| f.token.clone())),
        ("pin", file.and_then(|f| f.pin.clone())),
        ("expires", file.and_then(|f| f.expires.clone())),
        ("mode", stat.mode.clone()),
        ("owner", stat.uid.map(|u| u.to_string())),
        ("group", stat.gid.map(|g| g.to_string())),
        ("object key", file.map(|f| f.object_key.clone())),
        ("handlers", Some(format!("{},{}", stat.metadata_handler, stat.binarydata_handler))),
    ];
    for (what, value) in rows {
        if let Some(value) = value {
            out.line(&format!("{what:<11} {value}"))?;
        }
    }
    Ok(())
}
