use ezdfs_config::Place;
use ezdfs_config::check::check;

use crate::site::{FULL, Site};

#[cfg(feature = "sqlite")]
#[test]
fn the_defaults_have_no_problem() {
    let site = Site::bare();
    assert_eq!(check(&site.load().unwrap()), []);
}

#[cfg(all(feature = "mysql", feature = "aws", feature = "gcp", feature = "azure"))]
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
            (
                "admin.purge_hooks[0].authorization",
                "environment variable PURGE_TOKEN is not set; set it, or use { file = … }"
            ),
            (
                "binarydata_handlers.aws_s3.access_key_id",
                "environment variable S3_ACCESS_KEY_ID is not set; set it, or use { file = … }"
            ),
            (
                "binarydata_handlers.aws_s3.secret_access_key",
                "environment variable S3_SECRET_ACCESS_KEY is not set; set it, or use { file = … }"
            ),
            (
                "binarydata_handlers.aws_s3.tls_ca",
                "certificate file /etc/ezdfs/no/s3-ca.pem cannot be read; check path and permissions: No such file or directory (os error 2)"
            ),
            (
                "binarydata_handlers.gcs.service_account",
                "environment variable GCS_SERVICE_ACCOUNT is not set; set it, or use { file = … }"
            ),
            (
                "binarydata_handlers.azure.account_key",
                "environment variable AZURE_ACCOUNT_KEY is not set; set it, or use { file = … }"
            ),
        ]
    );
    assert_eq!(problems[0].place, Place::File { path: site.file(), line: 14 });
    let site =
        site.env(&[("DFS_DB_PASSWORD", "x"), ("SIGNING_KEY", "x"), ("AZURE_ACCOUNT_KEY", "x")]);
    assert_eq!(check(&site.load().unwrap()).len(), found.len() - 3);
}

#[test]
fn each_kind_of_handler_is_named() {
    for (url, name, in_build) in [
        ("s3://b", "s3", cfg!(feature = "aws")),
        ("gs://b", "gs", cfg!(feature = "gcp")),
        ("az://b", "az", cfg!(feature = "azure")),
    ] {
        let site = Site::new(&format!("[binarydata_handlers.nfs]\nurl = '{url}'"));
        let problems = check(&site.load().unwrap());
        assert_eq!(problems.is_empty(), in_build, "{problems:?}");
        let text = format!("this build has no {name} handler; use a build with the feature");
        assert!(problems.iter().all(|p| p.to_string().contains(&text)), "{problems:?}");
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
