//! Migration of bytes, with their rows or without.

use ezdfs_core::{ETag, Error, ErrorKind, FileMeta, FilePath, Pin, Result, Sha256};
use ezdfs_engine::{Precondition, PublishOptions};

use super::{Outcome, Spent, Stop, Trust, Worker, changed, trust};
use crate::compare::{Known, Mtimes, Verdict, compare};
use crate::options::Verify;
use crate::progress::Symbol;
use crate::reader::Reader;
use crate::sides::Halves;
use crate::transfer::{Stored, digest, expecting, read_object, store_object};

/// What the target has under a path.
struct Present {
    /// `None`: a row whose bytes are gone.
    known: Option<Known>,
    mtimes: Mtimes,
    /// It carries the token of the source's version: it was copied from it, verified by no read.
    same_version: bool,
}

impl Worker {
    /// One try. What it has put on the target is told by `written`, however the try ends.
    pub(super) async fn content(
        &self,
        path: &FilePath,
        written: &mut Option<(Symbol, u64)>,
    ) -> Result<Outcome, Stop> {
        let reader = self.source.service();
        let pin = match &self.remover {
            // Before anything is read, so that only what was read can be deleted.
            Some(_) => self.pin(&self.source, path).await.map_err(Stop::of_source)?,
            None => None,
        };
        let meta = reader.load(path).await.map_err(Stop::of_source)?;
        let present = self.present(&meta).await.map_err(Stop::of_target)?;
        if let Some(present) = &present
            && let Some(sha256) = self.same(&meta, present).await?
        {
            if self.remover.is_some() {
                self.verify_same(&meta, sha256).await?;
            }
            return Ok(self.done(Symbol::Same, 0, meta, pin));
        }
        let symbol = if present.is_some() { Symbol::Replaced } else { Symbol::Copied };
        if self.dry_run {
            let bytes = self.readable(&meta).await.map_err(Stop::of_source)?;
            return Ok(self.done(symbol, bytes, meta, pin));
        }
        let (meta, stored) = self.copy(path).await?;
        *written = Some((symbol, stored.size));
        // What was found there before is history.
        self.target.forget(path);
        self.verify(path, &stored).await.map_err(Stop::of_target)?;
        Ok(self.done(symbol, stored.size, meta, pin))
    }

    fn done(&self, symbol: Symbol, bytes: u64, meta: FileMeta, pin: Option<Pin>) -> Outcome {
        let spent = self.remover.is_some().then_some(Spent { meta, pin });
        Outcome { spent, ..Outcome::of(symbol, bytes) }
    }

    pub(super) async fn pin(&self, reader: &Reader, path: &FilePath) -> Result<Option<Pin>> {
        let binary = reader.service().binary();
        Ok(binary.head(&binary.key(path)?).await?.and_then(|o| o.pin))
    }

    /// What the target has; `None` when it has no such file.
    async fn present(&self, meta: &FileMeta) -> Result<Option<Present>> {
        if self.halves == Halves::BinaryOnly {
            let binary = self.target.service().binary();
            let object = binary.head(&binary.key(&meta.path)?).await?;
            return Ok(object.map(|o| Present {
                known: Some(Known { size: o.size, mtime: o.mtime, sha256: None }),
                mtimes: Mtimes::OfCopy,
                same_version: o.token.is_some() && o.token == meta.token && o.size == meta.size,
            }));
        }
        let service = self.target.service();
        let row = match service.load(&meta.path).await {
            Ok(row) => row,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let kept = service.metadata().is_separate();
        let known = Known { size: row.size, mtime: row.mtime, sha256: row.sha256 };
        let mut known = Some(known);
        if kept && self.verify != Verify::None {
            match trust(&self.target, &row).await? {
                Trust::Pinned => {}
                Trust::Unknown => known = known.map(|k| Known { sha256: None, ..k }),
                Trust::Missing => known = None,
            }
        }
        let mtimes = if kept { Mtimes::Kept } else { Mtimes::OfCopy };
        Ok(Some(Present { known, mtimes, same_version: false }))
    }

    /// Whether the target has this version: `Some` with the digest, as far as it had to be known.
    async fn same(
        &self,
        meta: &FileMeta,
        present: &Present,
    ) -> Result<Option<Option<Sha256>>, Stop> {
        if present.same_version {
            return Ok(Some(meta.sha256));
        }
        let mut source = Known { size: meta.size, mtime: meta.mtime, sha256: meta.sha256 };
        if self.verify == Verify::Sha256 {
            source.sha256 = None;
        }
        let Some(mut target) = present.known else { return Ok(None) };
        loop {
            match compare(source, target, present.mtimes, self.verify) {
                Verdict::Same => return Ok(Some(source.sha256)),
                Verdict::Differs => return Ok(None),
                Verdict::NeedsSource => source.sha256 = Some(self.source_digest(meta).await?),
                Verdict::NeedsTarget => match self.target_digest(&meta.path).await {
                    Ok(sha256) => target.sha256 = Some(sha256),
                    // What cannot be read is replaced.
                    Err(e)
                        if matches!(
                            e.kind(),
                            ErrorKind::NotFound | ErrorKind::MissingBytes | ErrorKind::Corrupt
                        ) =>
                    {
                        return Ok(None);
                    }
                    Err(e) => return Err(Stop::of_target(e)),
                },
            }
        }
    }

    /// The digest of what the source stores now: its row's if the row's pin is that of the object,
    /// else of the bytes.
    async fn source_digest(&self, meta: &FileMeta) -> Result<Sha256, Stop> {
        if let Some(sha256) = meta.sha256 {
            match trust(&self.source, meta).await.map_err(Stop::of_source)? {
                Trust::Pinned => return Ok(sha256),
                Trust::Unknown | Trust::Missing => {}
            }
        }
        let service = self.source.service();
        let (read, body) = service.open_whole(&meta.path).await.map_err(Stop::of_source)?;
        let body = self.meter.read(body, service.binary().io_timeout, false);
        let (_, sha256) = digest(body).await.map_err(Stop::of_source)?;
        if read.size != meta.size {
            return Err(changed(&meta.path).into());
        }
        Ok(sha256)
    }

    async fn target_digest(&self, path: &FilePath) -> Result<Sha256> {
        let service = self.target.service();
        let timeout = service.binary().io_timeout;
        if self.halves == Halves::BinaryOnly {
            let body = read_object(service.binary(), path, None).await?;
            return Ok(digest(self.meter.read(body, timeout, false)).await?.1);
        }
        let (_, body) = service.open_whole(path).await?;
        Ok(digest(self.meter.read(body, timeout, false)).await?.1)
    }

    /// A dry run: whether the source has the bytes; their number.
    async fn readable(&self, meta: &FileMeta) -> Result<u64> {
        let opened = self.source.service().open(&meta.path, |_| Some(0..0)).await?;
        Ok(opened.meta.size)
    }

    async fn copy(&self, path: &FilePath) -> Result<(FileMeta, Stored), Stop> {
        let service = self.source.service();
        let (meta, body) = service.open_whole(path).await.map_err(Stop::of_source)?;
        let body = self.meter.read(body, service.binary().io_timeout, true);
        let expected = meta.sha256.filter(|_| self.verify == Verify::Sha256);
        let body = expecting(body, expected, path);
        if self.halves == Halves::BinaryOnly {
            let binary = self.writer.binary();
            let stored = store_object(binary, path, &meta.datatype, meta.token, body).await;
            return Ok((meta, stored.map_err(Stop::of_target)?));
        }
        let options = PublishOptions {
            precondition: Precondition::None,
            datatype: Some(meta.datatype.clone()),
            mtime: Some(meta.mtime),
            expires: meta.expires,
            mode: meta.attrs.mode,
            uid: meta.attrs.uid,
            gid: meta.attrs.gid,
        };
        let published = self.writer.publish(path, body, options).await?;
        Ok((meta, Stored { size: published.size, sha256: published.sha256 }))
    }

    /// Checks a copy. One that is not what was sent is taken away, so that neither a reader nor a
    /// later run takes it for good.
    async fn verify(&self, path: &FilePath, stored: &Stored) -> Result<()> {
        let read = match self.verify {
            Verify::None => return Ok(()),
            Verify::Size => {
                let binary = self.target.service().binary();
                let object = binary.head(&binary.key(path)?).await?;
                if object.is_some_and(|o| o.size == stored.size) {
                    return Ok(());
                }
                "its object does not have the size that was written"
            }
            Verify::Sha256 => match self.read_back(path, stored).await {
                Ok(sha256) if sha256 == stored.sha256 => return Ok(()),
                Ok(_) => "read back, its bytes are not those that were written",
                Err(e) if e.kind() == ErrorKind::Corrupt => {
                    "read back, its bytes do not belong to what was written"
                }
                Err(e) => return Err(e),
            },
        };
        self.withdraw(path, stored).await;
        Err(Error::new(
            ErrorKind::Corrupt,
            format!("the copy of `{path}` was not kept: {read}; check the target's storage"),
        ))
    }

    /// Reads the target's object and its row.
    async fn read_back(&self, path: &FilePath, stored: &Stored) -> Result<Sha256> {
        let service = self.target.service();
        if self.halves == Halves::Both && service.metadata().is_separate() {
            let row = service.load(path).await?;
            // Somebody else wrote the file meanwhile.
            if row.sha256 != Some(stored.sha256) {
                return Err(changed(path));
            }
        }
        self.target_digest(path).await
    }

    /// `=` on a side that is about to be deleted: the target's bytes are read, not only its row.
    async fn verify_same(&self, meta: &FileMeta, sha256: Option<Sha256>) -> Result<(), Stop> {
        let path = &meta.path;
        if self.verify == Verify::Size {
            // The comparison has just asked for the object and its size.
            return Ok(());
        }
        let expected = match sha256 {
            Some(sha256) => sha256,
            None => self.source_digest(meta).await?,
        };
        let found = self.target_digest(path).await.map_err(Stop::of_target)?;
        if found == expected {
            return Ok(());
        }
        Err(Stop::of_target(Error::new(
            ErrorKind::Corrupt,
            format!(
                "the bytes of `{path}` are not those that its row says; delete it there and \
                 migrate it again"
            ),
        )))
    }

    /// Takes away a copy that is not what was sent, unless somebody else replaced it meanwhile.
    async fn withdraw(&self, path: &FilePath, stored: &Stored) {
        let removed = if self.halves == Halves::BinaryOnly {
            self.delete_object(&self.writer, path).await
        } else {
            let own = Precondition::Matches(vec![ETag::Strong(stored.sha256.to_string())]);
            let precondition =
                if self.writer.metadata().is_separate() { own } else { Precondition::None };
            self.writer.delete(path, &precondition).await
        };
        if let Err(e) = removed
            && e.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%path, error = %e, "a copy that failed its check could not be removed from the target");
        }
    }
}
