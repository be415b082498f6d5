use ezdfs_config::show::show;

use crate::site::{FULL, SIDES, Site};

#[test]
fn what_is_shown_loads_to_the_same_settings() {
    for toml in [FULL, SIDES, "", "serve.cache_policy = []\nserve.public = []"] {
        let site = Site::new(toml);
        let loaded = site.load().unwrap();
        let shown = show(&loaded).unwrap();
        let mut again = Site::new(&shown);
        again.sources.data_dir = site.sources.data_dir.clone();
        assert_eq!(again.load().unwrap().settings, loaded.settings, "{shown}");
    }
}

#[test]
fn values_come_with_their_origin() {
    let site = Site::new("[store]\ntrash = '90s'\n[serve]\nfreshness = 'strict'\n")
        .env(&[("EZDFS__STORE__IO_TIMEOUT", "5s")]);
    let loaded = site.load().unwrap();
    let shown = show(&loaded).unwrap();
    let expected = format!(
        r#"# file: {}
# data directory: {}

[store]
metadata = "dfs" # default
binarydata = "nfs" # default
max_staleness = "1s" # default
delete_grace = "1m" # default
io_timeout = "5s" # EZDFS__STORE__IO_TIMEOUT
rename_dir_max = 1000 # default
trash = "90s" # line 2
stale_if_error = "0s" # default

[metadata_handlers.dfs]
url = "sqlite:ezdfs.db" # default
table = "ezdfsfile" # default
name_prefix = "var/site/storage" # default

[binarydata_handlers.nfs]
url = "file:files" # default
fsync = true # default
file_mode = "0644" # default
dir_mode = "0755" # default

[serve]
listen = "127.0.0.1:8080" # default
url_prefix = "/var/site/storage/" # default
public = ["images", "images-versioned"] # default
freshness = "strict" # line 4
access_log = "combined" # default
max_signed_life = "7d" # default
inline = ["image/*", "audio/*", "video/*", "font/*", "text/plain", "text/css"] # default
surrogate_keys = true # default
cors_origins = [] # default
http2 = true # default
max_connections = 4096 # default
max_requests = 4096 # default
min_rate = "1KiB" # default
shutdown_delay = "0s" # default
drain = "30s" # default
offload = "off" # default
offload_prefix = "/ezdfs-files/" # default
offload_from = "1MiB" # default
placeholder = [] # default
signing_keys = [] # default
sites = [] # default

[[serve.cache_policy]]
match = "images/**" # default
hashed = false # default
cache_control = "public, max-age=60, stale-while-revalidate=600, stale-if-error=86400" # default

[admin]
listen = "127.0.0.1:8081" # default
max_file = "5TiB" # default
tokens = [] # default
purge_hooks = [] # default

[cache]
enabled = "auto" # default
dir = "{}/cache" # default
size = "10GiB" # default
min_free = "1GiB" # default
memory = "64MiB" # default
"#,
        site.file().display(),
        loaded.data_dir.display(),
        loaded.data_dir.display(),
    );
    assert_eq!(shown, expected);
}

#[test]
fn secrets_are_masked_and_references_are_shown() {
    let site = Site::new(
        "[store]\nmetadata = 'a'
         [metadata_handlers.a]\nurl = 'mysql://u@db/x'\npassword = 'hunter2'
         [metadata_handlers.b]\nurl = 'mysql://u@db/x'\npassword = { file = '/run/x' }",
    );
    let shown = show(&site.load().unwrap()).unwrap();
    assert!(shown.contains("password = \"********\" # line 5"), "{shown}");
    assert!(shown.contains("password = { file = \"/run/x\" } # line 8"), "{shown}");
    assert!(!shown.contains("hunter2"));
}
