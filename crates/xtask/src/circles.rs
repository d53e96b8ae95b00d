//! Circles between the modules of a crate.
//!
//! A module is a file here: an inline module counts as part of the file that it is written in. A file depends on
//! the files that define the items which it names, in a `use` (also one that only re-exports), in a path of its code,
//! or in what it passes to a macro; re-exports on the way are followed to the definition. A parent and its child are
//! two files like any others: declaring the child (`mod child;`) is no dependency, naming its items is one.
//!
//! Left out: code under `#[cfg(test)]`. Not seen: methods of values whose type is not named, paths in string
//! literals, what a macro expands to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use proc_macro2::TokenTree::{self, Group, Ident, Punct};
use proc_macro2::{Delimiter, TokenStream};

/// Names joined by `::`. For a module those that lead to it from the root, which itself has none.
type Names = Vec<String>;

/// For each file, by its module, those that it depends on, each with a path that it names there.
type Graph = BTreeMap<Names, BTreeMap<Names, Names>>;

/// Re-exports that are followed from a name to its definition: more than any crate has in a row.
const MAX_REEXPORTS: usize = 16;

/// The circles of the crate with that root file, each as a text that lists its dependencies.
///
/// # Errors
/// When a file of the crate cannot be read or is no Rust.
pub(crate) fn of_crate(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut modules = Modules::default();
    modules.read(root, root.parent().unwrap_or(root), &Names::new())?;
    Ok(circles(&modules.graph()))
}

/// The modules of a crate, inline ones included.
#[derive(Debug, Default)]
struct Modules {
    by_path: BTreeMap<Names, Module>,
    /// Where each `macro_rules!` is. Those that are exported are named as if the root defined them.
    macros: BTreeMap<String, Names>,
}

#[derive(Debug, Default)]
struct Module {
    /// The module of the file that it is written in.
    file: Names,
    /// What `use` brings in, by the name that it has here.
    imports: BTreeMap<String, Names>,
    /// The modules that `use` brings in whole, with `*`.
    globs: Vec<Names>,
    /// Every path of more than one name in the code.
    paths: BTreeSet<Names>,
}

impl Modules {
    /// Reads a module's file and those of its children, which are in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, module: &Names) -> anyhow::Result<()> {
        let source = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let tokens: TokenStream =
            source.parse().map_err(|error| anyhow!("{}: {error}", file.display()))?;
        let mut children = Vec::new();
        self.scan(tokens, module, module, &mut children);
        for child in children {
            let path: std::path::PathBuf = child[module.len()..].iter().collect();
            let folder = folder.join(path);
            let flat = folder.with_extension("rs");
            let file = if flat.exists() { flat } else { folder.join("mod.rs") };
            self.read(&file, &folder, &child)?;
        }
        Ok(())
    }

    /// Takes in some tokens of a module, and notes the children that have files of their own.
    fn scan(&mut self, tokens: TokenStream, file: &Names, path: &Names, children: &mut Vec<Names>) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        loop {
            let module = self.by_path.entry(path.clone()).or_default();
            module.file.clone_from(file);
            rest = match rest {
                [] => break,
                [hash, Group(attribute), after @ ..] if is(hash, '#') && is_cfg_test(attribute) => {
                    after_item(after)
                }
                // `pub(in path)` takes nothing from there.
                [Ident(word), Group(scope), after @ ..]
                    if word == "pub" && scope.delimiter() == Delimiter::Parenthesis =>
                {
                    after
                }
                [Ident(word), Ident(name), Group(body), after @ ..] if word == "mod" => {
                    self.scan(body.stream(), file, &joined(path, &[name.to_string()]), children);
                    after
                }
                [Ident(word), Ident(name), after @ ..] if word == "mod" => {
                    children.push(joined(path, &[name.to_string()]));
                    after
                }
                [Ident(word), _, Ident(name), after @ ..] if word == "macro_rules" => {
                    self.macros.insert(name.to_string(), path.clone());
                    after
                }
                // `impl Trait + use<'a>` imports nothing.
                [Ident(word), after @ ..]
                    if word == "use" && !after.first().is_some_and(|next| is(next, '<')) =>
                {
                    let end = after.iter().position(|token| is(token, ';')).unwrap_or(after.len());
                    module.import(&after[..end], &[]);
                    &after[end..]
                }
                [Ident(_), ..] => {
                    let (names, after) = leading_path(rest);
                    if names.len() > 1 {
                        module.paths.insert(names);
                    }
                    after
                }
                [Group(group), after @ ..] => {
                    self.scan(group.stream(), file, path, children);
                    after
                }
                [_, after @ ..] => after,
            };
        }
    }

    fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (path, module) in &self.by_path {
            let dependencies = graph.entry(module.file.clone()).or_default();
            let globs = module.globs.iter();
            for names in globs.chain(module.imports.values()).chain(&module.paths) {
                let Some(target) = self.target(path, names, 0) else { continue };
                let file = &self.by_path[&target].file;
                if *file != module.file {
                    dependencies.entry(file.clone()).or_insert_with(|| names.clone());
                }
            }
        }
        graph
    }

    /// The module that defines what a path within a module names; none for items of other crates.
    fn target(&self, module: &[String], names: &[String], reexports: usize) -> Option<Names> {
        let (first, rest) = names.split_first()?;
        let start = match first.as_str() {
            "crate" => Names::new(),
            "self" => module.to_vec(),
            "super" => module.split_last()?.1.to_vec(),
            name => self.find(module, name, reexports)?,
        };
        if rest.first().is_some_and(|name| name == "super") {
            return self.target(&start, rest, reexports);
        }
        let mut at = start;
        for name in rest {
            match self.find(&at, name, reexports) {
                Some(next) => at = next,
                // An item of this module, or a variant or function of one.
                None => break,
            }
        }
        Some(at)
    }

    /// The child of that name, or the module that defines what is imported by that name.
    fn find(&self, module: &[String], name: &str, reexports: usize) -> Option<Names> {
        let child = joined(module, &[name.to_owned()]);
        if self.by_path.contains_key(&child) {
            return Some(child);
        }
        let Module { imports, globs, .. } = self.by_path.get(module)?;
        // Else `use name::Item as name` would be followed for ever.
        if reexports == MAX_REEXPORTS {
            return None;
        }
        if let Some(import) = imports.get(name) {
            return self.target(module, import, reexports + 1);
        }
        let of_glob = |glob: &Names| {
            let from = self.target(module, glob, reexports + 1)?;
            self.find(&from, name, reexports + 1)
        };
        let exported = || self.macros.get(name).filter(|_| module.is_empty()).cloned();
        globs.iter().find_map(of_glob).or_else(exported)
    }
}

impl Module {
    /// Takes in what a `use` names below a prefix.
    fn import(&mut self, tree: &[TokenTree], prefix: &[String]) {
        let (names, rest) = leading_path(tree);
        let mut path = joined(prefix, &names);
        match rest {
            [Group(group)] => {
                let tokens: Vec<_> = group.stream().into_iter().collect();
                for tree in tokens.split(|token| is(token, ',')).filter(|tree| !tree.is_empty()) {
                    self.import(tree, &path);
                }
            }
            [star] if is(star, '*') => self.globs.push(path),
            _ => {
                if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
                    path.pop();
                }
                let name = match rest {
                    [_, Ident(alias)] => Some(alias.to_string()),
                    _ => path.last().cloned(),
                };
                self.imports.extend(name.map(|name| (name, path)));
            }
        }
    }
}

fn joined(module: &[String], names: &[String]) -> Names {
    [module, names].concat()
}

fn is(token: &TokenTree, mark: char) -> bool {
    matches!(token, Punct(punct) if punct.as_char() == mark)
}

/// The path that some tokens begin with, and what follows it.
fn leading_path(mut tokens: &[TokenTree]) -> (Names, &[TokenTree]) {
    let mut names = Names::new();
    loop {
        match tokens {
            [first, second, after @ ..] if is(first, ':') && is(second, ':') => tokens = after,
            _ if !names.is_empty() => return (names, tokens),
            _ => {}
        }
        let [Ident(name), after @ ..] = tokens else { return (names, tokens) };
        names.push(name.to_string());
        tokens = after;
    }
}

/// Whether what stands in an attribute's brackets keeps an item for tests alone.
fn is_cfg_test(attribute: &proc_macro2::Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// What follows the item that some tokens begin with: it ends with its body, or with a semicolon.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let is_use = tokens.iter().take(3).any(|token| matches!(token, Ident(word) if word == "use"));
    let ends = |token: &TokenTree| match token {
        Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        token => is(token, ';'),
    };
    tokens.iter().position(ends).map_or(&[], |end| &tokens[end + 1..])
}

/// Files that all depend on each other, directly or by way of others; each set of them as a text.
fn circles(graph: &Graph) -> Vec<String> {
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (file, reached(graph, file))).collect();
    let mut open: BTreeSet<_> = graph.keys().collect();
    let mut circles = Vec::new();
    while let Some(file) = open.pop_first() {
        let circle: BTreeSet<_> =
            reached[file].iter().filter(|other| reached[other].contains(file)).collect();
        open.retain(|other| !circle.contains(other));
        let lines = circle.iter().flat_map(|from| {
            let within = graph[*from].iter().filter(|(to, _)| circle.contains(to));
            within.map(|(to, names)| {
                format!("\n  {} -> {}, for `{}`", shown(from), shown(to), names.join("::"))
            })
        });
        if !circle.is_empty() {
            circles.push(format!(
                "{} modules form a circle:{}",
                circle.len(),
                lines.collect::<String>()
            ));
        }
    }
    circles
}

/// All files that a file depends on, directly or by way of others.
fn reached(graph: &Graph, file: &Names) -> BTreeSet<Names> {
    let mut reached = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        let next = graph.get(file).into_iter().flat_map(BTreeMap::keys);
        open.extend(next.filter(|next| reached.insert((*next).clone())));
    }
    reached
}

fn shown(module: &Names) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate of these files, which `lib.rs` declares.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (path, source) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, source).unwrap();
        }
        of_crate(&folder.path().join("lib.rs")).unwrap()
    }

    /// Two children of the root with this code.
    fn circles_of_two(a: &str, b: &str) -> Vec<String> {
        circles_of(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)])
    }

    #[test]
    fn a_circle_is_found_and_told_with_what_is_named() {
        let circles =
            circles_of_two("use crate::b::B; pub struct A;", "pub struct B(super::a::A);");

        let expected =
            "2 modules form a circle:\n  a -> b, for `crate::b::B`\n  b -> a, for `super::a::A`";
        assert_eq!(circles, [expected]);
    }

    #[test]
    fn every_way_to_name_an_item_counts() {
        for name in [
            "use crate::b::B;",
            "use crate::{b::{self, B}};",
            "use super::b as other;",
            "pub use crate::b::*;",
            "fn f() { crate::b::g(); }",
            "use super::b; fn f() -> b::B { b::B }",
            "fn f() { println!(\"{}\", crate::b::B); }",
            "#[derive(Clone)] struct S { field: crate::b::B }",
            "mod inline { use super::super::b::B; }",
        ] {
            assert_eq!(circles_of_two(name, "use super::a;").len(), 1, "{name}");
        }
    }

    #[test]
    fn what_names_no_item_of_the_other_is_no_dependency() {
        for code in [
            "use b::B; use ::b::C;",
            "fn f(b: u8) { b; self.b; }",
            "#[cfg(test)] mod tests { use crate::b::B; }",
            "#[cfg(test)] use crate::b::{B, C}; fn f() {}",
            "/// [`crate::b::B`]\nfn f() {}",
            "pub(in crate::b) fn f() {}",
            "impl S { fn f() -> impl Sized + use<'_> { \"crate::b::B\" } }",
        ] {
            assert_eq!(circles_of_two(code, "use super::a;"), [""; 0], "{code}");
        }
    }

    #[test]
    fn a_parent_and_its_child_are_two_modules() {
        let parent = "mod child; pub struct P; fn f() { child::g(); }";
        let files = [("lib.rs", "mod p;"), ("p.rs", parent), ("p/child.rs", "use super::P;")];
        assert_eq!(circles_of(&files).len(), 1);

        let files = [("lib.rs", "mod p;"), ("p.rs", "mod child; pub struct P;"), files[2]];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn a_reexport_leads_to_the_definition() {
        let root = "mod a; mod b; pub use a::A; pub use b::*; fn f() {}";
        let files = [("lib.rs", root), ("a.rs", "pub struct A;"), ("b.rs", "use crate::A;")];
        assert_eq!(circles_of(&files), [""; 0], "b depends on a, and not on the root");

        let files = [files[0], ("a.rs", "use crate::f; pub struct A;"), files[2]];
        assert_eq!(circles_of(&files).len(), 1, "the root and a depend on each other");
    }

    #[test]
    fn a_macro_belongs_to_the_module_that_defines_it() {
        let root = "#[macro_use] mod a; mod b; fn f() { b::g(); }";
        let files = [
            ("lib.rs", root),
            ("a.rs", "#[macro_export] macro_rules! m { () => { $crate::a::A } } pub struct A;"),
            ("b.rs", "use crate::m;"),
        ];
        assert_eq!(circles_of(&files), [""; 0]);
    }

    #[test]
    fn circles_without_a_link_between_them_are_told_apart() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A;"),
            ("d.rs", "use crate::{a::A, e::E as X};"),
            ("e.rs", "use crate::d::D;"),
        ];
        let circles = circles_of(&files);
        assert_eq!(circles.len(), 2, "{circles:?}");
        assert!(circles[0].starts_with("3 modules") && circles[1].starts_with("2 modules"));
    }
}
