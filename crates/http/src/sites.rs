//! `Sites`: the sites of one asset listener, and which of them a request is for.

use ezdfs_core::FilePath;
use ezdfs_engine::FileService;
use http::Uri;

use crate::target::{Refusal, Resolved, Targets};

/// A store at one place of the URL space.
#[derive(Debug)]
pub struct Site {
    /// Tells its files from those of other sites.
    number: usize,
    service: FileService,
    targets: Targets,
}

impl Site {
    /// The files of `service` at `targets`.
    #[must_use]
    pub fn new(service: FileService, targets: Targets) -> Self {
        Self { number: 0, service, targets }
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// The path of the URL of a file, encoded.
    pub(crate) fn url_path(&self, path: &FilePath) -> String {
        self.targets.url_path(path)
    }

    pub(crate) fn service(&self) -> &FileService {
        &self.service
    }
}

/// All sites of a listener.
#[derive(Debug)]
pub struct Sites {
    main: Site,
    /// The others, and before how many of them the main site is asked.
    others: Vec<Site>,
    main_at: usize,
}

impl Sites {
    /// A main site, and others.
    #[must_use]
    pub fn new(main: Site, mut others: Vec<Site>) -> Self {
        // The most special first: no prefix hides a longer one.
        others.sort_by_key(|site| std::cmp::Reverse(site.targets.rank()));
        for (number, site) in (1..).zip(&mut others) {
            site.number = number;
        }
        let main_at = others.partition_point(|site| site.targets.rank() > main.targets.rank());
        Self { main, others, main_at }
    }

    pub(crate) fn main(&self) -> &Site {
        &self.main
    }

    /// The site that a request is for, and what it means there.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn resolve(
        &self,
        uri: &Uri,
        authority: Option<&str>,
    ) -> Result<(&Site, Resolved), Refusal> {
        let mut site = &self.main;
        if !self.others.is_empty() {
            let (before, after) = self.others.split_at(self.main_at.min(self.others.len()));
            let mut all = before.iter().chain([&self.main]).chain(after);
            site = all.find(|site| site.targets.covers(uri, authority)).unwrap_or(site);
        }
        Ok((site, site.targets.resolve(uri, authority)?))
    }
}
