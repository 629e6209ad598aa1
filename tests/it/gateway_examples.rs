//! The gateways' shipped configurations: what people copy out of them. That they work with the
//! real programs is `tests/gateways/run`'s to show.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Site, portreeve, root, run};
use gateway::{Identity, RawGateway};

fn folder() -> PathBuf {
    root().join("tests/gateways")
}

fn text(path: &str) -> String {
    fs::read_to_string(folder().join(path)).unwrap()
}

/// The lines between the marks, as far to the left as they go.
fn marked(path: &str) -> String {
    let text = text(path);
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| line.trim() != "# README: begin")
        .skip(1)
        .take_while(|line| line.trim() != "# README: end")
        .collect();
    let blanks = |line: &&str| line.len() - line.trim_start().len();
    let indent = lines.iter().map(blanks).min().unwrap();
    lines
        .iter()
        .map(|line| format!("{}\n", &line[indent..]))
        .collect()
}

#[test]
fn the_readmes_gateways_are_the_tested_ones() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for (language, path) in [("nginx", "nginx/nginx.conf"), ("yaml", "envoy/grpc.yaml")] {
        let part = marked(path);
        assert!(part.lines().count() <= 10, "{path}: ten lines, not\n{part}");
        let wanted = format!("```{language}\n{part}```\n");
        assert!(
            readme.contains(&wanted),
            "README.md has not, from {path}:\n{wanted}"
        );
    }
}

/// G: what an allow sets, each gateway passes on; a header that one forgets is missing at the app,
/// or a client's own.
#[test]
fn every_configuration_knows_every_identity_header() {
    let settings: toml::Table = text("shop/shop.toml").parse().unwrap();
    let raw: RawGateway = settings["gateway"].clone().try_into().unwrap();
    let gateway = raw.check().unwrap();
    let identity: &Identity = &gateway.door(None).identity;
    for path in [
        "nginx/portreeve/location.conf",
        "caddy/Caddyfile",
        "haproxy/portreeve.lua",
        "apache/portreeve.lua",
    ] {
        let text = text(path).to_ascii_lowercase();
        for header in identity.names() {
            assert!(text.contains(header.as_str()), "{path} has no {header}");
        }
    }
    // By prefixes, and what has none by its name.
    for path in ["envoy/http.yaml", "traefik/dynamic.yaml"] {
        let text = text(path).to_ascii_lowercase();
        for header in identity.names() {
            let name = header.as_str();
            let known = name.starts_with("x-portreeve-") || name.starts_with("x-user-");
            assert!(known || text.contains(name), "{path} has no {name}");
        }
    }
}

/// Whatever a client may not send is taken away before the app.
#[test]
fn no_configuration_lets_what_is_not_answered_through() {
    for path in ["envoy/grpc.yaml", "envoy/http.yaml"] {
        let text = text(path);
        assert!(text.contains("failure_mode_allow: false"), "{path}");
        assert!(text.contains("timeout: 3s"), "{path}");
        assert!(
            text.contains("path_with_escaped_slashes_action: REJECT_REQUEST"),
            "{path}"
        );
    }
    // Belts beside the engine's own braces: no request shows that they are missing.
    let grpc = text("envoy/grpc.yaml");
    for setting in ["encode_raw_headers: true", "validate_mutations: true"] {
        assert!(grpc.contains(setting), "envoy/grpc.yaml has no {setting}");
    }
    for (path, limit) in [
        ("nginx/portreeve/server.conf", "proxy_read_timeout"),
        ("caddy/Caddyfile", "response_header_timeout"),
        ("haproxy/haproxy.cfg", "timeout server"),
        ("apache/portreeve.lua", "timeout_seconds"),
    ] {
        assert!(text(path).contains(limit), "{path} has no {limit}");
    }
}

#[test]
fn the_shops_policies_are_without_faults() {
    let site = Site::new();
    let shop = folder().join("shop/shop.toml");
    for arguments in [&["check"][..], &["test", "--coverage-min", "100"]] {
        let mut command = portreeve(&shop);
        command.env("PORTREEVE_DATA_DIR", site.data());
        let ran = run(command.arg("policy").args(arguments).arg("--json"));
        assert_eq!(ran.status, Some(0), "{ran:?}");
    }
}
