# Varnish in front of ezdfs and a site of Ibexa.
vcl 4.1;

import std;

backend ezdfs {
    .host = "127.0.0.1";
    .port = "8080";
    .connect_timeout = 2s;
    .first_byte_timeout = 30s;
    .probe = {
        .request = "HEAD /var/site/storage/images/ HTTP/1.1" "Host: probe" "Connection: close";
        .expected_response = 404;                   # no such file: alive
        .interval = 5s;
    }
}

backend web {
    .host = "127.0.0.1";
    .port = "8000";
}

# Who may purge: the nodes of ezdfs.
acl purgers {
    "localhost";
}

sub vcl_recv {
    # Paths of images as Ibexa's own rule has them. What else lies in storage is private.
    if (req.url ~ "^/var/([^/]+/)?storage/images(-versioned)?/") {
        set req.backend_hint = ezdfs;
        if (req.method == "PURGE") {
            if (!client.ip ~ purgers) {
                return (synth(403, "Forbidden"));
            }
            return (purge);
        }
        if (req.method == "BAN") {
            if (!client.ip ~ purgers || !req.http.xkey) {
                return (synth(403, "Forbidden"));
            }
            # Tags that ezdfs gives each file: its directories, see `serve.surrogate_keys`.
            if (!std.ban("obj.http.xkey ~ (^|\s)" + req.http.xkey + "(\s|$)")) {
                return (synth(400, std.ban_error()));
            }
            return (synth(200, "Banned"));
        }
        if (req.method != "GET" && req.method != "HEAD") {
            return (synth(405, "Method Not Allowed"));
        }
        # Files are the same for everybody; a signed URL is a URL of its own.
        unset req.http.Cookie;
        unset req.http.Authorization;
        return (hash);
    }
    set req.backend_hint = web;
}

sub vcl_backend_response {
    if (beresp.http.X-Content-Type-Options && bereq.url ~ "^/var/([^/]+/)?storage/images(-versioned)?/") {
        unset beresp.http.Set-Cookie;
        # `CDN-Cache-Control` is for shared caches (RFC 9213); Varnish 7.1 does not read it by itself.
        if (beresp.http.CDN-Cache-Control ~ "max-age=\d+") {
            set beresp.ttl = std.duration(
                regsub(beresp.http.CDN-Cache-Control, "^.*max-age=(\d+).*$", "\1s"), 60s);
        }
        # While ezdfs is away Varnish goes on with what it has.
        set beresp.grace = 1d;
        # A missing file may be there in a moment.
        if (beresp.status == 404) {
            set beresp.ttl = 1s;
            set beresp.grace = 0s;
        }
        if (beresp.status >= 500) {
            if (bereq.is_bgfetch) {
                return (abandon);
            }
            set beresp.uncacheable = true;
        }
    }
}

sub vcl_deliver {
    # Tags are for caches.
    unset resp.http.xkey;
    unset resp.http.Surrogate-Key;
}
