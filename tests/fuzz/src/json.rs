//! Changes of JSON that leave it JSON: readers that begin with a parser are seldom reached by changes of bytes.

use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map, Value};

/// Numbers at which something may end.
const EDGES: [i128; 14] = [
    0,
    1,
    -1,
    2,
    255,
    1_000,
    9_900,
    u16::MAX as i128,
    u32::MAX as i128,
    u32::MAX as i128 + 1,
    (1 << 53) - 1,
    i64::MIN as i128,
    i64::MAX as i128,
    u64::MAX as i128,
];

/// Changes the first `size` bytes of `data` and returns how many there are now: one in four times as bytes, and else one
/// to three parts of the document, if it is one.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut dice = Dice(u64::from(seed) << 1 | 1);
    let document = serde_json::from_slice::<Value>(&data[..size]);
    let (true, Ok(mut document)) = (dice.below(4) > 0, document) else {
        return fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=dice.below(3) {
        let nodes = count(&document);
        let (at, from) = (dice.below(nodes), dice.below(nodes));
        let other = nth(&document, from).cloned().unwrap_or_default();
        if let Some(node) = nth_mut(&mut document, at) {
            change(node, other, &mut dice);
        }
    }
    match serde_json::to_vec(&document) {
        Ok(bytes) if bytes.len() <= max_size => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

fn change(node: &mut Value, other: Value, dice: &mut Dice) {
    match node {
        _ if dice.below(4) == 0 => *node = other,
        Value::Array(items) => change_list(items, other, dice),
        Value::Object(fields) => change_object(fields, other, dice),
        Value::String(text) => *text = changed_text(text, &other, dice),
        Value::Number(number) => {
            let edge = EDGES[dice.below(EDGES.len())];
            let near = number.as_i64().map_or(0, i128::from) + if dice.below(2) == 0 { 1 } else { -1 };
            let chosen = if dice.below(2) == 0 { edge } else { near };
            *node =
                u64::try_from(chosen).map(Value::from).or(i64::try_from(chosen).map(Value::from)).unwrap_or_default();
        }
        Value::Bool(truth) => *truth = !*truth,
        Value::Null => *node = other,
    }
}

fn change_list(items: &mut Vec<Value>, other: Value, dice: &mut Dice) {
    let at = dice.below(items.len().max(1));
    match dice.below(4) {
        0 => items.insert(at, other),
        1 if at < items.len() => items.insert(at, items[at].clone()),
        2 if at < items.len() => drop(items.remove(at)),
        _ if !items.is_empty() => {
            let with = dice.below(items.len());
            items.swap(at, with);
        }
        _ => items.push(other),
    }
}

fn change_object(fields: &mut Map<String, Value>, other: Value, dice: &mut Dice) {
    let name = fields.keys().nth(dice.below(fields.len().max(1))).cloned().unwrap_or_default();
    match (dice.below(3), other) {
        (0, _) => drop(fields.remove(&name)),
        (1, Value::Object(others)) => fields.extend(others),
        (1, Value::String(renamed)) => {
            let value = fields.remove(&name).unwrap_or_default();
            fields.insert(renamed, value);
        }
        (_, other) => drop(fields.insert(name, other)),
    }
}

fn changed_text(text: &str, other: &Value, dice: &mut Dice) -> String {
    match (dice.below(5), other) {
        (0, Value::String(other)) => other.clone(),
        (1, _) => format!("{text}{text}"),
        // What is wrong with base64 is mostly at its end.
        (2, _) => {
            let mut characters: Vec<char> = text.chars().collect();
            let near = dice.below(4) + 1;
            if let Some(at) = characters.len().checked_sub(near) {
                let next = char::from_u32(u32::from(characters[at]) + 1).unwrap_or(' ');
                characters
                    .splice(at..=at, [Vec::new(), vec![next], vec![next, '='], vec!['\n']][dice.below(4)].clone());
            }
            characters.into_iter().collect()
        }
        _ => {
            let mut bytes = [text.as_bytes(), &[0; 8]].concat();
            let longest = bytes.len();
            let size = fuzzer_mutate(&mut bytes, text.len(), longest);
            String::from_utf8_lossy(&bytes[..size]).into_owned()
        }
    }
}

/// Values in a value, itself included.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The one that so many come before.
fn nth(value: &Value, at: usize) -> Option<&Value> {
    let Some(mut at) = at.checked_sub(1) else { return Some(value) };
    let parts: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(fields) => Box::new(fields.values()),
        _ => return None,
    };
    for part in parts {
        let size = count(part);
        if at < size {
            return nth(part, at);
        }
        at -= size;
    }
    None
}

fn nth_mut(value: &mut Value, at: usize) -> Option<&mut Value> {
    let Some(mut at) = at.checked_sub(1) else { return Some(value) };
    let parts: Box<dyn Iterator<Item = &mut Value>> = match value {
        Value::Array(items) => Box::new(items.iter_mut()),
        Value::Object(fields) => Box::new(fields.values_mut()),
        _ => return None,
    };
    for part in parts {
        let size = count(part);
        if at < size {
            return nth_mut(part, at);
        }
        at -= size;
    }
    None
}

/// Numbers that follow from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// One below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % end as u64).unwrap_or_default()
    }
}
