//! The contract as TypeScript sees it: `sdk/typescript/src/contract.d.ts`, made from `wit/`.
//!
//! The mapping is the one of the engine that the components get, componentize-qjs: records with camelCase fields, `option<T>` as `T | null`,
//! variants as `{ tag, val }`, an export's or import's `result` as what is returned or thrown.

use anyhow::{Context, Result, bail};
use std::fmt::Write as _;
use std::path::Path;
use wit_parser::{
    Docs, Function, FunctionKind, Handle, Interface, InterfaceId, Resolve, Type, TypeDef, TypeDefKind, TypeId,
    TypeOwner,
};

/// Where it stands, below the repository's root.
pub(crate) const FILE: &str = "sdk/typescript/src/contract.d.ts";

const HEAD: &str = "\
// Made from wit/ by `cargo xtask types`.
//
// What a function declares as its result, it returns; what it declares as its error, it throws.
";

/// The declarations for the contract in a directory.
pub(crate) fn declarations(wit: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("{} is no contract", wit.display()))?;
    let package = resolve.packages.get(package).context("the contract has no package")?;
    let mut out = HEAD.to_owned();
    for id in package.interfaces.values() {
        let writer = Writer { resolve: &resolve, here: *id };
        out.push('\n');
        writer.interface(&mut out)?;
    }
    Ok(out)
}

struct Writer<'a> {
    resolve: &'a Resolve,
    here: InterfaceId,
}

impl Writer<'_> {
    fn interface(&self, out: &mut String) -> Result<()> {
        let interface = self.of(self.here)?;
        let name = interface.name.as_deref().context("an interface without a name")?;
        comment(out, "", &interface.docs);
        writeln!(out, "declare module \"carapace:plugin/{name}\" {{")?;
        for (name, id) in &interface.types {
            let def = self.def(*id)?;
            comment(out, "  ", &def.docs);
            self.type_def(out, name, *id, def)?;
        }
        let free: Vec<&Function> =
            interface.functions.values().filter(|f| matches!(f.kind, FunctionKind::Freestanding)).collect();
        if !free.is_empty() {
            writeln!(out, "  export interface Functions {{")?;
            for function in free {
                comment(out, "    ", &function.docs);
                writeln!(out, "    {};", self.function(function, &function.name, 0)?)?;
            }
            writeln!(out, "  }}\n  const functions: Functions;\n  export default functions;")?;
        }
        out.push_str("}\n");
        Ok(())
    }

    fn type_def(&self, out: &mut String, name: &str, id: TypeId, def: &TypeDef) -> Result<()> {
        let name = upper(name);
        match &def.kind {
            TypeDefKind::Type(Type::Id(used)) if self.def(*used)?.owner != TypeOwner::Interface(self.here) => {
                let TypeOwner::Interface(from) = self.def(*used)?.owner else {
                    bail!("`{name}` belongs to no interface")
                };
                let from = self.of(from)?.name.as_deref().unwrap_or_default();
                writeln!(out, "  export type {{ {name} }} from \"carapace:plugin/{from}\";")?;
                writeln!(out, "  import type {{ {name} }} from \"carapace:plugin/{from}\";")?;
            }
            TypeDefKind::Record(record) => {
                writeln!(out, "  export interface {name} {{")?;
                for field in &record.fields {
                    comment(out, "    ", &field.docs);
                    writeln!(out, "    {}: {};", lower(&field.name), self.ty(&field.ty)?)?;
                }
                out.push_str("  }\n");
            }
            TypeDefKind::Variant(variant) => {
                writeln!(out, "  export type {name} =")?;
                let last = variant.cases.len().saturating_sub(1);
                for (at, case) in variant.cases.iter().enumerate() {
                    comment(out, "    ", &case.docs);
                    let val = case.ty.as_ref().map(|ty| self.ty(ty)).transpose()?;
                    let val = val.map(|ty| format!("; val: {ty}")).unwrap_or_default();
                    let end = if at == last { ";" } else { "" };
                    writeln!(out, "    | {{ tag: \"{}\"{val} }}{end}", case.name)?;
                }
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<String> = cases.cases.iter().map(|c| format!("\"{}\"", c.name)).collect();
                writeln!(out, "  export type {name} = {};", cases.join(" | "))?;
            }
            TypeDefKind::Resource => {
                writeln!(out, "  export interface {name} {{")?;
                for function in self.of(self.here)?.functions.values() {
                    if let FunctionKind::Method(of) = function.kind
                        && of == id
                    {
                        comment(out, "    ", &function.docs);
                        let method = function.name.rsplit('.').next().unwrap_or(&function.name);
                        writeln!(out, "    {};", self.function(function, method, 1)?)?;
                    }
                }
                out.push_str("  }\n");
            }
            kind => writeln!(out, "  export type {name} = {};", self.kind(kind)?)?,
        }
        Ok(())
    }

    /// `skip`: a method's first parameter is the object.
    fn function(&self, function: &Function, name: &str, skip: usize) -> Result<String> {
        let params = function.params.iter().skip(skip);
        let params: Vec<String> =
            params.map(|p| Ok(format!("{}: {}", parameter(&p.name), self.ty(&p.ty)?))).collect::<Result<_>>()?;
        let result = match &function.result {
            None => "void".to_owned(),
            Some(ty) => match self.result(ty)? {
                Some(ok) => ok,
                None => self.ty(ty)?,
            },
        };
        Ok(format!("{}({}): {result}", lower(name), params.join(", ")))
    }

    /// What a function whose result is a `result` returns.
    fn result(&self, ty: &Type) -> Result<Option<String>> {
        let Type::Id(id) = ty else { return Ok(None) };
        Ok(match &self.def(*id)?.kind {
            TypeDefKind::Result(result) => Some(match &result.ok {
                Some(ok) => self.ty(ok)?,
                None => "void".to_owned(),
            }),
            _ => None,
        })
    }

    fn ty(&self, ty: &Type) -> Result<String> {
        Ok(match ty {
            Type::Bool => "boolean".to_owned(),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::S8 | Type::S16 | Type::S32 | Type::S64 => {
                "number".to_owned()
            }
            Type::F32 | Type::F64 => "number".to_owned(),
            Type::Char | Type::String => "string".to_owned(),
            Type::Id(id) => match &self.def(*id)?.name {
                Some(name) => upper(name),
                None => self.kind(&self.def(*id)?.kind)?,
            },
            Type::ErrorContext => bail!("the contract has no error contexts"),
        })
    }

    fn kind(&self, kind: &TypeDefKind) -> Result<String> {
        Ok(match kind {
            TypeDefKind::Type(ty) => self.ty(ty)?,
            // The engine gives lists of bytes as arrays of numbers or bytes, and takes both.
            TypeDefKind::List(Type::U8) => "Uint8Array".to_owned(),
            TypeDefKind::List(ty) => format!("Array<{}>", self.ty(ty)?),
            TypeDefKind::Option(ty) => format!("{} | null", self.ty(ty)?),
            TypeDefKind::Tuple(tuple) => {
                let types: Vec<String> = tuple.types.iter().map(|ty| self.ty(ty)).collect::<Result<_>>()?;
                format!("[{}]", types.join(", "))
            }
            TypeDefKind::Handle(Handle::Own(id) | Handle::Borrow(id)) => self.ty(&Type::Id(*id))?,
            other => bail!("no TypeScript for a {} without a name", other.as_str()),
        })
    }

    fn of(&self, id: InterfaceId) -> Result<&Interface> {
        self.resolve.interfaces.get(id).context("an interface is missing")
    }

    fn def(&self, id: TypeId) -> Result<&TypeDef> {
        self.resolve.types.get(id).context("a type is missing")
    }
}

fn comment(out: &mut String, indent: &str, docs: &Docs) {
    let Some(text) = &docs.contents else { return };
    let lines: Vec<&str> = text.trim().lines().map(str::trim).collect();
    match lines.as_slice() {
        [line] => {
            let _ = writeln!(out, "{indent}/** {line} */");
        }
        lines => {
            let _ = writeln!(out, "{indent}/**");
            for line in lines {
                let _ = writeln!(out, "{indent} * {line}");
            }
            let _ = writeln!(out, "{indent} */");
        }
    }
}

/// `tool-call` → `ToolCall`
fn upper(name: &str) -> String {
    name.split('-')
        .map(|word| word.get(..1).unwrap_or_default().to_uppercase() + word.get(1..).unwrap_or_default())
        .collect()
}

/// `tool-call` → `toolCall`
fn lower(name: &str) -> String {
    let upper = upper(name);
    upper.get(..1).unwrap_or_default().to_lowercase() + upper.get(1..).unwrap_or_default()
}

/// A parameter's name: some of ours are words of the language.
fn parameter(name: &str) -> String {
    let name = lower(name);
    if name == "arguments" { "args".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn the_typescript_sdk_has_the_contract_as_it_stands() {
        let kept = std::fs::read_to_string(root().join(FILE)).unwrap().replace("\r\n", "\n");
        assert!(kept == declarations(&root().join("wit")).unwrap(), "{FILE} is old: run `cargo xtask types`");
    }

    #[test]
    fn words_are_joined_as_the_engine_joins_them() {
        assert_eq!((upper("hmac-sha256"), lower("hmac-sha256")), ("HmacSha256".to_owned(), "hmacSha256".to_owned()));
        assert_eq!(parameter("arguments"), "args");
    }
}
