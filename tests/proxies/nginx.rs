//! nginx.

use std::process::Command;

use super::{Front, IMAGE, Site, check, example, free_address, program};

#[test]
fn nginx_in_front() {
    let Some(nginx) = program("nginx") else { return };
    let site = Site::new("");
    let address = free_address();
    let text = site.addressed(&example("nginx.conf"));
    let (in_http, in_server) = text.split_once("# --- in `server`").unwrap();
    let dir = site.home.path();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};", dir.join(kind).display()));
    // Its workers stay the test's user.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let conf = format!(
        "daemon off; {user} worker_processes 1; pid {pid}; error_log stderr;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n access_log off; {}\n {in_http}\n server {{ listen {address};\n {in_server}\n \
         location / {{ proxy_pass http://{}; }} }} }}\n",
        paths.join(" "),
        site.web,
        pid = dir.join("pid").display(),
    );
    let conf = site.home.write("nginx.conf", conf);
    let mut command = Command::new(nginx);
    command.args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(conf);
    let front = Front::start(&site, &mut command, address);
    check(&front);
    site.ezdfs.stop();
    assert_eq!(front.get(IMAGE, &[]).status, 502, "an error, and not the site's page");
}
