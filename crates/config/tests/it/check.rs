use ezdfs_config::Place;
use ezdfs_config::check::check;

use crate::site::{FULL, Site};

#[cfg(feature = "sqlite")]
#[test]
fn the_defaults_have_no_problem() {
    let site = Site::bare();
    assert_eq!(check(&site.load().unwrap(), &site.sources.env), []);
}

#[test]
fn handlers_that_this_build_cannot_open_and_missing_secrets() {
    let site = Site::new(FULL);
    let problems = check(&site.load().unwrap(), &site.sources.env);
    let found: Vec<_> = problems.iter().map(|p| (&*p.key, &*p.message)).collect();
    assert_eq!(
        found,
        [
            ("metadata_handlers.main.url", "this build has no mysql handler yet"),
            (
                "metadata_handlers.main.password",
                "environment variable DFS_DB_PASSWORD is not set; set it, or use { file = … }"
            ),
            ("binarydata_handlers.aws_s3.url", "this build has no s3 handler yet"),
        ]
    );
    assert_eq!(problems[0].place, Place::File { path: site.file(), line: 13 });
    let site = site.env(&[("DFS_DB_PASSWORD", "x")]);
    assert_eq!(check(&site.load().unwrap(), &site.sources.env).len(), 2);
}

#[test]
fn each_kind_of_handler_is_named() {
    for (key, url, name) in [
        ("metadata_handlers.dfs", "mariadb://db/x", "mysql"),
        ("metadata_handlers.dfs", "postgresql://db/x", "postgres"),
        ("binarydata_handlers.nfs", "gs://b", "gs"),
        ("binarydata_handlers.nfs", "az://b", "az"),
    ] {
        let site = Site::new(&format!("[{key}]\nurl = '{url}'"));
        let problems = check(&site.load().unwrap(), &site.sources.env);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].message, format!("this build has no {name} handler yet"));
    }
}
