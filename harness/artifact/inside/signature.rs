//! Module signatures: `struct module_signature` (`include/linux/module_signature.h`) and the PKCS#7 message (RFC 2315,
//! RFC 5652) that lies before it.

use std::fmt;

use super::super::walk::escape_bytes;
use super::der::{CONTEXT_0, INTEGER, OBJECT_ID, SEQUENCE, SET, Values};
use super::notes::hex;
use super::thousands;

/// `MODULE_SIG_STRING`.
const END: usize = b"~Module signature appended~\n".len();
/// `sizeof(struct module_signature)`: algo, hash, id_type, signer_len, key_id_len, three bytes of padding, sig_len.
const INFO: usize = 12;
/// `PKEY_ID_PKCS7` of `enum pkey_id_type`.
const PKCS7: u8 = 2;

/// DER of the object identifiers that occur, and what they are called.
const NAMES: &[(&[u8], &str)] = &[
    (&[0x2b, 0x0e, 0x03, 0x02, 0x1a], "sha1"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01], "sha256"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02], "sha384"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03], "sha512"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x04], "sha224"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08], "sha3-256"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x09], "sha3-384"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x0a], "sha3-512"),
    (&[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x83, 0x11], "sm3"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x11], "ml-dsa-44"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12], "ml-dsa-65"),
    (&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x13], "ml-dsa-87"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01], "rsa"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], "rsa with sha256"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], "rsa with sha512"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "ecdsa with sha256"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "ecdsa with sha384"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04], "ecdsa with sha512"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02], "signed data"),
];
/// `id-at-commonName`, 2.5.4.3, and `id-at-organizationName`, 2.5.4.10.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];

/// A signature as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// Length of the message in bytes.
    length: u32,
    kind: u8,
    message: Result<Message, String>,
    /// Bytes between the last section and the message.
    before: usize,
}

/// What the first signer info of a PKCS#7 message says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    signer: String,
    digest: String,
    algorithm: String,
    /// Certificates in it: the kernel needs none.
    certificates: usize,
    /// The signature itself, which is other where the module or the key is.
    value: String,
}

impl Signature {
    /// Lines for people.
    pub(super) fn told(&self) -> Vec<String> {
        match &self.message {
            Ok(message) => vec![format!("signed {message}")],
            Err(why) => vec![format!("{} bytes of signature, not read: {why}", thousands(self.length.into()))],
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}, {}, {}", self.signer, self.digest, self.algorithm)
    }
}

/// Reads what follows the last section of a signed module.
pub(super) fn of(tail: &[u8]) -> Result<Signature, Vec<String>> {
    let wrong = |why: String| vec![format!("not a signature: {why}")];
    let end = tail.len().checked_sub(END + INFO).ok_or_else(|| wrong("too short for its header".to_owned()))?;
    let info = &tail[end..end + INFO];
    let [_, _, kind, signer, key_id, _, _, _, l0, l1, l2, l3] = *info else {
        return Err(wrong("too short for its header".to_owned()));
    };
    let length = u32::from_be_bytes([l0, l1, l2, l3]);
    let start = usize::try_from(length).ok().and_then(|length| end.checked_sub(length));
    let Some(start) = start else {
        return Err(wrong(format!("its header claims {length} bytes, and {end} are there")));
    };
    let message = match kind {
        // "the signer's name and the key id are in the PKCS#7 message": mod_check_sig() wants zeros
        PKCS7 if signer == 0 && key_id == 0 => message(&tail[start..end]),
        PKCS7 => Err("a PKCS#7 signature with a signer or key id in its header".to_owned()),
        kind => Err(format!("its kind is {kind}, not PKCS#7")),
    };
    Ok(Signature { length, kind, message, before: start })
}

/// Who signed, by a PKCS#7 message.
pub(in super::super) fn signer(message: &[u8]) -> String {
    match self::message(message) {
        Ok(message) => format!("signed {message}"),
        Err(why) => format!("not read: {why}"),
    }
}

fn name(id: &[u8]) -> String {
    NAMES
        .iter()
        .find(|(have, _)| *have == id)
        .map_or_else(|| format!("algorithm {}", hex(id)), |(_, n)| (*n).to_owned())
}

/// ContentInfo → SignedData → the first SignerInfo.
fn message(bytes: &[u8]) -> Result<Message, String> {
    let mut info = Values::of(Values::of(bytes).expect(SEQUENCE, "the message")?.content);
    let kind = info.expect(OBJECT_ID, "the kind of content")?;
    if name(kind.content) != "signed data" {
        return Err(format!("its content is {}", hex(kind.content)));
    }
    let explicit = info.expect(CONTEXT_0, "the content")?;
    let mut signed = Values::of(Values::of(explicit.content).expect(SEQUENCE, "the signed data")?.content);
    signed.expect(INTEGER, "the version")?;
    signed.expect(SET, "the digest algorithms")?;
    signed.expect(SEQUENCE, "the content's type")?;
    let certificates = signed.optional(CONTEXT_0).map_or(0, |all| {
        let mut all = Values::of(all.content);
        std::iter::from_fn(|| all.next().ok()).count()
    });
    // [1]: revocation lists
    signed.optional(0xa1);
    let signers = signed.expect(SET, "the signers")?;
    let mut signer = Values::of(Values::of(signers.content).expect(SEQUENCE, "a signer")?.content);
    signer.expect(INTEGER, "the signer's version")?;
    let who = match signer.optional(SEQUENCE) {
        Some(issuer_and_serial) => {
            let mut who = Values::of(issuer_and_serial.content);
            let issuer = who.expect(SEQUENCE, "the issuer")?;
            let serial = who.expect(INTEGER, "the serial number")?;
            format!("{}, serial {}", issuer_name(issuer.content)?, hex(serial.content))
        }
        // [0]: the key by its identifier
        None => format!("key {}", hex(signer.expect(0x80, "the signer")?.content)),
    };
    let digest = algorithm(&mut signer, "the digest algorithm")?;
    signer.optional(CONTEXT_0);
    let with = algorithm(&mut signer, "the signature algorithm")?;
    let value = signer.expect(0x04, "the signature")?;
    Ok(Message { signer: who, digest, algorithm: with, certificates, value: hex(value.content) })
}

fn algorithm(values: &mut Values<'_>, what: &str) -> Result<String, String> {
    let id = Values::of(values.expect(SEQUENCE, what)?.content).expect(OBJECT_ID, what)?;
    Ok(name(id.content))
}

/// The common name in an X.501 name, else its organisation: a sequence of sets of (type, value).
fn issuer_name(bytes: &[u8]) -> Result<String, String> {
    let mut sets = Values::of(bytes);
    let mut found = None;
    while let Some(set) = sets.optional(SET) {
        let mut pairs = Values::of(set.content);
        while let Some(pair) = pairs.optional(SEQUENCE) {
            let mut pair = Values::of(pair.content);
            let kind = pair.expect(OBJECT_ID, "a name's type")?.content;
            let value = pair.next()?;
            if kind == COMMON_NAME || kind == ORGANISATION && found.is_none() {
                let label = if kind == COMMON_NAME { "CN" } else { "O" };
                found = Some(format!("{label}={}", super::strings::shown(value.content)));
            }
        }
    }
    Ok(found.unwrap_or_else(|| format!("issuer {}", escape_bytes(hex(bytes).as_bytes()))))
}

/// How two signatures differ.
pub(super) fn lines(a: &[u8], b: &[u8]) -> Vec<String> {
    let (a, b) = match (of(a), of(b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(lines), _) | (_, Err(lines)) => return lines,
    };
    let mut lines = Vec::new();
    lines.extend(super::change("kind", &a.kind, &b.kind));
    lines.extend(super::change("bytes before the signature", &a.before, &b.before));
    match (&a.message, &b.message) {
        (Ok(x), Ok(y)) => {
            lines.extend(super::change("signed by", &x.signer, &y.signer));
            lines.extend(super::change("digest", &x.digest, &y.digest));
            lines.extend(super::change("algorithm", &x.algorithm, &y.algorithm));
            lines.extend(super::change("certificates", &x.certificates, &y.certificates));
            if x.value != y.value && lines.is_empty() {
                lines.push(format!("another signature {x}"));
            }
        }
        (x, y) if x == y => {}
        _ => [("A", &a), ("B", &b)]
            .iter()
            .for_each(|(which, side)| lines.extend(side.told().iter().map(|line| format!("{which}: {line}")))),
    }
    lines.extend(super::change("length", &a.length, &b.length));
    if lines.is_empty() {
        lines.push("another signature".to_owned());
    }
    lines
}
