//! How paths, arguments and file contents travel in JSON: as text where they are UTF-8, else as an array of
//! bytes. Linux paths are bytes (path_resolution(7)), and serde's own encoding of `Path` refuses others.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Utf8(String),
    Raw(Vec<u8>),
}

impl Text {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Text::Utf8(text.to_owned()),
            Err(_) => Text::Raw(bytes.to_owned()),
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Text::Utf8(text) => text.into_bytes(),
            Text::Raw(bytes) => bytes,
        }
    }

    fn os(self) -> OsString {
        OsString::from_vec(self.bytes())
    }
}

/// File contents.
pub(crate) mod bytes {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &[u8], to: S) -> Result<S::Ok, S::Error> {
        Text::of(value).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        Ok(Text::deserialize(from)?.bytes())
    }
}

/// One path or argument.
pub(crate) mod single {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<T: AsRef<OsStr>, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        Text::of(value.as_ref().as_bytes()).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: From<OsString>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        Ok(Text::deserialize(from)?.os().into())
    }
}

/// A list of paths or arguments.
pub(crate) mod list {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<T: AsRef<OsStr>, S: Serializer>(value: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|v| Text::of(v.as_ref().as_bytes())))
    }

    pub(crate) fn deserialize<'de, T: From<OsString>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
        Ok(Vec::<Text>::deserialize(from)?.into_iter().map(|t| t.os().into()).collect())
    }
}

/// Environment variables, in order.
pub(crate) mod pairs {
    use super::*;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &[(OsString, OsString)], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(value.iter().map(|(k, v)| (Text::of(k.as_bytes()), Text::of(v.as_bytes()))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(OsString, OsString)>, D::Error> {
        Ok(Vec::<(Text, Text)>::deserialize(from)?.into_iter().map(|(k, v)| (k.os(), v.os())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Command, Content, Mount, Op, Spec};
    use super::*;

    #[test]
    fn bytes_that_are_no_text_survive() {
        let odd = OsString::from_vec(b"a\xff,:\\\n b".to_vec());
        let spec = Spec {
            mounts: vec![Mount::Bind { host: odd.clone().into(), at: "/b".into(), writable: false }],
            extra_read_only: vec![odd.clone().into(), "/plain".into()],
            ops: vec![Op {
                root: "/b".into(),
                path: odd.clone().into(),
                change: Change::Write { content: Content::Bytes(vec![0, 255, 10]), mode: None },
                stamp: None,
            }],
            commands: vec![Command {
                argv: vec!["a".into(), odd.clone()],
                cwd: "/".into(),
                env: vec![(odd.clone(), odd)],
                label: "x".to_owned(),
            }],
            ..Spec::default()
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    }
}
