use super::*;
use crate::testing;

const TOOL: &str = "[[tool]]\nname = \"t\"\n";

fn report(imports: &[&str], exports: &[&str], more: &str) -> Report {
    let component = wat::parse_str(testing::component(imports, exports)).unwrap();
    let manifest = Manifest::parse(&testing::manifest("x", "0.1.0", more)).unwrap_or_else(|e| panic!("{e}"));
    check(&component, &manifest).unwrap()
}

#[test]
fn the_version_is_the_one_of_the_contract() {
    let wit = include_str!("../../../wit/types.wit");
    assert!(wit.contains(&format!("package {PACKAGE}@{};", carapace_contract::V0_1.wit)));
}

#[test]
fn baseline_imports_need_no_asking() {
    assert_eq!(report(&["log", "clock", "random", "config"], &["tools"], TOOL), Report::default());
}

#[test]
fn each_import_that_was_not_asked_for_is_named_with_the_line_to_add() {
    let r = report(&["http", "kv", "memory", "sessions", "settings", "secrets", "completion"], &["tools"], TOOL);
    insta::assert_snapshot!(r.problems.join("\n"));
}

#[test]
fn what_is_asked_for_may_be_imported() {
    let more = "[kv]\n[memory]\n[sessions]\n[settings]\n[secrets.s]\nprompt = \"S\"\nhmac = true\n[[http]]\nendpoint = \"a\"\nurl = \"https://a.example\"\n[provider]\n";
    let r = report(&["http", "kv", "memory", "sessions", "settings", "secrets", "completion"], &["provider"], more);
    assert_eq!(r, Report::default());
}

#[test]
fn what_is_asked_for_and_not_imported_is_a_warning() {
    let more = "[kv]\n[[http]]\nendpoint = \"a\"\nurl = \"https://a.example\"\n[provider]\n";
    let r = report(&["completion"], &["provider"], more);
    assert_eq!(r.problems, [""; 0]);
    insta::assert_snapshot!(r.warnings.join("\n"));
}

#[test]
fn interfaces_of_others_and_of_other_contracts_are_refused() {
    let foreign = [
        "wasi:keyvalue/store@0.2.0",
        "wasi:cli/environment@0.3.0",
        "carapace:plugin/kv@0.2.0",
        "carapace:plugin/kv@0.1.0",
        "carapace:plugin/telepathy@0.1.0-dev",
        "carapace:plugins/kv@0.1.0-dev",
    ];
    let r = report(&foreign, &["tools"], TOOL);
    assert_eq!(r.problems.len(), foreign.len());
    insta::assert_snapshot!(r.problems.join("\n"));
}

#[test]
fn a_plain_function_import_is_refused() {
    let text = testing::component(&[], &["tools"]).replacen("(component", "(component (import \"escape\" (func))", 1);
    let manifest = Manifest::parse(&testing::manifest("x", "0.1.0", TOOL)).unwrap();
    let r = check(&wat::parse_str(text).unwrap(), &manifest).unwrap();
    assert!(r.problems[0].contains("`escape`"), "{r:?}");
}

#[test]
fn type_only_imports_need_nothing() {
    let types = "(component (import \"carapace:plugin/types@0.1.0-dev\" (instance (type $t u32) (export \"n\" (type (eq $t)))))";
    let text = testing::component(&[], &["tools"]).replacen("(component", types, 1);
    let manifest = Manifest::parse(&testing::manifest("x", "0.1.0", TOOL)).unwrap();
    let component = wat::parse_str(text).unwrap();
    assert_eq!(check(&component, &manifest).unwrap(), Report::default());
    assert!(decode(&component).unwrap().imports.is_empty());
}

#[test]
fn a_resource_is_more_than_a_type() {
    let io = "(component (import \"wasi:io/error@0.2.0\" (instance (export \"error\" (type (sub resource)))))";
    let text = testing::component(&[], &["tools"]).replacen("(component", io, 1);
    let surface = decode(&wat::parse_str(text).unwrap()).unwrap();
    assert!(surface.imports.contains("wasi:io/error@0.2.0"));
}

#[test]
fn a_section_that_claims_more_than_there_is_makes_no_component() {
    let lying = b"\0asm\x0d\0\x01\0\x02\xff\xff\xff\xff\x0f";
    let error = decode(lying).unwrap_err().to_string();
    assert!(error.contains("unexpected end"), "{error}");
}

#[test]
fn exports_and_declarations_must_agree() {
    let mut all = report(&[], &["provider"], TOOL).problems;
    all.extend(report(&[], &["tools", "provider"], TOOL).problems);
    all.extend(report(&["completion"], &[], "[provider]\n").problems);
    insta::assert_snapshot!(all.join("\n"));
    let r = report(&["completion"], &["tools", "provider"], &format!("[provider]\n{TOOL}"));
    assert_eq!(r, Report::default());
}

#[test]
fn an_export_that_nothing_calls_is_a_warning() {
    let r = report(&[], &["tools", "wasi:cli/run@0.2.0"], TOOL);
    assert_eq!(r.problems, [""; 0]);
    assert!(r.warnings[0].contains("wasi:cli/run"), "{r:?}");
}

#[test]
fn each_part_of_wasi_is_asked_for_by_its_own_line() {
    let imports = [
        "wasi:cli/environment@0.2.9",
        "wasi:io/streams@0.2.9",
        "wasi:filesystem/types@0.2.9",
        "wasi:sockets/tcp@0.2.9",
        "wasi:clocks/wall-clock@0.2.9",
        "wasi:random/random@0.2.9",
        "wasi:cli/stdout@0.2.9",
        "wasi:http/outgoing-handler@0.2.9",
    ];
    let whole = "[wasi]\nclocks = true\nrandom = true\nstdio = true\n[[http]]\nendpoint = \"a\"\nurl = \"https://a.example\"\n\
        [[tool]]\nname = \"t\"\nuses = [\"http:a\"]\n";
    assert_eq!(report(&imports, &["tools"], whole), Report::default());
    insta::assert_snapshot!(report(&imports, &["tools"], TOOL).problems.join("\n"));
    for (line, import) in [("clocks", 4), ("random", 5), ("stdio", 6)] {
        let r = report(&imports, &["tools"], &whole.replace(&format!("{line} = true\n"), ""));
        assert_eq!(r.problems.len(), 1);
        assert!(
            r.problems[0].contains(imports[import]) && r.problems[0].contains(&format!("`{line} = true`")),
            "{r:?}"
        );
    }
    let r = report(&["log"], &["tools"], &format!("[wasi]\nclocks = true\n{TOOL}"));
    assert_eq!(r.problems, [""; 0]);
    assert_eq!(r.warnings.len(), 2, "the world and the clocks: {r:?}");
}
