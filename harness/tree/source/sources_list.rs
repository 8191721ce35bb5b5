//! APT's own files, as text: sources.list(5) in both forms in, a private configuration out. Pure.

use std::fmt::Write as _;
use std::path::Path;

/// The keyring that Debian's archives are signed with, from the package `debian-archive-keyring`.
pub(super) const ARCHIVE_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One `deb` entry of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uris: Vec<String>,
    pub(super) suites: Vec<String>,
    pub(super) components: Vec<String>,
    /// A keyring's path, a fingerprint, or a key block; its own lines kept as they are.
    pub(super) signed_by: Option<String>,
}

impl Entry {
    fn is_security(&self) -> bool {
        self.suites.iter().all(|s| s.ends_with("-security") || s.ends_with("/updates"))
    }

    /// Debian's main archive or a mirror of it. Third parties sign with keys of their own, so the keyring tells;
    /// an entry without one is believed by the last part of its path.
    fn is_debian(&self) -> bool {
        let by_path = || {
            self.uris
                .iter()
                .any(|u| u.trim_end_matches('/').rsplit('/').next().is_some_and(|last| last.starts_with("debian")))
        };
        self.components.iter().any(|c| c == "main")
            && match &self.signed_by {
                Some(key) => key.contains("debian-archive"),
                None => by_path(),
            }
    }
}

/// The enabled binary entries of one file; `name` decides the form, as it does for apt.
pub(super) fn parse(name: &str, text: &str) -> Vec<Entry> {
    if name.ends_with(".sources") { deb822(text) } else { one_line(text) }
}

fn words(s: &str) -> Vec<String> {
    s.split_whitespace().map(str::to_owned).collect()
}

fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    entries
}

fn stanza(fields: &[(String, String)]) -> Option<Entry> {
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let no = |v: &str| matches!(v.to_ascii_lowercase().as_str(), "no" | "false" | "off" | "without" | "disable" | "0");
    if get("enabled").is_some_and(no) || !words(get("types")?).iter().any(|t| t == "deb") {
        return None;
    }
    Some(Entry {
        uris: words(get("uris")?),
        suites: words(get("suites")?),
        components: words(get("components").unwrap_or_default()),
        signed_by: get("signed-by").map(str::to_owned),
    })
}

fn one_line(text: &str) -> Vec<Entry> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default().trim();
            let rest = line.strip_prefix("deb")?;
            if !rest.starts_with([' ', '\t', '[']) {
                return None; // deb-src
            }
            let rest = rest.trim_start();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(inside) => inside.split_once(']')?,
                None => ("", rest),
            };
            let signed_by =
                options.split_whitespace().find_map(|o| o.strip_prefix("signed-by=")).map(|v| v.replace(',', " "));
            let mut parts = rest.split_whitespace().map(str::to_owned);
            Some(Entry {
                uris: vec![parts.next()?],
                suites: vec![parts.next()?],
                components: parts.collect(),
                signed_by,
            })
        })
        .collect()
}

/// The system's own Debian entries, rewritten for a private state; `None` when it has none.
///
/// Options such as `trusted=yes` are not carried over: signatures are always checked.
pub(super) fn own(entries: &[Entry]) -> Option<String> {
    let debian: Vec<_> = entries.iter().filter(|e| e.is_debian()).collect();
    (!debian.is_empty()).then(|| debian.iter().map(|e| render(e, &e.suites)).collect::<Vec<_>>().join("\n"))
}

/// The system's main Debian entry with another suite. A security entry is of an archive of its own, which
/// has no other suites, so it serves only when asked for one of its kind.
pub(super) fn with_suite(entries: &[Entry], suite: &str) -> Option<String> {
    let wants_security = suite.ends_with("-security");
    let entry = entries.iter().find(|e| e.is_debian() && e.is_security() == wants_security)?;
    Some(render(entry, &[suite.to_owned()]))
}

fn render(entry: &Entry, suites: &[String]) -> String {
    format!(
        "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n",
        entry.uris.join(" "),
        suites.join(" "),
        entry.signed_by.as_deref().unwrap_or(ARCHIVE_KEYRING),
    )
}

/// An apt.conf(5) that keeps everything apt writes below `state`, for `apt-get -c`.
///
/// It is read after the system's files, so proxies, credentials and certificates stay as the system has them. The
/// hooks are cleared because they work on the system's caches (a container image's deletes its archives), pins
/// because they are about what to install, not what to read.
pub(super) fn private_conf(state: &Path) -> Option<String> {
    let state = state.to_str()?;
    // apt.conf(5) knows no escape inside quotes.
    if state.contains(['"', '\n', '\\']) {
        return None;
    }
    let mut conf = String::from(
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n",
    );
    let set: [(&str, &str); 13] = [
        ("Dir::Etc::SourceList", "/debian.sources"),
        ("Dir::Etc::SourceParts", "/nonexistent"),
        ("Dir::Etc::Preferences", "/nonexistent"),
        ("Dir::Etc::PreferencesParts", "/nonexistent"),
        ("Dir::State::Lists", "/lists"),
        ("Dir::Cache", "/cache"),
        ("APT::Default-Release", ""),
        ("APT::Get::List-Cleanup", "true"),
        ("APT::Update::Error-Mode", "any"),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "2"),
        ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false"),
        ("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled", "false"),
    ];
    for (key, value) in set {
        let below = if value.starts_with('/') { state } else { "" };
        writeln!(conf, "{key} \"{below}{value}\";").ok()?;
    }
    Some(conf)
}

/// A file that apt knows how to get: one line of `apt-get --print-uris download`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DebFile {
    pub(super) uri: String,
    /// `6.12.117-1~deb12u1`.
    pub(super) version: String,
    /// Bytes.
    pub(super) size: u64,
    /// Lower-case hexadecimal, from the signed index.
    pub(super) sha256: String,
}

/// Finds the line of `package`: `'URI' NAME_VERSION_ARCH.deb SIZE SHA256:HEX`.
pub(super) fn parse_print_uris(package: &str, output: &str) -> Option<DebFile> {
    output.lines().find_map(|line| {
        let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
        let mut rest = rest.split_whitespace();
        let mut name = rest.next()?.split('_');
        if name.next()? != package {
            return None;
        }
        // A file name has no colon (deb-version(7): epochs).
        let version = name.next()?.replace("%3a", ":");
        let size = rest.next()?.parse().ok()?;
        let sha256 = rest.next()?.strip_prefix("SHA256:")?.to_ascii_lowercase();
        let hex = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| DebFile { uri: uri.to_owned(), version, size, sha256 })
    })
}

/// Names and versions that `apt-get --simulate install` would unpack: `Inst NAME (VERSION ORIGIN [ARCH])`.
pub(super) fn parse_simulated(output: &str) -> Vec<(String, String)> {
    output
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            Some((name.to_owned(), rest.split_whitespace().next()?.to_owned()))
        })
        .collect()
}

/// The `linux-source-*` names of `apt-cache search --names-only`, oldest series first.
pub(super) fn parse_series(output: &str) -> Vec<String> {
    let mut found: Vec<(u32, u32, String)> = output
        .lines()
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            let (major, minor) = name.strip_prefix("linux-source-")?.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?, name.to_owned()))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, _, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEB822: &str = "\
Types: deb
# http://snapshot.example/archive
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: sid
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: sid
Components: main

Types: deb
URIs: https://third.example/debian
Suites: stable
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
";

    const ONE_LINE: &str = "\
# deb http://no.example/debian bookworm main
deb-src http://mirror.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/third.gpg] https://third.example/apt stable main
deb [trusted=yes] http://security.example/debian-security bookworm-security main # comment
deb http://mirror.example/debian/ bookworm main contrib
";

    #[test]
    fn both_forms() {
        let entries = parse("debian.sources", DEB822);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].suites, ["bookworm", "bookworm-updates"]);
        assert!(entries[2].signed_by.as_deref().is_some_and(|k| k.contains("\n abc")));
        let entries = parse("sources.list", ONE_LINE);
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].signed_by.as_deref(), Some("/usr/share/keyrings/third.gpg"));
        assert_eq!(entries[2].components, ["main", "contrib"]);
    }

    #[test]
    fn the_main_archive_serves_other_suites() {
        for (name, text) in [("debian.sources", DEB822), ("sources.list", ONE_LINE)] {
            let entries = parse(name, text);
            let made = with_suite(&entries, "trixie-backports").expect(name);
            assert!(made.contains("URIs: http://mirror.example/debian"), "{made}");
            assert!(!made.contains("-security"), "{made}");
            assert!(made.contains("Suites: trixie-backports\n"), "{made}");
            assert!(made.contains(&format!("Signed-By: {ARCHIVE_KEYRING}\n")), "{made}");
            assert!(!made.to_lowercase().contains("trusted"), "{made}");
            let made = with_suite(&entries, "trixie-security").expect(name);
            assert!(made.contains("debian-security"), "{made}");
            assert_eq!(own(&entries).expect(name).matches("Types: deb\n").count(), 2);
        }
    }

    #[test]
    fn third_parties_do_not_serve() {
        let entries =
            parse("x.list", "deb [signed-by=/k.gpg] http://x/debian stable main\ndeb http://x/apt stable main\n");
        assert_eq!(entries.len(), 2);
        assert_eq!(with_suite(&entries, "sid"), None);
        assert_eq!(own(&entries), None);
    }

    #[test]
    fn private_state_stays_private() {
        let conf = private_conf(Path::new("/c/apt/sid")).expect("conf");
        assert!(conf.contains("Dir::State::Lists \"/c/apt/sid/lists\";\n"));
        assert!(conf.contains("#clear APT::Update::Post-Invoke;\n"));
        assert_eq!(private_conf(Path::new("/c/\"; x")), None);
    }

    #[test]
    fn print_uris() {
        let sum = "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3";
        let line = format!(
            "noise\n'http://m/debian/pool/linux-source-7.3_7.3.4-1%7ebpo13%2b1_all.deb' linux-source-7.3_7.3.4-1~bpo13+1_all.deb 166780612 SHA256:{sum}\n"
        );
        let deb = parse_print_uris("linux-source-7.3", &line).expect("line");
        assert_eq!((deb.version.as_str(), deb.size, deb.sha256.as_str()), ("7.3.4-1~bpo13+1", 166_780_612, sum));
        assert_eq!(parse_print_uris("linux-source-7.2", &line), None);
        assert_eq!(parse_print_uris("linux-source-7.3", &line.replace("SHA256", "MD5Sum")), None);
    }

    #[test]
    fn a_closure_is_what_apt_would_unpack() {
        let out = "NOTE: x\nInst zlib1g (1:1.3.1-1+b1 Debian:13.1/stable [amd64])\nInst pahole (1.30-1 Debian:13 [amd64])\nConf zlib1g (1:1.3.1-1+b1 Debian:13.1/stable [amd64])\n";
        let of = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(parse_simulated(out), [of("zlib1g", "1:1.3.1-1+b1"), of("pahole", "1.30-1")]);
        let line = format!("'http://m/z.deb' zlib1g_1%3a1.3.1-1+b1_amd64.deb 7 SHA256:{}\n", "a".repeat(64));
        assert_eq!(parse_print_uris("zlib1g", &line).expect("line").version, "1:1.3.1-1+b1");
    }

    #[test]
    fn series_are_sorted_as_numbers() {
        let out = "linux-source-6.12 - x\nlinux-source - x\nlinux-source-6.1 - x\nlinux-source-6.12 - x\n";
        assert_eq!(parse_series(out), ["linux-source-6.1", "linux-source-6.12"]);
    }
}
