//! serve under systemd, or what looks like it; TLS and its reload; several sites.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::serve::{Serving, get};
use super::{Home, Ran, wait_for};

/// What a server told.
fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn systemd_is_told_and_passes_sockets_on() {
    let home = Home::new();
    home.put("images/a.txt", "text");
    let socket = UnixDatagram::bind(home.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let assets = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = (assets.local_addr().unwrap(), admin.local_addr().unwrap());
    // The sockets come as stdin and stdout, and become 3 and 4 as systemd passes them.
    let ezdfs = env!("CARGO_BIN_EXE_ezdfs");
    let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ exec \"$0\" serve";
    let mut child = Command::new("sh")
        .args(["-c", script, ezdfs])
        .current_dir(home.path())
        .env("NOTIFY_SOCKET", home.path().join("notify"))
        .env("WATCHDOG_USEC", "200000")
        .env("LISTEN_FDS", "2")
        .stdin(OwnedFd::from(assets))
        .stdout(OwnedFd::from(admin))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(told(&socket), "READY=1");
    let url = "/var/site/storage/images/a.txt";
    assert_eq!(get(addresses.0, url), (200, "text".to_owned()));
    assert_eq!(get(addresses.1, "/readyz").0, 200);
    for _ in 0..3 {
        assert_eq!(told(&socket), "WATCHDOG=1");
    }
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).unwrap();
    let mut reloaded = Vec::new();
    while reloaded.last().is_none_or(|state| state != "READY=1") {
        reloaded.push(told(&socket));
    }
    assert!(reloaded.iter().any(|s| s.starts_with("RELOADING=1\nMONOTONIC_USEC=")), "{reloaded:?}");
    kill_process(pid, Signal::TERM).unwrap();
    while told(&socket) != "STOPPING=1" {}
    assert!(child.wait().unwrap().success());
}

#[test]
fn readiness_fails_before_anything_else_does() {
    let home = Home::configured("[serve]\nshutdown_delay = \"2s\"\n");
    home.put("images/a.txt", "text");
    let serving = Serving::start(&home);
    let url = "/var/site/storage/images/a.txt";
    assert_eq!(get(serving.admin, "/readyz").0, 200);
    serving.signal(Signal::TERM);
    wait_for("readiness to fail", || get(serving.admin, "/readyz").0 == 503);
    assert_eq!(get(serving.assets, url), (200, "text".to_owned()));
    assert_eq!(serving.end().code, 0);
}

/// Makes a certificate for `localhost` that signs itself, and its key.
fn certificate(home: &Home, name: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "site.key", "-out", "site.pem"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::copy(home.path().join("site.pem"), home.path().join(name)).unwrap();
}

/// Status and HTTP version of a GET that believes a certificate alone; `None` without an answer.
fn curl(home: &Home, ca: &str, url: &str, options: &[&str]) -> Option<String> {
    let ran = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--output", "/dev/null"])
        .args(["--write-out", "%{http_code} %{http_version}", "--cacert", ca])
        .args(options)
        .arg(url)
        .current_dir(home.path())
        .output()
        .unwrap();
    ran.status.success().then(|| String::from_utf8(ran.stdout).unwrap())
}

#[cfg(feature = "tls")]
#[test]
fn tls_with_a_certificate_that_is_replaced() {
    let home = Home::new();
    certificate(&home, "first.pem");
    let dir = home.path().canonicalize().unwrap();
    home.write(
        "ezdfs.toml",
        format!(
            "[serve]\ntls_certificate = \"{0}/site.pem\"\ntls_key = \"{0}/site.key\"\n",
            dir.display()
        ),
    );
    home.put("images/a.txt", "text");
    let serving = Serving::start(&home);
    let url = format!("https://{}/var/site/storage/images/a.txt", serving.assets);
    let get = |ca: &str, options: &[&str]| curl(&home, ca, &url, options);
    assert_eq!(get("first.pem", &["--http2"]).as_deref(), Some("200 2"));
    assert_eq!(get("first.pem", &["--http1.1"]).as_deref(), Some("200 1.1"));
    assert_eq!(get("first.pem", &["--tlsv1.2", "--tls-max", "1.2"]).as_deref(), Some("200 2"));
    let plain = format!("http://{}/var/site/storage/images/a.txt", serving.assets);
    assert_eq!(curl(&home, "first.pem", &plain, &[]), None);

    // What cannot be used leaves the old one.
    home.write("site.pem", "nonsense");
    serving.signal(Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(get("first.pem", &[]).as_deref(), Some("200 2"));

    certificate(&home, "second.pem");
    serving.signal(Signal::HUP);
    wait_for("the new certificate", || get("second.pem", &[]).is_some());
    assert_eq!(get("first.pem", &[]), None);
    serving.stop();

    std::fs::copy(home.path().join("first.pem"), home.path().join("site.pem")).unwrap();
    let err = home.fails(2, ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    assert!(err.contains("do not belong together"), "{err}");
}

#[test]
fn another_site_has_a_store_of_its_own() {
    let home = Home::configured(
        "[store]\nmetadata = \"dfs\"\nbinarydata = \"nfs\"\n\
         [metadata_handlers.dfs]\nurl = \"sqlite:ezdfs.db\"\n\
         [metadata_handlers.shop]\nurl = \"sqlite:ezdfs.db\"\nname_prefix = \"var/shop/storage\"\n\
         [binarydata_handlers.nfs]\nurl = \"file:files\"\n\
         [binarydata_handlers.shop]\nurl = \"file:shop\"\n\
         [[serve.sites]]\nurl_prefix = \"/var/shop/storage\"\nmetadata = \"shop\"\n\
         binarydata = \"shop\"\npublic = [\"media\"]\n\
         [[serve.sites]]\nurl_prefix = \"/old/place\"\n",
    );
    home.put("images/a.txt", "main");
    let shop = |ran: Ran| assert_eq!(ran.code, 0, "{ran:?}");
    // A store of the same settings whose own handlers are those of the site.
    let toml = home.read("ezdfs.toml");
    let toml = String::from_utf8(toml).unwrap();
    let other = toml.replace(
        "metadata = \"dfs\"\nbinarydata = \"nfs\"",
        "metadata = \"shop\"\nbinarydata = \"shop\"",
    );
    home.write("shop.toml", other);
    shop(home.feed(b"shop", ["--config", "shop.toml", "put", "-", "media/a.txt"]));
    let serving = Serving::start(&home);
    let found = |text: &str| (200, text.to_owned());
    assert_eq!(get(serving.assets, "/var/site/storage/images/a.txt"), found("main"));
    assert_eq!(get(serving.assets, "/old/place/images/a.txt"), found("main"));
    assert_eq!(get(serving.assets, "/var/shop/storage/media/a.txt"), found("shop"));
    assert_eq!(get(serving.assets, "/var/shop/storage/images/a.txt").0, 404);
    shop(home.feed(b"new", ["--config", "shop.toml", "put", "-", "media/a.txt"]));
    wait_for("the new version", || {
        get(serving.assets, "/var/shop/storage/media/a.txt") == found("new")
    });
    serving.stop();
}
