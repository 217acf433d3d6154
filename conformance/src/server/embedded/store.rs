//! Keys and values of the databases.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

/// The number of a database.
pub(super) type Db = usize;

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(Bytes),
    List(List),
    Hash(Hash),
}

pub(super) type List = VecDeque<Bytes>;

/// Fields in the order of their names.
pub(super) type Hash = BTreeMap<Bytes, Bytes>;

/// A value of elements: it is made when it is missing, and removed when it becomes empty.
pub(super) trait Collection: Default {
    fn of(value: &Value) -> Option<&Self>;
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    fn into_value(self) -> Value;
    fn has_none(&self) -> bool;
}

impl Collection for List {
    fn of(value: &Value) -> Option<&Self> {
        if let Value::List(list) = value { Some(list) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::List(list) = value { Some(list) } else { None }
    }

    fn into_value(self) -> Value {
        Value::List(self)
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

impl Collection for Hash {
    fn of(value: &Value) -> Option<&Self> {
        if let Value::Hash(hash) = value { Some(hash) } else { None }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        if let Value::Hash(hash) = value { Some(hash) } else { None }
    }

    fn into_value(self) -> Value {
        Value::Hash(self)
    }

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    expires_at: Option<Instant>,
}

/// A key holds a value of another type than the command works on.
#[derive(Debug)]
pub(super) struct WrongType;

/// All databases; remembers which keys were touched, for `WATCH` and for blocked clients.
#[derive(Debug)]
pub(super) struct Store {
    databases: Vec<BTreeMap<Bytes, Entry>>,
    touched: Vec<(Db, Bytes)>,
}

impl Store {
    pub(super) fn new(databases: usize) -> Self {
        Self { databases: (0..databases).map(|_| BTreeMap::new()).collect(), touched: Vec::new() }
    }

    pub(super) fn databases(&self) -> usize {
        self.databases.len()
    }

    /// The keys touched since the last call, in order.
    pub(super) fn take_touched(&mut self) -> Vec<(Db, Bytes)> {
        std::mem::take(&mut self.touched)
    }

    pub(super) fn exists(&mut self, now: Instant, db: Db, key: &Bytes) -> bool {
        self.live(now, db, key).is_some()
    }

    /// Whether the key exists, for those who may only look.
    pub(super) fn is_live(&self, now: Instant, db: Db, key: &Bytes) -> bool {
        self.databases[db].get(key).is_some_and(|entry| entry.expires_at.is_none_or(|at| now < at))
    }

    pub(super) fn string(&mut self, now: Instant, db: Db, key: &Bytes) -> Result<Option<Bytes>, WrongType> {
        match self.live(now, db, key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::String(bytes)) => Ok(Some(bytes.clone())),
            Some(_) => Err(WrongType),
        }
    }

    /// When the key expires; none when it does not, or does not exist.
    pub(super) fn expiry(&mut self, now: Instant, db: Db, key: &Bytes) -> Option<Instant> {
        self.live(now, db, key).and_then(|entry| entry.expires_at)
    }

    /// Replaces whatever is there.
    pub(super) fn set_string(&mut self, db: Db, key: &Bytes, value: Bytes, expires_at: Option<Instant>) {
        // Out of the read buffer of the connection: a small value must not keep a large buffer alive.
        let value = Value::String(Bytes::copy_from_slice(&value));
        self.databases[db].insert(Bytes::copy_from_slice(key), Entry { value, expires_at });
        self.touch(db, key);
    }

    /// Changes when the key expires. False if there is no such key.
    pub(super) fn set_expiry(&mut self, now: Instant, db: Db, key: &Bytes, at: Option<Instant>) -> bool {
        if !self.exists(now, db, key) {
            return false;
        }
        if let Some(entry) = self.databases[db].get_mut(key) {
            entry.expires_at = at;
            self.touch(db, key);
        }
        true
    }

    pub(super) fn list(&mut self, now: Instant, db: Db, key: &Bytes) -> Result<Option<&List>, WrongType> {
        self.elements(now, db, key)
    }

    pub(super) fn change_list<T>(
        &mut self,
        now: Instant,
        db: Db,
        key: &Bytes,
        change: impl FnOnce(&mut List) -> T,
    ) -> Result<T, WrongType> {
        self.change(now, db, key, change)
    }

    /// The elements of a value.
    pub(super) fn elements<C: Collection>(
        &mut self,
        now: Instant,
        db: Db,
        key: &Bytes,
    ) -> Result<Option<&C>, WrongType> {
        self.live(now, db, key).map(|entry| C::of(&entry.value).ok_or(WrongType)).transpose()
    }

    /// Changes the elements of a value.
    pub(super) fn change<C: Collection, T>(
        &mut self,
        now: Instant,
        db: Db,
        key: &Bytes,
        change: impl FnOnce(&mut C) -> T,
    ) -> Result<T, WrongType> {
        self.elements::<C>(now, db, key)?;
        let entry = self.databases[db]
            .entry(Bytes::copy_from_slice(key))
            .or_insert_with(|| Entry { value: C::default().into_value(), expires_at: None });
        let elements = C::of_mut(&mut entry.value).ok_or(WrongType)?;
        let result = change(elements);
        if elements.has_none() {
            self.databases[db].remove(key);
        }
        self.touch(db, key);
        Ok(result)
    }

    /// The names of the keys, ascending.
    pub(super) fn keys(&self, now: Instant, db: Db) -> impl Iterator<Item = &Bytes> {
        let live = move |entry: &Entry| entry.expires_at.is_none_or(|at| now < at);
        self.databases[db].iter().filter(move |(_, entry)| live(entry)).map(|(key, _)| key)
    }

    pub(super) fn remove(&mut self, now: Instant, db: Db, key: &Bytes) -> bool {
        let existed = self.live(now, db, key).is_some();
        if existed {
            self.databases[db].remove(key);
            self.touch(db, key);
        }
        existed
    }

    /// Removes all keys that are meant.
    pub(super) fn clear(&mut self, db: Db, is_meant: impl Fn(&Bytes) -> bool) {
        let touched = &mut self.touched;
        self.databases[db].retain(|key, _| {
            let goes = is_meant(key);
            if goes {
                touched.push((db, key.clone()));
            }
            !goes
        });
    }

    fn live(&mut self, now: Instant, db: Db, key: &Bytes) -> Option<&Entry> {
        let expired = self.databases[db].get(key)?.expires_at.is_some_and(|at| at <= now);
        if expired {
            self.databases[db].remove(key);
            self.touch(db, key);
            return None;
        }
        self.databases[db].get(key)
    }

    fn touch(&mut self, db: Db, key: &Bytes) {
        self.touched.push((db, key.clone()));
    }
}
