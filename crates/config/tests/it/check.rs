use ezdfs_config::Place;
use ezdfs_config::check::check;

use crate::site::{FULL, Site};

#[cfg(feature = "sqlite")]
#[test]
fn the_defaults_have_no_problem() {
    let site = Site::bare();
    assert_eq!(check(&site.load().unwrap()), []);
}

#[cfg(feature = "mysql")]
#[test]
fn handlers_that_this_build_cannot_open_and_missing_secrets() {
    let site = Site::new(FULL);
    let problems = check(&site.load().unwrap());
    let found: Vec<_> = problems.iter().map(|p| (&*p.key, &*p.message)).collect();
    assert_eq!(
        found,
        [
            (
                "metadata_handlers.main.password",
                "environment variable DFS_DB_PASSWORD is not set; set it, or use { file = … }"
            ),
            (
                "metadata_handlers.main.tls_ca",
                "certificate file /etc/ezdfs/no/db-ca.pem cannot be read; check path and permissions: No such file or directory (os error 2)"
            ),
            (
                "serve.signing_keys[0].secret",
                "environment variable SIGNING_KEY is not set; set it, or use { file = … }"
            ),
            ("binarydata_handlers.aws_s3.url", "this build has no s3 handler yet"),
        ]
    );
    assert_eq!(problems[0].place, Place::File { path: site.file(), line: 14 });
    let site = site.env(&[("DFS_DB_PASSWORD", "x"), ("SIGNING_KEY", "x")]);
    assert_eq!(check(&site.load().unwrap()).len(), 2);
}

#[test]
fn each_kind_of_handler_is_named() {
    for (key, url, name) in
        [("binarydata_handlers.nfs", "gs://b", "gs"), ("binarydata_handlers.nfs", "az://b", "az")]
    {
        let site = Site::new(&format!("[{key}]\nurl = '{url}'"));
        let problems = check(&site.load().unwrap());
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].message, format!("this build has no {name} handler yet"));
    }
    for (url, name, in_build) in [
        ("sqlite:x", "sqlite", cfg!(feature = "sqlite")),
        ("mariadb://u@db/x", "mysql", cfg!(feature = "mysql")),
        ("postgresql://u@db/x", "postgres", cfg!(feature = "postgres")),
    ] {
        let site = Site::new(&format!("[metadata_handlers.dfs]\nurl = '{url}'"));
        let problems = check(&site.load().unwrap());
        assert_eq!(problems.is_empty(), in_build, "{problems:?}");
        let text = format!("this build has no {name} handler; use a build with the feature");
        assert!(problems.iter().all(|p| p.to_string().contains(&text)), "{problems:?}");
    }
}
