//! A pickle interpreter that executes nothing.
//!
//! The opcodes of protocols 2 to 5 build inert values: naming a class gives its name, calling it records the
//! call. Two kinds of calls are understood because their results are plain data: dictionaries and sets.
//! Input is bounded in bytes, in values, in stack depth, and by rejecting names that only an attack uses.

mod blocklist;
mod opcode;
mod value;
mod writer;

use std::collections::HashMap;

use super::error::{WeightsError, WeightsErrorKind, printable};
use opcode::Reader;
pub(crate) use value::{Arena, Class, Id, Node, Object};
pub(crate) use writer::{Value, pickle};

/// The longest pickle that is read; that of a YOLOv5 model has about 100 kB.
pub(crate) const MAX_PICKLE_BYTES: u64 = 100 << 20;
/// How many values and container slots one pickle may build.
const MAX_VALUES: usize = 4 << 20;
/// How many values may wait on the stack.
const MAX_STACK: usize = 1 << 20;
/// How many containers may be open at once.
const MAX_NESTING: usize = 500;

/// The result of a pickle: its values and the one it stopped with.
#[derive(Debug)]
pub(crate) struct Unpickled {
    pub(crate) arena: Arena,
    pub(crate) root: Id,
}

/// Runs the pickle in `bytes`.
///
/// # Errors
/// If it is truncated, malformed, too large, or names something that could run code.
pub(crate) fn unpickle(bytes: &[u8]) -> Result<Unpickled, WeightsError> {
    unpickle_prefix(bytes).map(|(unpickled, _)| unpickled)
}

/// Runs the pickle at the start of `bytes`, and returns its length too.
///
/// # Errors
/// As [`unpickle`].
pub(crate) fn unpickle_prefix(bytes: &[u8]) -> Result<(Unpickled, usize), WeightsError> {
    if bytes.len() as u64 > MAX_PICKLE_BYTES {
        return Err(WeightsError::hostile(format!("the pickle has {} bytes", bytes.len())));
    }
    let mut machine = Machine {
        input: Reader::new(bytes),
        arena: Arena::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget: MAX_VALUES,
    };
    let root = machine.run().map_err(|error| machine.locate(error))?;
    let length = machine.input.position();
    Ok((Unpickled { arena: machine.arena, root }, length))
}

type Step<T = ()> = Result<T, WeightsError>;

struct Machine<'a> {
    input: Reader<'a>,
    arena: Arena,
    stack: Vec<Id>,
    /// Stack heights at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    budget: usize,
}

impl Machine<'_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            let code = self.input.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Step {
        match code {
            b'(' => self.mark(),
            b'0' => self.discard(),
            b'1' => self.pop_mark().map(drop),
            b'2' => self.top().and_then(|id| self.push_id(id)),
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' | b'K' | b'M' | b'G' | 0x8a | 0x8b => self.number(code),
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(code),
            b'B' | b'C' | 0x8e | 0x96 => self.bytes(code),
            b']' | b')' | b'}' | 0x8f | b'l' | b't' | b'd' | 0x85..=0x87 | 0x91 => self.container(code),
            b'a' | b'e' | b's' | b'u' | 0x90 => self.extend(code),
            b'h' | b'j' | b'q' | b'r' | 0x94 => self.memo(code),
            b'c' => self.global(),
            0x93 => self.stack_global(),
            b'R' | 0x81 | 0x92 | b'b' => self.construct(code),
            b'Q' => self.persistent(),
            0x80 => self.protocol(),
            0x95 => self.input.u64().map(drop),
            _ => Err(unsupported_opcode(code)),
        }
    }

    /// A storage, or, before torch 1.6, the class of a module with its source, which is of no use.
    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        match self.arena.sequence(id) {
            Some(&[kind, class, ..])
                if self.arena.str(kind) == Some("module") && self.arena.class(class).is_some() =>
            {
                self.push_id(class)
            }
            _ => self.push(Node::Persistent(id)),
        }
    }

    fn protocol(&mut self) -> Step {
        match self.input.byte()? {
            0..=5 => Ok(()),
            version => Err(malformed(format!("pickle protocol {version} is unknown"))),
        }
    }

    fn number(&mut self, code: u8) -> Step {
        let node = match code {
            b'J' => Node::Int(i64::from(self.input.i32()?)),
            b'K' => Node::Int(i64::from(self.input.byte()?)),
            b'M' => Node::Int(i64::from(self.input.u16()?)),
            b'G' => Node::Float(self.input.f64_big_endian()?),
            0x8a => {
                let length = u64::from(self.input.byte()?);
                self.input.take(length).map(long)?
            }
            _ => {
                let length = u64::from(self.input.u32()?);
                self.input.take(length).map(long)?
            }
        };
        self.push(node)
    }

    fn text(&mut self, code: u8) -> Step {
        let length = match code {
            b'X' | b'T' => u64::from(self.input.u32()?),
            0x8d => self.input.u64()?,
            _ => u64::from(self.input.byte()?),
        };
        // Python keeps lone surrogates, which are not UTF-8; no name of a tensor or class has any.
        let text = String::from_utf8_lossy(self.input.take(length)?).into_owned();
        self.push(Node::Str(text))
    }

    fn bytes(&mut self, code: u8) -> Step {
        let length = match code {
            b'B' => u64::from(self.input.u32()?),
            b'C' => u64::from(self.input.byte()?),
            _ => self.input.u64()?,
        };
        self.input.take(length)?;
        self.push(Node::Bytes)
    }

    fn container(&mut self, code: u8) -> Step {
        let node = match code {
            b']' => Node::List(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            0x8f => Node::Set(Vec::new()),
            b'l' => Node::List(self.pop_mark()?),
            b't' => Node::Tuple(self.pop_mark()?),
            0x91 => Node::Set(self.pop_mark()?),
            b'd' => Node::Dict(pair_up(&self.pop_mark()?)?),
            _ => Node::Tuple(self.pop_many(usize::from(code - 0x84))?),
        };
        self.push(node)
    }

    /// Puts values from the stack into the container below them.
    fn extend(&mut self, code: u8) -> Step {
        let items = match code {
            b'a' => self.pop_many(1)?,
            b's' => self.pop_many(2)?,
            _ => self.pop_mark()?,
        };
        let target = self.top()?;
        let keyed = matches!(code, b's' | b'u');
        match self.arena.get_mut(target) {
            Some(Node::List(list) | Node::Set(list)) if !keyed => list.extend(items),
            Some(Node::Dict(pairs)) if keyed => pairs.extend(pair_up(&items)?),
            // Subclasses of list and dict: the items of an inert object are of no use.
            Some(Node::Object(_)) => {}
            _ => return Err(malformed("items are added to a value that is not a container")),
        }
        Ok(())
    }

    fn memo(&mut self, code: u8) -> Step {
        let index = match code {
            b'h' | b'q' => u32::from(self.input.byte()?),
            b'j' | b'r' => self.input.u32()?,
            _ => u32::try_from(self.memo.len()).map_err(|_| too_large())?,
        };
        if matches!(code, b'h' | b'j') {
            let id = self.memo.get(&index).copied();
            return self.push_id(id.ok_or_else(|| malformed(format!("memo {index} was never set")))?);
        }
        self.spend(1)?;
        let id = self.top()?;
        self.memo.insert(index, id);
        Ok(())
    }

    fn global(&mut self) -> Step {
        let module = self.input.line()?;
        let name = self.input.line()?;
        self.push_class(module, name)
    }

    fn stack_global(&mut self) -> Step {
        let names = self.pop_many(2)?;
        let texts: Option<Vec<_>> = names.iter().map(|id| self.arena.str(*id).map(str::to_string)).collect();
        match texts.as_deref() {
            Some([module, name]) => self.push_class(module.clone(), name.clone()),
            _ => Err(malformed("a class name is not a string")),
        }
    }

    fn push_class(&mut self, module: String, name: String) -> Step {
        let class = Class { module, name };
        // Whether that is harmless depends on what it is called with.
        if blocklist::is_dangerous(&class) && !is_getattr(&class) {
            return Err(runs_code(&class));
        }
        self.push(Node::Class(Box::new(class)))
    }

    /// REDUCE, NEWOBJ, NEWOBJ_EX, and BUILD.
    fn construct(&mut self, code: u8) -> Step {
        let last = self.pop()?;
        match code {
            b'b' => self.build(last),
            0x92 => {
                // The keyword arguments are of no use to an inert object.
                let args = self.pop()?;
                let class = self.pop()?;
                self.check_getattr(class, args)?;
                self.push(Node::Object(Object { class, args, state: None }))
            }
            _ => {
                let class = self.pop()?;
                self.check_getattr(class, last)?;
                let node = self.plain_data(class, last)?;
                self.push(node.unwrap_or(Node::Object(Object { class, args: last, state: None })))
            }
        }
    }

    /// A fused block of the package `ultralytics` keeps its other method, `getattr(block, 'forward_fuse')`. Whatever else is
    /// looked up could be code that is called then.
    fn check_getattr(&self, class: Id, args: Id) -> Step {
        let Some(class) = self.arena.class(class).filter(|class| is_getattr(class)) else { return Ok(()) };
        let name =
            self.arena.sequence(args).and_then(|args| args.get(1)).and_then(|name| self.arena.str(*name));
        if name == Some("forward_fuse") { Ok(()) } else { Err(runs_code(class)) }
    }

    /// Attaches attributes to an object; other values have none worth keeping.
    fn build(&mut self, state: Id) -> Step {
        let target = self.top()?;
        if let Some(Node::Object(object)) = self.arena.get_mut(target) {
            object.state = Some(state);
        }
        Ok(())
    }

    /// The dict or set that calling `class` with `args` would make, if it is a type of that kind.
    fn plain_data(&mut self, class: Id, args: Id) -> Step<Option<Node>> {
        let Some(class) = self.arena.class(class) else { return Ok(None) };
        let is_builtin = matches!(class.module.as_str(), "builtins" | "__builtin__");
        let is_set = is_builtin && matches!(class.name.as_str(), "set" | "frozenset");
        let is_factory_dict = class.is("collections", "defaultdict");
        let is_dict = is_builtin && class.name == "dict" || class.is("collections", "OrderedDict");
        if !is_set && !is_dict && !is_factory_dict {
            return Ok(None);
        }
        let first = self.arena.sequence(args).and_then(|args| args.first()).copied();
        let first = first.filter(|_| !is_factory_dict);
        let items = first.and_then(|id| self.arena.sequence(id)).unwrap_or_default().to_vec();
        let nested = first.and_then(|id| self.arena.pairs(id)).unwrap_or_default().to_vec();
        self.spend(items.len().saturating_add(nested.len()))?;
        if is_set {
            return Ok(Some(Node::Set(items)));
        }
        let pair = |id: &Id| match self.arena.sequence(*id) {
            Some([key, value]) => Some((*key, *value)),
            _ => None,
        };
        Ok(Some(Node::Dict(nested.into_iter().chain(items.iter().filter_map(pair)).collect())))
    }

    fn mark(&mut self) -> Step {
        if self.marks.len() >= MAX_NESTING {
            return Err(WeightsError::hostile(format!("the pickle nests deeper than {MAX_NESTING}")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn push(&mut self, node: Node) -> Step {
        self.spend(1)?;
        let id = self.arena.add(node).ok_or_else(too_large)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        if self.stack.len() >= MAX_STACK {
            return Err(too_large());
        }
        self.stack.push(id);
        Ok(())
    }

    /// The height below which the stack is closed to pops.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Id> {
        let open = self.stack.get(self.floor()..).and_then(<[Id]>::last);
        open.copied().ok_or_else(|| malformed("the stack is empty"))
    }

    fn pop(&mut self) -> Step<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    /// POP takes a value, or a mark that lies on top.
    fn discard(&mut self) -> Step {
        if !self.marks.is_empty() && self.stack.len() == self.floor() {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_many(&mut self, count: usize) -> Step<Vec<Id>> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
        let start = start.ok_or_else(|| malformed("the stack has too few values"))?;
        self.spend(count)?;
        Ok(self.stack.split_off(start))
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let start = self.marks.pop().ok_or_else(|| malformed("a mark is missing"))?;
        let start = start.min(self.stack.len());
        self.spend(self.stack.len() - start)?;
        Ok(self.stack.split_off(start))
    }

    fn spend(&mut self, count: usize) -> Step {
        self.budget = self.budget.checked_sub(count).ok_or_else(too_large)?;
        Ok(())
    }

    fn locate(&self, error: WeightsError) -> WeightsError {
        error.with_reason(|reason| format!("{reason} (at byte {} of the pickle)", self.input.position()))
    }
}

/// Keys and values that alternate.
fn pair_up(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(malformed("a dict has a key without a value"));
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// A little-endian two's-complement integer of any length.
fn long(bytes: &[u8]) -> Node {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut buffer = [fill; 8];
    for (index, byte) in bytes.iter().enumerate() {
        match buffer.get_mut(index) {
            Some(slot) => *slot = *byte,
            None if *byte == fill => {}
            None => return Node::BigInt,
        }
    }
    let value = i64::from_le_bytes(buffer);
    if (value < 0) == negative { Node::Int(value) } else { Node::BigInt }
}

fn malformed(reason: impl Into<String>) -> WeightsError {
    WeightsError::damaged(format!("the pickle is malformed: {}", reason.into()))
}

fn too_large() -> WeightsError {
    WeightsError::hostile("the pickle builds more values than any model has")
}

fn is_getattr(class: &Class) -> bool {
    matches!(class.module.as_str(), "builtins" | "__builtin__") && class.name == "getattr"
}

fn runs_code(class: &Class) -> WeightsError {
    WeightsError::hostile(format!(
        "the file names `{} {}`, so it tries to run code when it is loaded; it was rejected and nothing was run",
        printable(&class.module),
        printable(&class.name)
    ))
}

fn unsupported_opcode(code: u8) -> WeightsError {
    let reason = format!("the pickle uses opcode {code:#04x}, which torch.save never writes");
    WeightsError::new(
        WeightsErrorKind::Format,
        reason,
        "load it in PyTorch and save it again with torch.save",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_integers_keep_their_sign() {
        let as_int = |bytes: &[u8]| match long(bytes) {
            Node::Int(value) => Some(value),
            _ => None,
        };
        assert_eq!(as_int(&[]), Some(0));
        assert_eq!(as_int(&[0xff]), Some(-1));
        assert_eq!(as_int(&[0xff, 0x00]), Some(255));
        assert_eq!(as_int(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff]), Some(i64::MIN));
        // 2^63, and the magic number of old torch files.
        assert_eq!(as_int(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]), None);
        assert_eq!(as_int(&[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]), None);
    }
}
