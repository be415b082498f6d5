//! Migration of rows alone: the bytes stay where they are.

use ezdfs_core::{
    Change, ErrorKind, FileMeta, FilePath, Guard, NewFile, Op, Pin, Record, Result, Sha256,
};
use ezdfs_engine::ObjectInfo;

use super::{Outcome, Stop, Worker, changed};
use crate::options::Verify;
use crate::progress::Symbol;
use crate::transfer::digest;

impl Worker {
    pub(super) async fn index(&self, path: &FilePath) -> Result<Outcome, Stop> {
        let (meta, object) = self.described(path).await.map_err(Stop::of_source)?;
        let service = self.target.service();
        if !service.metadata().is_separate() {
            // Rows that are derived from these very objects.
            service.load(path).await.map_err(Stop::of_target)?;
            return Ok(Outcome::of(Symbol::Same, 0));
        }
        let record = service.metadata().record(path).await.map_err(Stop::of_target)?;
        let row = match service.load(path).await {
            Ok(row) => Some(row),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Stop::of_target(e)),
        };
        if let Some(row) = &row
            && self.describes(row, &meta, &object)
        {
            return Ok(Outcome::of(Symbol::Same, 0));
        }
        let symbol = if row.is_some() { Symbol::Replaced } else { Symbol::Copied };
        if !self.dry_run {
            let sha256 = self.content_digest(&meta, &object).await?;
            self.write_row(&meta, &object, sha256, &record).await.map_err(Stop::of_target)?;
        }
        Ok(Outcome::of(symbol, 0))
    }

    /// The source's metadata and the object that it describes.
    async fn described(&self, path: &FilePath) -> Result<(FileMeta, ObjectInfo)> {
        let service = self.source.service();
        let binary = service.binary();
        let key = binary.key(path)?;
        let meta = service.load(path).await?;
        let fits = |meta: &FileMeta, object: &ObjectInfo| {
            object.size == meta.size && (meta.pin.is_none() || meta.pin == object.pin)
        };
        if let Some(object) = binary.head(&key).await?
            && fits(&meta, &object)
        {
            return Ok((meta, object));
        }
        // Rows and object differ: read it as any reader does, who waits, repairs or gives up.
        let meta = service.open(path, |_| Some(0..0)).await?.meta;
        match binary.head(&key).await? {
            Some(object) if fits(&meta, &object) => Ok((meta, object)),
            _ => Err(changed(path)),
        }
    }

    /// Whether the target's row is that of the object already.
    fn describes(&self, row: &FileMeta, meta: &FileMeta, object: &ObjectInfo) -> bool {
        if row.size != object.size {
            return false;
        }
        match &row.pin {
            Some(pin) => {
                let digest_known = row.sha256.is_some() || self.verify != Verify::Sha256;
                object.pin.as_ref() == Some(pin)
                    && digest_known
                    && (meta.sha256.is_none() || meta.sha256 == row.sha256)
            }
            // A row that PHP wrote for this object, or that nobody has read yet.
            None => row.mtime.base_mtime() == meta.mtime.base_mtime(),
        }
    }

    /// The digest for the row: the source row's; else, with `--verify sha256`, of the bytes.
    async fn content_digest(
        &self,
        meta: &FileMeta,
        object: &ObjectInfo,
    ) -> Result<Option<Sha256>, Stop> {
        if meta.sha256.is_some() && meta.pin.is_some() && meta.pin == object.pin {
            return Ok(meta.sha256);
        }
        if self.verify != Verify::Sha256 {
            return Ok(None);
        }
        let service = self.source.service();
        let (_, body) = service.open_whole(&meta.path).await.map_err(Stop::of_source)?;
        let body = self.meter.read(body, service.binary().io_timeout, true);
        let (_, sha256) = digest(body).await.map_err(Stop::of_source)?;
        Ok(Some(sha256))
    }

    /// Writes the row if neither the target's row nor the object changed since they were looked at.
    async fn write_row(
        &self,
        meta: &FileMeta,
        object: &ObjectInfo,
        sha256: Option<Sha256>,
        record: &Record,
    ) -> Result<()> {
        let path = &meta.path;
        let unmoved = |pin: &Option<Pin>| *pin == object.pin;
        if !unmoved(&self.pin(&self.source, path).await?) {
            return Err(changed(path));
        }
        let file = NewFile {
            size: object.size,
            mtime: meta.mtime,
            datatype: meta.datatype.clone(),
            sha256,
            token: meta.token,
            pin: object.pin.clone(),
            expires: meta.expires,
            mode: meta.attrs.mode,
            uid: meta.attrs.uid,
            gid: meta.attrs.gid,
        };
        let change = Change::new()
            .guard(Guard::Unchanged { path: path.clone(), witness: record.witness() })
            .guard(Guard::Free { path: path.clone(), subtree: false })
            .op(Op::PutFile { path: path.clone(), file });
        self.writer.metadata().apply(change).await?;
        // Whoever replaced the object meanwhile is seen by a second try.
        if unmoved(&self.pin(&self.source, path).await?) { Ok(()) } else { Err(changed(path)) }
    }
}
