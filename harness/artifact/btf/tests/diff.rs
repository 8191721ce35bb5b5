//! What two BTFs say differently, as C, and under any change of their bytes.

use std::sync::Arc;

use super::*;

fn btf(builder: &Builder) -> Btf {
    Btf::parse(builder.bytes(), None).expect("BTF")
}

/// `struct s { int a; long b; }`, `int f(int x)`, an enumeration, in this order or with another struct first.
fn kernel(change: impl FnOnce(&mut Builder, u32)) -> Btf {
    let mut builder = Builder::new();
    let int = builder.int("int");
    change(&mut builder, int);
    btf(&builder)
}

fn usual(builder: &mut Builder, int: u32) {
    builder.fields("s", STRUCT, 8, &[("a", int, 0), ("b", int, 32)]);
    let proto = builder.proto(int, &[("x", int)]);
    builder.func("f", proto, 0);
}

#[test]
fn ids_and_places_of_strings_are_no_difference() {
    let a = kernel(usual);
    assert_eq!(BtfDiff::of(&a, &kernel(usual)).relation, Relation::Identical);
    let b = kernel(|builder, int| {
        builder.name("unused");
        usual(builder, int);
    });
    let diff = BtfDiff::of(&a, &b);
    assert_eq!((diff.relation, diff.order.clone()), (Relation::SameMeaning, None));
    assert_eq!(diff.lines(9).len(), 1);
}

#[test]
fn another_order_is_told_and_nothing_else() {
    let a = kernel(|builder, int| {
        builder.fields("s", STRUCT, 4, &[("a", int, 0)]);
        builder.fields("t", STRUCT, 4, &[("a", int, 0)]);
        builder.fields("u", STRUCT, 4, &[("a", int, 0)]);
    });
    let b = kernel(|builder, int| {
        builder.fields("u", STRUCT, 4, &[("a", int, 0)]);
        builder.fields("s", STRUCT, 4, &[("a", int, 0)]);
        builder.fields("t", STRUCT, 4, &[("a", int, 0)]);
    });
    let diff = BtfDiff::of(&a, &b);
    assert_eq!(diff.relation, Relation::OtherOrder);
    let order = diff.order.clone().expect("an order");
    assert_eq!((order.moved, order.of, order.places), (1, 4, (4, 2)), "only `u` has to move");
    assert_eq!(
        diff.lines(9),
        [
            "same types in another order",
            "order: 1 of 4 types stand elsewhere, the first `struct u: 4 bytes`: number 4 in A, 2 in B"
        ]
    );
}

#[test]
fn a_changed_struct_is_named_by_its_members_and_what_points_to_it_is_not() {
    let with = |members: &'static [(&'static str, u32)], size: u32| {
        kernel(move |builder, int| {
            let members: Vec<(&str, u32, u32)> = members.iter().map(|(name, place)| (*name, int, *place)).collect();
            let own = builder.fields("s", STRUCT, size, &members);
            let pointer = builder.add("", PTR, own, &[]);
            builder.fields("holder", STRUCT, 8, &[("p", pointer, 0)]);
        })
    };
    let diff = BtfDiff::of(
        &with(&[("a", 0), ("gone", 32), ("b", 64)], 12),
        &with(&[("a", 0), ("b", 32), ("new", 64), ("c", 96)], 16),
    );
    assert_eq!(diff.relation, Relation::Different);
    assert_eq!(
        diff.lines(9),
        [
            "changed: 1",
            "  struct s: 12 → 16 bytes",
            "    - gone: int @32",
            "    + new: int @64",
            "    + c: int @96",
            "    b moves: @64 → @32",
        ]
    );
}

#[test]
fn functions_lost_gained_and_changed_are_told_apart() {
    let a = kernel(|builder, int| {
        let proto = builder.proto(int, &[("x", int)]);
        builder.func("stays", proto, 0);
        builder.func("goes", proto, 1);
    });
    let b = kernel(|builder, int| {
        let proto = builder.proto(int, &[("x", 0)]);
        builder.func("stays", proto, 1);
        let other = builder.proto(0, &[]);
        builder.func("comes", other, 1);
    });
    let diff = BtfDiff::of(&a, &b);
    assert_eq!(diff.functions_lost, ["func goes(int x) -> int [global]"]);
    assert_eq!(diff.functions_gained, ["func comes() -> void [global]"]);
    assert_eq!(diff.changed.len(), 1);
    assert_eq!(diff.changed[0].lines, ["parameter 1: int x → void x", "linkage: static → global"]);
    assert!(!diff.keeps_functions());
    assert_eq!(diff.unnamed["func_proto"], (1, 2));
}

#[test]
fn split_btf_over_another_base_is_the_same_if_its_ids_mean_the_same() {
    let base = |first: &str| {
        let mut builder = Builder::new();
        builder.int(first);
        let int = builder.int("int");
        (builder, int)
    };
    let module = |first: &str| {
        let (base, int) = base(first);
        let mut own = Builder::split(&base);
        own.fields("own", STRUCT, 4, &[("a", int, 0)]);
        Btf::parse(own.bytes(), Some(Arc::new(Base::parse(base.bytes()).expect("a base")))).expect("BTF")
    };
    assert_eq!(BtfDiff::of(&module("char"), &module("char")).relation, Relation::Identical);
    let (a, b) = (module("char"), module("long name"));
    assert_eq!(BtfDiff::of(&a, &b).relation, Relation::SameMeaning);
    let (base, _) = base("char");
    let own = Builder::split(&base).bytes();
    assert_eq!(Btf::parse(own, None).unwrap_err(), BtfError::BaseNeeded);
}

#[test]
fn declarations_come_in_an_order_that_c_takes() {
    let c = kernel(|builder, int| {
        // A list that points to itself, a struct that has a later one in it, a function pointer, an array, a bit field.
        let own = builder.first_id + builder.count;
        let pointer = own + 1;
        builder.fields("list", STRUCT, 8, &[("next", pointer, 0)]);
        builder.add("", PTR, own, &[]);
        let inner = builder.first_id + builder.count + 1;
        builder.fields("outer", STRUCT, 8, &[("in", inner, 0)]);
        builder.fields("inner", STRUCT, 8, &[("a", int, 0), ("b", int, 32)]);
        let proto = builder.proto(0, &[("x", int)]);
        let function = builder.add("", PTR, proto, &[]);
        let array = builder.add("", ARRAY, 0, &[function, int, 3]);
        builder.fields("ops", STRUCT, 24, &[("all", array, 0)]);
        builder.add("number", TYPEDEF, int, &[]);
    });
    let mut text = Vec::new();
    c.write_c(&mut text).expect("written");
    assert_eq!(
        String::from_utf8(text).expect("UTF-8"),
        "struct list;\n\nstruct list {\n\tstruct list *next;\n};\n\nstruct inner {\n\tint a;\n\tint b;\n};\n\n\
         struct outer {\n\tstruct inner in;\n};\n\nstruct ops {\n\tvoid (*all[3])(int x);\n};\n\ntypedef int number;\n\n"
    );
}

#[test]
fn whatever_the_bytes_say_there_is_an_end() {
    let mut random = Random(7);
    let good = {
        let mut builder = Builder::new();
        let int = builder.int("int");
        usual(&mut builder, int);
        builder.bytes()
    };
    let a = Btf::parse(good.clone(), None).expect("BTF");
    for _ in 0..3000 {
        let mut bytes = good.clone();
        let hot = bytes.len();
        random.mutate(&mut bytes, hot);
        let Ok(b) = Btf::parse(bytes, None) else { continue };
        let _ = BtfDiff::of(&a, &b).lines(3);
        let _ = (b.check(), b.entries(), b.write_c(&mut std::io::sink()));
    }
}
