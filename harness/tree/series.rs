//! Patches as people send them: a mail, a mailbox of a series, what git format-patch or git diff wrote. Bytes in, values out.
//!
//! Mails are read by mail-parser: bodies may be quoted-printable or base64, headers may be folded and encoded.

use mail_parser::MessageParser;
use mail_parser::mailbox::mbox::MessageIterator;

/// One patch of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The subject as it was sent, `[PATCH v2 3/7] kbuild: ...`; empty for a bare diff.
    pub subject: String,
    /// `Message-ID`, without its angle brackets.
    pub message_id: Option<String>,
    /// The unified diff.
    pub diff: String,
}

/// The patches of a file, in the order in which they are applied. Cover letters and answers, which have no diff, are left out.
///
/// # Errors
/// There is none.
pub fn read(bytes: &[u8]) -> Result<Vec<Patch>, &'static str> {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut patches: Vec<Patch> = if first.starts_with("From ") {
        // A mailbox (mbox(5)); git format-patch writes one of one mail.
        let start = text.find("From ").unwrap_or_default();
        MessageIterator::new(&bytes[start..])
            .filter_map(Result::ok)
            .filter_map(|message| of_mail(message.contents()))
            .collect()
    } else if is_header(first) {
        of_mail(bytes).into_iter().collect()
    } else {
        diff_of(&text).map(|diff| Patch { subject: String::new(), message_id: None, diff }).into_iter().collect()
    };
    if patches.is_empty() {
        return Err("there is no patch in it");
    }
    // Mailboxes hold mails in the order in which they came; the number in the subject is the order of the series.
    patches.sort_by_key(|patch| number(&patch.subject));
    Ok(patches)
}

/// Whether a line is a header of a mail (RFC 5322, 2.2).
fn is_header(line: &str) -> bool {
    line.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

fn of_mail(bytes: &[u8]) -> Option<Patch> {
    let mail = MessageParser::default().parse(bytes)?;
    let bodies: Vec<String> = mail.text_bodies().filter_map(|part| part.text_contents().map(str::to_owned)).collect();
    let attached = mail.attachments().filter_map(|part| part.text_contents().map(str::to_owned));
    let diff = bodies.into_iter().chain(attached).find_map(|text| diff_of(&text))?;
    let subject = mail.subject().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    // An answer quotes the diff, behind `> `, and is no patch; one that changes nothing else is.
    Some(Patch { subject, message_id: mail.message_id().map(str::to_owned), diff })
}

/// The diff in a text: from its first header to the signature that git puts at its end.
fn diff_of(text: &str) -> Option<String> {
    let text = text.replace("\r\n", "\n");
    let lines: Vec<&str> = text.lines().collect();
    let is_git = |line: &str| line.starts_with("diff --git ");
    let is_unified =
        |at: usize| lines[at].starts_with("--- ") && lines.get(at + 1).is_some_and(|next| next.starts_with("+++ "));
    let start = (0..lines.len()).find(|at| is_git(lines[*at]) || is_unified(*at))?;
    let end = (start..lines.len())
        // The version of git follows the separator of signatures (RFC 3676, 4.3); a removed line `- ` has more behind it.
        .find(|at| matches!(lines[*at], "-- " | "--") && lines[*at + 1..].iter().all(|rest| !rest.starts_with("@@")))
        .unwrap_or(lines.len());
    Some(lines[start..end].join("\n") + "\n")
}

/// `3` of `[PATCH v2 3/7]`; 0 where there is none.
fn number(subject: &str) -> u32 {
    let Some(tag) = subject.strip_prefix("Re: ").unwrap_or(subject).strip_prefix('[') else { return 0 };
    let words = tag.split(']').next().unwrap_or_default();
    let of = words.split_whitespace().find_map(|word| word.split_once('/')?.0.parse().ok());
    of.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIFF: &str = "diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n one\n-two\n+zwei\n";

    #[test]
    fn a_bare_diff_is_a_patch_without_a_subject() {
        let of =
            |text: &str| read(text.as_bytes()).map(|all| all.into_iter().map(|it| (it.subject, it.diff)).collect());
        let one: Result<Vec<(String, String)>, _> = Ok(vec![(String::new(), DIFF.to_owned())]);
        assert_eq!(of(DIFF), one);
        assert_eq!(of(&DIFF.replace('\n', "\r\n")), one);
        let plain = &DIFF[DIFF.find("---").expect("there")..];
        assert_eq!(of(plain).map(|all: Vec<(String, String)>| all[0].1.clone()), Ok(plain.to_owned()));
        assert_eq!(read(b"nothing of the kind\n"), Err("there is no patch in it"));
        assert_eq!(read(b""), Err("there is no patch in it"));
    }

    #[test]
    fn what_git_writes_ends_before_its_version() {
        let text = format!(
            "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\n\
             Subject: [PATCH] kbuild: say it\n in another way\n\nWhy.\n\nSigned-off-by: A <a@example.org>\n---\n f | 2 +-\n\n{DIFF}-- \n2.39.5\n\n"
        );
        let all = read(text.as_bytes()).expect("a patch");
        assert_eq!((all.len(), all[0].subject.as_str()), (1, "[PATCH] kbuild: say it in another way"));
        assert_eq!(all[0].diff, DIFF);
    }

    #[test]
    fn a_series_is_in_its_order_without_letter_and_answers() {
        let mail = |subject: &str, id: &str, body: &str| {
            format!(
                "From mboxrd@z Thu Jan  1 00:00:00 1970\nFrom: A <a@example.org>\nMessage-ID: <{id}>\nSubject: {subject}\n\n{body}\n"
            )
        };
        let quoted: String = DIFF.lines().map(|line| format!("> {line}\n")).collect();
        let text = [
            mail("[PATCH v2 2/2] second", "2@x", DIFF),
            mail("[PATCH v2 0/2] why", "0@x", "What it is about."),
            mail("Re: [PATCH v2 2/2] second", "r@x", &quoted),
            mail("[PATCH v2 1/2] first", "1@x", DIFF),
        ]
        .concat();
        let all = read(text.as_bytes()).expect("patches");
        let told: Vec<_> = all.iter().map(|it| (it.subject.as_str(), it.message_id.as_deref())).collect();
        assert_eq!(told, [("[PATCH v2 1/2] first", Some("1@x")), ("[PATCH v2 2/2] second", Some("2@x"))]);
    }

    #[test]
    fn a_mail_may_be_encoded() {
        let text = "Subject: =?UTF-8?q?=5BPATCH=5D_b=C3=BCild?=\nContent-Type: text/plain; charset=utf-8\n\
                    Content-Transfer-Encoding: quoted-printable\n\n\
                    diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a=3D1\n+a=3D2 =E2=80=A6\n";
        let all = read(text.as_bytes()).expect("a patch");
        assert_eq!(all[0].subject, "[PATCH] b\u{fc}ild");
        assert!(all[0].diff.contains("-a=1\n+a=2 \u{2026}"), "{}", all[0].diff);
    }
}
