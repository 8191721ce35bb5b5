use super::super::tests::Random;
use super::*;

mod diff;

/// Writes BTF, with names and references given as a test likes to read them.
pub(in super::super) struct Builder {
    pub(in super::super) big_endian: bool,
    strings: Vec<u8>,
    /// Where this section's strings and ids begin: 0 and 1, or behind a base.
    first_string: u32,
    first_id: u32,
    types: Vec<u8>,
    count: u32,
    layout: Option<Vec<u8>>,
}

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

impl Builder {
    pub(in crate::artifact::btf) fn new() -> Self {
        Self {
            big_endian: false,
            strings: vec![0],
            first_string: 0,
            first_id: 1,
            types: Vec::new(),
            count: 0,
            layout: None,
        }
    }

    fn split(base: &Self) -> Self {
        Self {
            strings: Vec::new(),
            first_string: base.strings.len() as u32,
            first_id: base.first_id + base.count,
            ..Self::new()
        }
    }

    fn push(&mut self, words: &[u32]) {
        for &word in words {
            let bytes = if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
            self.types.extend(bytes);
        }
    }

    pub(in crate::artifact::btf) fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// A record; `info` is kind, kind_flag and vlen already put together.
    fn raw(&mut self, name: u32, info: u32, word: u32, tail: &[u32]) -> u32 {
        self.push(&[name, info, word]);
        self.push(tail);
        self.count += 1;
        self.first_id + self.count - 1
    }

    pub(in crate::artifact::btf) fn add(&mut self, name: &str, kind: u32, word: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        self.raw(name, kind << 24, word, tail)
    }

    pub(in crate::artifact::btf) fn int(&mut self, name: &str) -> u32 {
        self.add(name, INT, 4, &[1 << 24 | 32])
    }

    fn fields(&mut self, name: &str, kind: u32, word: u32, fields: &[(&str, u32, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (field, id, place) in fields {
            tail.extend([self.name(field), *id, *place]);
        }
        let name = self.name(name);
        self.raw(name, kind << 24 | fields.len() as u32, word, &tail)
    }

    pub(in crate::artifact::btf) fn proto(&mut self, result: u32, params: &[(&str, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (param, id) in params {
            tail.extend([self.name(param), *id]);
        }
        self.raw(0, FUNC_PROTO << 24 | params.len() as u32, result, &tail)
    }

    pub(in crate::artifact::btf) fn func(&mut self, name: &str, proto: u32, linkage: u32) -> u32 {
        let name = self.name(name);
        self.raw(name, FUNC << 24 | linkage, proto, &[])
    }

    pub(in crate::artifact::btf) fn bytes(&self) -> Vec<u8> {
        let mut header = Self { big_endian: self.big_endian, ..Self::new() };
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let layout = self.layout.as_ref();
        let length = if layout.is_some() { 32 } else { 24 };
        header.push(&[length, 0, types, types, strings]);
        if let Some(layout) = layout {
            header.push(&[types + strings, layout.len() as u32]);
        }
        let magic = if self.big_endian { [0xeb, 0x9f] } else { [0x9f, 0xeb] };
        let mut bytes = [magic[0], magic[1], 1, 0].to_vec();
        bytes.extend(header.types);
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes.extend(layout.into_iter().flatten());
        bytes
    }
}

/// Stand-alone BTF with one of nearly everything.
fn vmlinux() -> Builder {
    vmlinux_in(false, &[])
}

fn vmlinux_in(big_endian: bool, extra: &[&str]) -> Builder {
    let mut b = Builder { big_endian, ..Builder::new() };
    for name in extra {
        b.int(name);
    }
    let int = b.int("int");
    let char_ = b.add("char", INT, 1, &[8]);
    let const_char = b.add("", CONST, char_, &[]);
    let text = b.add("", PTR, const_char, &[]);
    let anon = b.fields("", STRUCT, 8, &[("lo", int, 0), ("hi", int, 32)]);
    b.fields("page", STRUCT, 24, &[("name", text, 0), ("", anon, 64)]);
    b.add("u32", TYPEDEF, int, &[]);
    let proto = b.proto(int, &[("fmt", text), ("", 0)]);
    let printk = b.func("printk", proto, 1);
    let tag = b.name("bpf_kfunc");
    b.raw(tag, DECL_TAG << 24, printk, &[u32::MAX]);
    b
}

/// Split BTF of a module built on `base`, whose ids and string offsets depend on it.
fn module(base: &Builder) -> Builder {
    let find = |name: &str| {
        let wire = Wire::parse(base.bytes()).expect("is BTF");
        let view = View::new(&wire, false, None);
        let at = wire.iter().position(|t| view.name(t.name) == Some(name.as_bytes()));
        at.expect("is in the base") as u32 + 1
    };
    let (int, page, char_) = (find("int"), find("page"), find("char"));
    let mut m = Builder::split(base);
    m.big_endian = base.big_endian;
    let page_ptr = m.add("", PTR, page, &[]);
    let proto = m.proto(int, &[("page", page_ptr)]);
    m.func("md5_init", proto, 0);
    let callback = m.add("", PTR, proto, &[]);
    let array = m.add("", ARRAY, 0, &[char_, int, 16]);
    let matrix = m.add("", ARRAY, 0, &[array, int, 2]);
    let flags = m.name("lo_bits");
    let flags_anon = m.name("hi_bits");
    let name = m.name("md5_state");
    m.raw(name, 1 << 31 | STRUCT << 24 | 2, 4, &[flags, int, 3 << 24, flags_anon, int, 5 << 24 | 3]);
    m.fields("md5_ops", STRUCT, 48, &[("init", callback, 0), ("buf", matrix, 64)]);
    let (a, z) = (m.name("MD5_A"), m.name("MD5_Z"));
    let name = m.name("md5_mode");
    m.raw(name, 1 << 31 | ENUM << 24 | 2, 4, &[a, 0, z, u32::MAX]);
    let big = m.name("MD5_BIG");
    m.raw(0, ENUM64 << 24 | 1, 8, &[big, 1, 1]);
    m.add("later", FWD, 0, &[]);
    let user = m.name("user");
    let tagged = m.raw(user, TYPE_TAG << 24, int, &[]);
    let var = m.name("md5_count");
    let var = m.raw(var, VAR << 24, tagged, &[1]);
    let section = m.name(".data..percpu");
    m.raw(section, DATASEC << 24 | 1, 4, &[var, 0, 4]);
    m
}

/// A module's `.BTF` as tests elsewhere need one.
pub(in super::super) fn sample() -> Vec<u8> {
    module(&vmlinux()).bytes()
}

/// A vmlinux's `.BTF`.
pub(in super::super) fn base_sample() -> Vec<u8> {
    vmlinux().bytes()
}

fn text(module: &Builder, base: &Builder) -> String {
    full_text(&module.bytes(), Some(&base.bytes())).expect("is BTF")
}

#[test]
fn a_module_reads_like_this() {
    let base = vmlinux();
    insta::assert_snapshot!(text(&module(&base), &base));
}

#[test]
fn a_vmlinux_reads_like_this() {
    insta::assert_snapshot!(summary_text(&vmlinux().bytes()).expect("is BTF"));
}

#[test]
fn the_text_does_not_depend_on_the_base_s_ids() {
    let (base, larger) = (vmlinux(), vmlinux_in(false, &["u128", "s7"]));
    let (plain, shifted) = (module(&base), module(&larger));
    assert_ne!(plain.bytes(), shifted.bytes());
    assert_eq!(text(&plain, &base), text(&shifted, &larger));
}

#[test]
fn byte_order_changes_the_header_only() {
    let (base, big) = (vmlinux(), vmlinux_in(true, &[]));
    let (little, big) = (text(&module(&base), &base), text(&module(&big), &big));
    assert_eq!(big, little.replacen("split BTF", "split BTF, big-endian", 1));
}

#[test]
fn order_changes_only_the_order_digest() {
    let make = |names: [&str; 2]| {
        let mut b = Builder::new();
        names.iter().for_each(|name| {
            b.int(name);
        });
        summary_text(&b.bytes()).expect("is BTF")
    };
    let (ab, ba) = (make(["a", "b"]), make(["b", "a"]));
    let line = |text: &str, key: &str| text.lines().find(|l| l.starts_with(key)).map(str::to_owned);
    assert_eq!(line(&ab, "content"), line(&ba, "content"));
    assert_ne!(line(&ab, "order"), line(&ba, "order"));
}

#[test]
fn every_word_of_every_record_shows_in_the_text() {
    // Ids and string offsets must still lead to the same place for the text to be the same.
    let base = vmlinux();
    let good = module(&base).bytes();
    let base = Base::parse(base.bytes()).expect("is BTF");
    let text = full_text_with(&good, Some(&base)).expect("is BTF");
    let wire = Wire::parse(&good[..]).expect("is BTF");
    let types = 24..good.len() - wire.strings().len();
    for at in types {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            match full_text_with(&bytes, Some(&base)) {
                Ok(other) => assert_ne!(other, text, "byte {at} bit {bit}"),
                Err(_) => continue,
            }
        }
    }
}

#[test]
fn a_wrong_base_is_noticed() {
    let (base, larger) = (vmlinux(), vmlinux_in(false, &["u128", "s7"]));
    let shifted = module(&larger).bytes();
    let error = full_text(&shifted, Some(&base.bytes())).expect_err("leads nowhere");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(full_text(&shifted, None), Err(BtfError::BaseNeeded));
    let split_base = Base::parse(shifted.clone()).map(|_| ());
    assert_eq!(split_base, Err(BtfError::BaseIsSplit));
    let base = Base::parse(base.bytes()).expect("is BTF");
    assert!(BtfFacts::of(&shifted, 1, Some(&base)).problem.is_some());
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    type Make = fn(&mut Builder) -> u32;
    let refused = |make: Make| {
        let mut b = Builder::new();
        b.int("long unsigned int");
        make(&mut b);
        let problem = BtfFacts::of(&b.bytes(), 1, None).problem;
        problem.expect("has one")
    };
    let cases: [(Make, &str); 7] = [
        (|b| b.add("two words", TYPEDEF, 1, &[]), "type `2` cannot be named `two words`"),
        (|b| b.add("", TYPEDEF, 1, &[]), "type `2` cannot be named ``"),
        (|b| b.add("p", PTR, 1, &[]), "type `2` cannot be named `p`"),
        (|b| b.fields("s", STRUCT, 4, &[("9", 1, 0)]), "type `2` cannot be named `9`"),
        (|b| b.func("f", 1, 0), "type `2`, a `func`, cannot refer to a `int`"),
        (
            |b| {
                let name = b.name(".data");
                b.raw(name, DATASEC << 24 | 1, 4, &[1, 0, 4])
            },
            "type `2`, a `datasec`, cannot refer to a `int`",
        ),
        (
            |b| {
                let proto = b.proto(0, &[]);
                let func = b.func("f.isra.0", proto, 0);
                b.add("", PTR, func, &[])
            },
            "type `4`, a `ptr`, cannot refer to a `func`",
        ),
    ];
    for (make, problem) in cases {
        assert_eq!(refused(make), problem);
    }
}

#[test]
fn facts_of_a_module() {
    let base = vmlinux();
    let bytes = module(&base).bytes();
    let parsed = Base::parse(base.bytes()).expect("is BTF");
    for facts in [BtfFacts::of(&bytes, 2, Some(&parsed)), BtfFacts::of(&bytes, 2, None)] {
        assert_eq!((facts.sections, facts.types, facts.functions), (2, 14, 1));
        assert_eq!(facts.function_names, ["md5_init"]);
        assert_eq!((facts.unnamed, facts.problem.as_deref()), (0, None));
        assert!(facts.base);
    }
    let facts = BtfFacts::of(&base.bytes(), 1, None);
    assert!(!facts.base);
    assert_eq!(facts.function_names, ["printk"]);
    assert_eq!(facts.problem, None);
}

#[test]
fn a_name_in_the_base_is_named_only_with_it() {
    let base = vmlinux();
    let mut module = Builder::split(&base);
    let proto = module.proto(0, &[]);
    let printk = base.strings.windows(7).position(|w| w == b"printk\0").expect("is there");
    module.raw(printk as u32, FUNC << 24, proto, &[]);
    module.func("mine", proto, 0);
    let bytes = module.bytes();
    let parsed = Base::parse(base.bytes()).expect("is BTF");
    let facts = BtfFacts::of(&bytes, 1, Some(&parsed));
    assert_eq!((facts.function_names.join(" "), facts.unnamed), ("mine printk".to_owned(), 0));
    let facts = BtfFacts::of(&bytes, 1, None);
    assert_eq!((facts.function_names.join(" "), facts.unnamed), ("mine".to_owned(), 1));
}

#[test]
fn broken_headers_say_what_is_wrong() {
    let good = vmlinux().bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        full_text(&copy, None).expect_err("is broken")
    };
    assert_eq!(full_text(&good[..23], None), Err(BtfError::TooShort { have: 23 }));
    assert_eq!(with(0, &[0, 0]), BtfError::Magic(0));
    assert_eq!(with(2, &[2]), BtfError::Version(2));
    assert_eq!(with(4, &[23, 0, 0, 0]), BtfError::Header(23));
    assert_eq!(with(4, &[0xff; 4]), BtfError::Header(u32::MAX));
    assert!(matches!(with(12, &[0xff; 4]), BtfError::Range { what: "types", .. }));
    assert!(matches!(with(20, &[0xff; 4]), BtfError::Range { what: "strings", .. }));
    assert_eq!(with(good.len() - 1, b"x"), BtfError::Strings);
    assert!(matches!(with(12, &[20, 0, 0, 0]), BtfError::Type { id: 2, offset: 16 }));
}

#[test]
fn an_unknown_kind_is_kept_as_data() {
    let mut b = Builder::new();
    b.int("int");
    b.add("strange", 99, 4, &[1, 2, 3]);
    b.int("after");
    let text = full_text(&b.bytes(), None).expect("is BTF");
    assert!(text.starts_with("BTF: 1 types\n"), "{text}");
    assert!(text.contains("\nunread: 40 bytes"), "{text}");
    let facts = BtfFacts::of(&b.bytes(), 1, None);
    assert_eq!((facts.types, facts.unread, facts.problem), (1, 40, None));

    // With a layout section its length is known: 12 bytes, and 0 per element.
    let mut layout = vec![0; 100 * 4];
    layout[99 * 4] = 12;
    b.layout = Some(layout);
    let text = full_text(&b.bytes(), None).expect("is BTF");
    assert!(text.starts_with("BTF: 3 types\n"), "{text}");
    assert!(text.contains("kind_99 strange: word 0x4, vlen 0, 12 bytes"), "{text}");
    assert!(text.contains("int after:"), "{text}");
}

#[test]
fn loops_come_to_an_end() {
    let mut b = Builder::new();
    b.add("", PTR, 1, &[]);
    b.add("", CONST, 3, &[]);
    b.add("", CONST, 2, &[]);
    b.add("", ARRAY, 0, &[4, 4, 1]);
    // An anonymous struct that holds itself five times: five to the power of the depth, if followed.
    b.fields("", STRUCT, 8, &[("a", 5, 0), ("b", 5, 0), ("c", 5, 0), ("d", 5, 0), ("e", 5, 0)]);
    b.proto(6, &[("a", 6), ("b", 6), ("c", 6)]);
    b.func("f", 6, 0);
    let text = full_text(&b.bytes(), None).expect("is BTF");
    assert!(text.len() < 40_000, "{}", text.len());
    assert!(text.contains('…'));
}

#[test]
fn mutated_btf_never_panics() {
    let mut random = Random(0xb7f);
    let base = vmlinux();
    let (good_base, good) = (base.bytes(), module(&base).bytes());
    let parsed = Base::parse(good_base.clone()).expect("is BTF");
    let mut readable = 0;
    for _ in 0..3000 {
        let mut bytes = good.clone();
        random.mutate(&mut bytes, 40);
        BtfFacts::of(&bytes, 1, Some(&parsed));
        BtfFacts::of(&bytes, 1, None);
        readable += usize::from(full_text_with(&bytes, Some(&parsed)).is_ok());
        let _ = summary_text(&bytes);
        let mut bytes = good_base.clone();
        random.mutate(&mut bytes, 40);
        let _ = full_text(&good, Some(&bytes));
        let _ = summary_text(&bytes);
    }
    assert!(readable > 200 && readable < 2800, "{readable}");
}

/// The `btf-rs` crate reads the same types and function names, on this machine's kernel if it has BTF, else on
/// the sample.
#[test]
fn btf_rs_agrees() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_else(|_| vmlinux().bytes());
    let wire = Wire::parse(&bytes[..]).expect("is BTF");
    let view = View::new(&wire, is_split(&wire), None);
    assert!(!view.split);
    assert_eq!(check_read(&view), Ok(()));
    let theirs = btf_rs::Btf::from_bytes(&bytes).expect("is BTF");
    let mut functions = 0;
    for (id, record) in (1..).zip(wire.iter()) {
        let other = theirs.resolve_type_by_id(id).expect("as many types");
        let label = record.kind.label().replace('_', "-");
        assert_eq!(other.name(), label, "type {id}");
        if let btf_rs::Type::Func(func) = &other {
            functions += 1;
            let name = view.name(record.name).map(escape_bytes);
            assert_eq!(theirs.resolve_name(func).ok(), name);
        }
    }
    assert!(theirs.resolve_type_by_id(wire.len() + 1).is_err());
    let facts = BtfFacts::of(&bytes, 1, None);
    assert_eq!((facts.types, facts.functions), (wire.len(), functions));
    summary_text(&bytes).expect("is BTF");
}
