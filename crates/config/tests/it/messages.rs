//! Every message: where, which key, what, and the fix.

use ezdfs_config::Place;

use crate::site::{SIDES, Site};

/// (text of the file, line, key, part of the message, part of the fix)
type Row = (&'static str, usize, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const TABLE: &[Row] = &[
    // Syntax, unknown names, types.
    ("[store]\ntrash = ", 2, "", "not TOML", "syntax"),
    ("[store]\ntrash = '0s'\ntrash = '1s'", 3, "", "not TOML", "syntax"),
    ("[stroe]\n", 1, "stroe", "unknown section", "did you mean `store`?"),
    ("\n\n[zzz]\n", 3, "zzz", "unknown section", "known here: `store`, `metadata_handlers`"),
    ("[store]\nmax_stalenes = '1s'", 2, "store.max_stalenes", "unknown key", "did you mean `max_staleness`?"),
    ("[serve]\nurlprefix = '/x'", 2, "serve.urlprefix", "unknown key", "did you mean `url_prefix`?"),
    ("metadata_handlers.dfs.url = 'sqlite:x'\nmetadata_handlers.dfs.tabel = 'x'", 2, "metadata_handlers.dfs.tabel", "unknown key", "did you mean `table`?"),
    ("[mount]\n", 1, "mount", "no such section yet", "later version"),
    ("store = 3", 1, "store", "an integer is not", "[store]"),
    ("[store]\ntrash = true", 2, "store.trash", "true or false is not", "in quotes"),
    // [store]
    ("[store]\ntrash = 10", 2, "store.trash", "needs a unit", "ms, s, m, h or d"),
    ("[store]\ntrash = '10 parsecs'", 2, "store.trash", "not a duration", "from \"0s\" to \"3650d\""),
    ("[store]\ntrash = '4000d'", 2, "store.trash", "out of bounds", "from \"0s\" to \"3650d\""),
    ("[store]\nmax_staleness = '0s'", 2, "store.max_staleness", "out of bounds", "from \"100ms\" to \"1m\""),
    ("[store]\nmax_staleness = '61s'", 2, "store.max_staleness", "out of bounds", "from \"100ms\" to \"1m\""),
    ("[store]\ndelete_grace = '31d'", 2, "store.delete_grace", "out of bounds", "from \"0s\" to \"30d\""),
    ("[store]\nio_timeout = '99ms'", 2, "store.io_timeout", "out of bounds", "from \"100ms\" to \"10m\""),
    ("[store]\nstale_if_error = '25h'", 2, "store.stale_if_error", "out of bounds", "from \"0s\" to \"1d\""),
    ("[cache]\nsize = '1MiB'", 2, "cache.size", "out of bounds", "from \"16MiB\" to \"1024TiB\""),
    ("[cache]\nsize = 1000000000", 2, "cache.size", "needs a unit", "in quotes"),
    ("[cache]\nsize = '10GB'", 2, "cache.size", "not a number of bytes", "\"10GiB\""),
    ("[cache]\nenabled = true", 2, "cache.enabled", "true or false is not", "in quotes"),
    ("[cache]\nenabled = 'yes'", 2, "cache.enabled", "not one of the words", "\"auto\" or \"on\" or \"off\""),
    ("[cache]\ndir = 'cache'", 2, "cache.dir", "not an absolute", "from / on"),
    ("[store]\nrename_dir_max = 0", 2, "store.rename_dir_max", "out of bounds", "from 1 to 100000"),
    ("[store]\nrename_dir_max = -1", 2, "store.rename_dir_max", "out of bounds", "from 1 to 100000"),
    ("[store]\nrename_dir_max = '10'", 2, "store.rename_dir_max", "a string is not", "without quotes"),
    ("[store]\nrename_dir_max = 99999999999999999999", 2, "store.rename_dir_max", "more than 64 bits", "from 1 to 100000"),
    (
        "[store]\nmetadata = 'default'\ntrash = '7d'",
        3,
        "store.trash",
        "derived from the objects",
        "trash = \"0s\"",
    ),
    ("[store]\ndefault_root = 'var'", 2, "store.default_root", "not an absolute", "from / on"),
    ("[store]\ndefault_root = '/srv/../etc'", 2, "store.default_root", "not an absolute", "without `..`"),
    ("[store]\nmetadata = 'dsf'", 2, "store.metadata", "no handler `dsf`", "did you mean `dfs`?"),
    ("[store]\nbinarydata = 's3'", 2, "store.binarydata", "no handler `s3`", "known here: `nfs`, `default`"),
    ("[store]\nbinarydata = 'default'", 2, "store.binarydata", "needs a directory", "default_root = "),
    ("[metadata_handlers.main]\nurl = 'sqlite:x'", 0, "store.metadata", "not set", "`metadata = \"main\"`"),
    ("[binarydata_handlers.main]\nurl = 'memory:'", 0, "store.binarydata", "not set", "`binarydata = \"main\"`"),
    ("[binarydata_handlers]", 0, "store.binarydata", "not set", "`binarydata = \"default\"`"),
    // Handlers.
    ("[metadata_handlers.default]\nurl = 'sqlite:x'\n[metadata_handlers.dfs]\nurl = 'sqlite:y'", 1, "metadata_handlers.default", "always exists", "rename"),
    ("[binarydata_handlers.default]\nurl = 'memory:'\n[binarydata_handlers.nfs]\nurl = 'memory:'", 1, "binarydata_handlers.default", "always exists", "store.default_root"),
    ("[metadata_handlers.'a,b']\nurl = 'sqlite:x'\n[metadata_handlers.dfs]\nurl = 'sqlite:y'", 1, "metadata_handlers.a,b", "not a handler name", "letters"),
    ("[metadata_handlers.a__b]\nurl = 'sqlite:x'\n[metadata_handlers.dfs]\nurl = 'sqlite:y'", 1, "metadata_handlers.a__b", "not a handler name", "single _"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\n[metadata_handlers.DFS]\nurl = 'sqlite:y'", 3, "metadata_handlers.DFS", "differs from `dfs` only in case", "rename"),
    ("[metadata_handlers.dfs]\n", 1, "metadata_handlers.dfs", "neither `url` nor `objects`", "url = \"sqlite:ezdfs.db\""),
    ("[binarydata_handlers.nfs]\nfsync = true", 1, "binarydata_handlers.nfs", "no `url`", "file:///"),
    ("metadata_handlers.dfs = 'sqlite:x'", 1, "metadata_handlers.dfs", "a string is not", "[metadata_handlers.dfs]"),
    ("[metadata_handlers.dfs]\nurl = 'ezdfs.db'", 2, "metadata_handlers.dfs.url", "not a database URL", "sqlite:FILE"),
    ("[metadata_handlers.dfs]\nurl = 'oracle://db/x'", 2, "metadata_handlers.dfs.url", "not a database that ezdfs knows", "mysql://user@host/database"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite::memory:'", 2, "metadata_handlers.dfs.url", "needs a file", "sqlite:ezdfs.db"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:'", 2, "metadata_handlers.dfs.url", "needs a file", "sqlite:ezdfs.db"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x.db?mode=rwc'", 2, "metadata_handlers.dfs.url", "no parameters", "from the ? on"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u:p@db/x'", 2, "metadata_handlers.dfs.url", "password in a URL", "password = { env ="),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u:p/w@db/x'", 2, "metadata_handlers.dfs.url", "password in a URL", "password = { env ="),
    ("[metadata_handlers.dfs]\nurl = 'postgres://u@db'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "postgres://user@host[:port]/database"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@/x'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db:99999/x'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://db/x'", 2, "metadata_handlers.dfs.url", "names no user", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://@db/x'", 2, "metadata_handlers.dfs.url", "names no user", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@v@db/x'", 2, "metadata_handlers.dfs.url", "more than one @", "%40"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@a,,b/x'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@::1/x'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x/y'", 2, "metadata_handlers.dfs.url", "not the URL of a database", "mysql://user@host"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x%0a'", 2, "metadata_handlers.dfs.url", "is not text", "control characters"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/%ff'", 2, "metadata_handlers.dfs.url", "is not text", "UTF-8"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u%@db/x'", 2, "metadata_handlers.dfs.url", "percent sign", "%25"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x?ssl=1'", 2, "metadata_handlers.dfs.url", "has no parameters", "`tls`"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\ntls = 'on'", 3, "metadata_handlers.dfs.tls", "not one of the words", "\"off\" or \"prefer\" or \"verify\""),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\nconnections = 1", 3, "metadata_handlers.dfs.connections", "out of bounds", "from 2 to 1000"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\nconections = 9", 3, "metadata_handlers.dfs.conections", "unknown key", "did you mean `connections`?"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\ntls_ca = '/a.pem'", 3, "metadata_handlers.dfs.tls_ca", "with `tls = \"verify\"` only", "or remove the key"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\ntls = 'verify'\ntls_ca = 'a.pem'", 4, "metadata_handlers.dfs.tls_ca", "not an absolute file", "from / on"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\ntls_ca = '/a.pem'", 3, "metadata_handlers.dfs.tls_ca", "database server", "remove"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\ntls = 'off'", 3, "metadata_handlers.dfs.tls", "database server", "remove"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\nconnections = 9", 3, "metadata_handlers.dfs.connections", "database server", "remove"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\npassword = 'p'", 3, "metadata_handlers.dfs.password", "SQLite has no password", "remove"),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = 5", 3, "metadata_handlers.dfs.password", "an integer is no secret", "{ env = "),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = { env = 'A', file = 'B' }", 3, "metadata_handlers.dfs.password", "exactly one source", "{ file = "),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = { vault = 'A' }", 3, "metadata_handlers.dfs.password", "not a source", "{ file = "),
    ("[metadata_handlers.dfs]\nurl = 'mysql://u@db/x'\npassword = { env = '' }", 3, "metadata_handlers.dfs.password", "not a source", "{ env = "),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\ntable = 'a; DROP'", 3, "metadata_handlers.dfs.table", "not a table name", "ibexa_dfs_file"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\ntable = '1a'", 3, "metadata_handlers.dfs.table", "not a table name", "ezdfsfile"),
    ("[metadata_handlers.dfs]\nurl = 'sqlite:x'\nname_prefix = 'a//b'", 3, "metadata_handlers.dfs.name_prefix", "empty segment", "var/site/storage"),
    ("[metadata_handlers.dfs]\nobjects = 'nfs'\ntable = 't'", 3, "metadata_handlers.dfs.table", "does nothing beside `objects`", "remove"),
    ("[metadata_handlers.dfs]\nobjects = 'nfs'\nurl = 'sqlite:x'", 3, "metadata_handlers.dfs.url", "does nothing beside `objects`", "remove"),
    ("[metadata_handlers.dfs]\nobjects = 'nsf'", 2, "metadata_handlers.dfs.objects", "no binarydata handler `nsf`", "did you mean `nfs`?"),
    ("[metadata_handlers.dfs]\nobjects = 'default'", 2, "metadata_handlers.dfs.objects", "needs a directory", "default_root"),
    ("[metadata_handlers.dfs]\nobjects = 5", 2, "metadata_handlers.dfs.objects", "an integer is not", "in quotes"),
    ("[binarydata_handlers.nfs]\nurl = '/mnt'", 2, "binarydata_handlers.nfs.url", "not a storage URL", "file:///absolute"),
    ("[binarydata_handlers.nfs]\nurl = 'ftp://h/x'", 2, "binarydata_handlers.nfs.url", "not a storage that ezdfs knows", "s3://bucket/prefix"),
    ("[binarydata_handlers.nfs]\nurl = 'file://mnt/nfs'", 2, "binarydata_handlers.nfs.url", "names no host", "file:///absolute"),
    ("[binarydata_handlers.nfs]\nurl = 'file:///mnt/../etc'", 2, "binarydata_handlers.nfs.url", "without `.`, `..`", "file:///absolute"),
    ("[binarydata_handlers.nfs]\nurl = 'file:///mnt/100%'", 2, "binarydata_handlers.nfs.url", "percent sign", "%25"),
    ("[binarydata_handlers.nfs]\nurl = 'file:///mnt/%00'", 2, "binarydata_handlers.nfs.url", "controls", "file:///absolute"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b/%FF'", 2, "binarydata_handlers.nfs.url", "not UTF-8", "correct"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b/100%'", 2, "binarydata_handlers.nfs.url", "percent sign", "%25"),
    ("[binarydata_handlers.nfs]\nurl = 'file:///mnt/a?b'", 2, "binarydata_handlers.nfs.url", "no query", "%3F"),
    ("[binarydata_handlers.nfs]\nurl = 's3://key:secret@bucket/x'", 2, "binarydata_handlers.nfs.url", "no user name, key or password", "environment"),
    ("[binarydata_handlers.nfs]\nurl = 's3:///x'", 2, "binarydata_handlers.nfs.url", "no bucket", "s3://name/prefix"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b/a//b'", 2, "binarydata_handlers.nfs.url", "object prefix is not valid", "correct"),
    ("[binarydata_handlers.nfs]\nurl = 'memory:'\nfsync = true", 3, "binarydata_handlers.nfs.fsync", "only a `file:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 'memory:'\nregion = 'x'", 3, "binarydata_handlers.nfs.region", "only an `s3:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nendpoint = 'https://x'", 3, "binarydata_handlers.nfs.endpoint", "only an `s3:`, `gs:` or `az:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 'gs://b'\npath_style = true", 3, "binarydata_handlers.nfs.path_style", "only an `s3:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\nservice_account = 'x'", 3, "binarydata_handlers.nfs.service_account", "only a `gs:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\naccount_key = 'x'", 3, "binarydata_handlers.nfs.account_key", "only an `az:` handler", "remove"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\nsecret_access_key = 'x'", 3, "binarydata_handlers.nfs.secret_access_key", "`access_key_id` belongs to it", "set both"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\naccess_key_id = 'x'", 3, "binarydata_handlers.nfs.access_key_id", "`secret_access_key` belongs to it", "set both"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\ntls_ca = 'ca.pem'", 3, "binarydata_handlers.nfs.tls_ca", "not an absolute file", "from / on"),
    ("[binarydata_handlers.nfs]\nurl = 'az://b'\naccount = 'My-Site'", 3, "binarydata_handlers.nfs.account", "not the name of a storage account", "small letters"),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nfsync = 'yes'", 3, "binarydata_handlers.nfs.fsync", "a string is not", "true or false"),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nfile_mode = 644", 3, "binarydata_handlers.nfs.file_mode", "would be read as decimal", "\"0644\""),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\ndir_mode = 0o755", 3, "binarydata_handlers.nfs.dir_mode", "a number is no mode", "\"0755\""),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nfile_mode = '0898'", 3, "binarydata_handlers.nfs.file_mode", "octal digits", "\"0644\""),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nfile_mode = '4755'", 3, "binarydata_handlers.nfs.file_mode", "octal digits", "\"0644\""),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\nfile_mode = '0444'", 3, "binarydata_handlers.nfs.file_mode", "could not use", "\"0600\""),
    ("[binarydata_handlers.nfs]\nurl = 'file:x'\ndir_mode = '0655'", 3, "binarydata_handlers.nfs.dir_mode", "could not use", "\"0700\""),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\nendpoint = 'https://k:s@h'", 3, "binarydata_handlers.nfs.endpoint", "without credentials", "https://host[:port]"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\nendpoint = 's3.example.com'", 3, "binarydata_handlers.nfs.endpoint", "not the URL of an endpoint", "https://host[:port]"),
    ("[binarydata_handlers.nfs]\nurl = 's3://b'\nregion = 'eu west'", 3, "binarydata_handlers.nfs.region", "not a region", "eu-west-1"),
    // [serve] and [admin]; abuse case 55.
    ("[serve]\nurl_prefix = '//static.example.com/'", 2, "serve.url_prefix", "needs a scheme", "https://"),
    ("[serve]\nurl_prefix = 'http://user@host/'", 2, "serve.url_prefix", "user name or password", "up to the @"),
    ("[serve]\nurl_prefix = 'https://user:pass@host/x'", 2, "serve.url_prefix", "user name or password", "up to the @"),
    ("[serve]\nurl_prefix = 'ftp://host/'", 2, "serve.url_prefix", "not an http or https URL", "https://host/path"),
    ("[serve]\nurl_prefix = 'http:///x'", 2, "serve.url_prefix", "host of the URL prefix", "https://host[:port]"),
    ("[serve]\nurl_prefix = 'http://a\\b/x'", 2, "serve.url_prefix", "host of the URL prefix", "https://host[:port]"),
    ("[serve]\nurl_prefix = 'http://host:0/x'", 2, "serve.url_prefix", "host of the URL prefix", "https://host[:port]"),
    ("[serve]\nurl_prefix = '/a/../b'", 2, "serve.url_prefix", "`..` segment", "/var/site/storage"),
    ("[serve]\nurl_prefix = '/a//b'", 2, "serve.url_prefix", "empty segment", "/var/site/storage"),
    ("[serve]\nurl_prefix = '/a?b'", 2, "serve.url_prefix", "no query", "decoded"),
    ("[serve]\nurl_prefix = '/a%20b'", 2, "serve.url_prefix", "percent sign", "decoded"),
    ("[serve]\nlisten = ':8080'", 2, "serve.listen", "not an IP address and port", "127.0.0.1:8080"),
    ("[serve]\nlisten = 'localhost'", 2, "serve.listen", "not an IP address and port", "127.0.0.1:8080"),
    ("[serve]\npublic = 'images'", 2, "serve.public", "a string is not", "write a list"),
    ("[serve]\npublic = ['images/a']", 2, "serve.public", "one first path segment", "without a slash"),
    ("[serve]\npublic = ['.ezdfs']", 2, "serve.public", "one first path segment", "without a slash"),
    ("[serve]\nfreshness = 'fresh'", 2, "serve.freshness", "not one of the words", "\"feed\" or \"strict\""),
    ("[serve]\naccess_log = 'apache'", 2, "serve.access_log", "not one of the words", "\"combined\" or \"json\" or \"off\""),
    ("[serve]\ncache_policy = ['x']", 2, "serve.cache_policy[0]", "a string is not", "[[serve.cache_policy]]"),
    ("[[serve.cache_policy]]\nmatch = 'a'", 1, "serve.cache_policy[0]", "`cache_control` is missing", "add"),
    ("[[serve.cache_policy]]\ncache_control = 'no-store'", 1, "serve.cache_policy[0]", "`match` is missing", "add"),
    ("[[serve.cache_policy]]\nmatch = '/images/**'\ncache_control = 'a'", 2, "serve.cache_policy[0].match", "matches no path", "images/**"),
    ("[[serve.cache_policy]]\nmatch = 'a{b'\ncache_control = 'a'", 2, "serve.cache_policy[0].match", "not a pattern", "images/**"),
    ("[[serve.cache_policy]]\nmatch = 'a'\ncache_control = \"a\\nb: c\"", 3, "serve.cache_policy[0].cache_control", "not the value of a header", "max-age=60"),
    ("[[serve.placeholder]]\nmatch = 'a'", 1, "serve.placeholder[0]", "`path` is missing", "add"),
    ("[[serve.placeholder]]\nmatch = 'a'\npath = 'a//b'", 3, "serve.placeholder[0].path", "segment", "path of a file"),
    ("[[serve.placeholder]]\nmatch = 'a'\npath = 'b'\nstatus = 300", 4, "serve.placeholder[0].status", "not 200 or 404", "404"),
    ("[[serve.signing_keys]]\nid = 'a&b'\nsecret = 'x'", 2, "serve.signing_keys[0].id", "not the id of a key", "letters"),
    ("[[serve.signing_keys]]\nid = 'a'", 1, "serve.signing_keys[0]", "`secret` is missing", "add"),
    ("[serve]\nsigning_keys = [{ id = 'a', secret = 'x' }, { id = 'a', secret = 'y' }]", 2, "serve.signing_keys", "two keys are called `a`", "rename"),
    ("[[admin.tokens]]\nname = 'a'\nsha256 = 'x'\nverbs = ['put']\nprefixes = ['']", 3, "admin.tokens[0].sha256", "not a SHA-256", "sha256sum"),
    ("[[admin.tokens]]\nname = 'a'\nsha256 = '0000000000000000000000000000000000000000000000000000000000000000'\nverbs = ['write']\nprefixes = ['']", 4, "admin.tokens[0].verbs", "not one of the words", "\"put\""),
    ("[[admin.tokens]]\nname = 'a'\nsha256 = '0000000000000000000000000000000000000000000000000000000000000000'\nverbs = ['put']\nprefixes = ['/images']", 5, "admin.tokens[0].prefixes", "directory of the store", "images/"),
    ("[[serve.sites]]\npublic = ['a']", 1, "serve.sites[0]", "`url_prefix` is missing", "add"),
    ("[[serve.sites]]\nurl_prefix = '/a'\nmetadata = 'dsf'", 3, "serve.sites[0].metadata", "no metadata handler `dsf`", "did you mean `dfs`"),
    ("[[serve.sites]]\nurl_prefix = '/a'\nbinarydata = 'default'", 3, "serve.sites[0].binarydata", "needs a directory", "default_root"),
    ("[[serve.sites]]\nurl_prefix = '/var/site/storage/'", 2, "serve.sites[0].url_prefix", "two sites have", "another one"),
    ("[serve]\ntls_certificate = '/c.pem'", 2, "serve.tls_certificate", "no use without `tls_key`", "add"),
    ("[serve]\ntls_certificate = '/c.pem'\ntls_key = 'key.pem'", 3, "serve.tls_key", "not an absolute file", "from / on"),
    ("[serve]\nmax_requests = 0", 2, "serve.max_requests", "out of bounds", "1 to"),
    ("[serve]\nmin_rate = 1024", 2, "serve.min_rate", "needs a unit", "KiB"),
    ("[serve]\noffload = 'nginx'", 2, "serve.offload", "not one of the words", "\"x-accel-redirect\" or \"presigned\""),
    ("[serve]\noffload_prefix = 'files'", 2, "serve.offload_prefix", "not a path between slashes", "/ezdfs-files/"),
    ("[serve]\ndrain = '2d'", 2, "serve.drain", "out of bounds", "1d"),
    ("[admin]\nmax_file = '0B'", 2, "admin.max_file", "out of bounds", "1B"),
    ("[[admin.purge_hooks]]\nname = 'a'", 1, "admin.purge_hooks[0]", "`url` is missing", "add"),
    ("[[admin.purge_hooks]]\nname = 'a'\nurl = 'varnish:6081'", 3, "admin.purge_hooks[0].url", "not an http or https URL", "{path}"),
    ("[[admin.purge_hooks]]\nname = 'a'\nurl = 'http://u:p@varnish'", 3, "admin.purge_hooks[0].url", "ends up in logs", "authorization"),
    ("[[admin.purge_hooks]]\nname = 'a'\nurl = 'http://v'\nmethod = 'purge'", 4, "admin.purge_hooks[0].method", "not a method", "PURGE"),
    ("[[admin.purge_hooks]]\nname = 'a'\nurl = 'http://v'\nheaders = ['xkey']", 4, "admin.purge_hooks[0].headers", "`Name: value`", "xkey: {tags}"),
    ("[serve]\ninline = ['image']", 2, "serve.inline", "media type", "image/*"),
    ("[serve]\ncors_origins = ['*']", 2, "serve.cors_origins", "origin", "https://"),
    ("[serve]\nmax_signed_life = '10000d'", 2, "serve.max_signed_life", "out of bounds", "366d"),
    ("[[serve.cache_policy]]\nmatch = 'a'\ncache_control = 'a'\nttl = 5", 4, "serve.cache_policy[0].ttl", "unknown key", "known here: `match`, `hashed`, `cache_control`"),
    ("[admin]\nlisten = '127.0.0.1:8080'", 2, "admin.listen", "share port 8080", "another port"),
    ("[serve]\nlisten = '0.0.0.0:8081'", 2, "serve.listen", "share port 8081", "another port"),
];

#[test]
fn each_fault_is_reported_once_with_line_key_and_fix() {
    for (toml, line, key, message, fix) in TABLE {
        let site = Site::new(toml);
        let problems = site.problems();
        assert_eq!(problems.len(), 1, "{toml}\n{problems:#?}");
        let p = &problems[0];
        assert_eq!(p.place, Place::File { path: site.file(), line: *line }, "{toml}\n{p}");
        assert_eq!(p.key, *key, "{toml}\n{p}");
        assert!(p.message.contains(message), "{toml}\n{p}");
        assert!(p.fix.contains(fix), "{toml}\n{p}");
    }
}

#[test]
fn the_form_of_a_message() {
    let site = Site::new("[serve]\nlisten = 'x'");
    let file = site.file();
    let error = ezdfs_core::Error::from(site.load().unwrap_err());
    assert_eq!(error.kind(), ezdfs_core::ErrorKind::Config);
    assert_eq!(error.kind().answers().exit, 2);
    assert_eq!(
        error.to_string(),
        format!(
            "{}:2: `serve.listen`: not an IP address and port; write e.g. \"127.0.0.1:8080\", \
             \"0.0.0.0:8080\" or \"[::]:8080\"",
            file.display()
        )
    );
}

#[test]
fn all_problems_are_found_at_once() {
    let site = Site::new(&format!(
        "{SIDES}\n[store]\ntrash = 1\nbogus = 2\n[serve]\nlisten = 'x'\nfreshness = 'y'\n[nope]\n"
    ));
    let keys: Vec<String> = site.problems().into_iter().map(|p| p.key).collect();
    for key in ["store.trash", "store.bogus", "serve.listen", "serve.freshness", "nope"] {
        assert!(keys.iter().any(|k| k == key), "{key} in {keys:?}");
    }
    assert_eq!(keys.len(), 5);
    assert_eq!(site.load().unwrap_err().to_string().lines().count(), 5);
}

#[test]
fn every_syntax_error_is_reported() {
    let site = Site::new("[store\na = \n[serve]\nlisten = = 3\n");
    assert!(site.problems().len() >= 2);
}
