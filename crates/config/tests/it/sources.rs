//! Which file, which data directory.

use std::path::{Path, PathBuf};

use ezdfs_config::Place;

use crate::site::Site;

const A: &str = "store.trash = '1s'";
const B: &str = "store.trash = '2s'";

#[test]
fn option_before_variable_before_candidates() {
    let mut site = Site::new(A);
    let (first, second) = (site.dir.path().join("first.toml"), site.dir.path().join("second.toml"));
    std::fs::write(&first, B).unwrap();
    std::fs::write(&second, A).unwrap();
    assert_eq!(site.load().unwrap().file, Some(site.file()));
    let file = site.file();
    site.sources.candidates = vec![site.dir.path().join("none.toml"), second.clone(), file];
    assert_eq!(site.load().unwrap().file, Some(second));
    site = site.env(&[("EZDFS_CONFIG", first.to_str().unwrap())]);
    assert_eq!(site.load().unwrap().file, Some(first.clone()));
    site.sources.config = Some(site.file());
    assert_eq!(site.load().unwrap().file, Some(site.file()));
    site.sources.config = None;
    let site = site.env(&[("EZDFS_CONFIG", "")]);
    assert_ne!(site.load().unwrap().file, Some(first), "an empty variable names nothing");
}

#[test]
fn a_named_file_must_be_readable() {
    let mut site = Site::new(A).env(&[("EZDFS_CONFIG", "/nonexistent/e.toml")]);
    let p = &site.problems()[0];
    assert_eq!(p.place, Place::Env("EZDFS_CONFIG".to_owned()));
    assert!(
        p.to_string()
            .starts_with("environment variable EZDFS_CONFIG: /nonexistent/e.toml cannot be read"),
        "{p}"
    );
    site.sources.config = Some(PathBuf::from("/nonexistent/f.toml"));
    let p = &site.problems()[0];
    assert!(p.to_string().starts_with("--config: /nonexistent/f.toml cannot be read"), "{p}");
    site.sources.config = Some(site.dir.path().to_owned());
    assert_eq!(site.problems().len(), 1);
}

#[test]
fn a_candidate_that_is_there_must_be_readable() {
    let site = Site::bare();
    std::fs::write(site.file(), b"a = '\xff'").unwrap();
    let p = &site.problems()[0];
    assert_eq!(p.place, Place::File { path: site.file(), line: 0 });
    assert!(p.message.contains("not UTF-8"), "{p}");
    std::fs::write(site.file(), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert!(site.problems()[0].message.contains("more than 1 MiB"));
}

#[test]
fn the_data_directory() {
    let mut site = Site::bare().env(&[("EZDFS_DATA_DIR", "/var/lib/ezdfs")]);
    site.sources.data_dir = Some(PathBuf::from("relative"));
    let loaded = site.load().unwrap();
    assert!(loaded.data_dir.is_absolute() && loaded.data_dir.ends_with("relative"));
    site.sources.data_dir = None;
    assert_eq!(site.load().unwrap().data_dir, Path::new("/var/lib/ezdfs"));
    let site = site.env(&[]);
    assert!(site.load().unwrap().data_dir.ends_with("ezdfs-data"));
    let mut site = site;
    site.sources.data_dir = Some(PathBuf::new());
    assert!(site.problems()[0].to_string().starts_with("--data-dir: not a data directory"));
}
