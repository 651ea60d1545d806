//! Where sinks write to: transactions that are prepared, and then committed or given up.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A row of output: which record it is of, its key, and how many of the key there were with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) partition: u32,
    pub(crate) offset: u32,
    pub(crate) key: u64,
    pub(crate) count: u64,
}

/// Name of a transaction: attempt, sink, number.
pub(crate) type TransactionId = (u64, u32, u32);

#[derive(Debug)]
enum Transaction {
    Prepared(Rc<[Row]>),
    Committed,
    GivenUp,
}

#[derive(Debug, Default)]
pub(crate) struct Output {
    transactions: BTreeMap<TransactionId, Transaction>,
    records: BTreeSet<(u32, u32)>,
    counts: BTreeSet<(u64, u64)>,
}

impl Output {
    pub(crate) fn prepare(&mut self, id: TransactionId, rows: Rc<[Row]>) {
        self.transactions.entry(id).or_insert(Transaction::Prepared(rows));
    }

    /// May be repeated.
    pub(crate) fn commit(&mut self, id: TransactionId) -> Result<(), String> {
        let Some(transaction) = self.transactions.get_mut(&id) else {
            return Err(format!("transaction {id:?} is committed and was never prepared"));
        };
        match std::mem::replace(transaction, Transaction::Committed) {
            Transaction::Committed => Ok(()),
            Transaction::GivenUp => {
                Err(format!("transaction {id:?} is committed and had been given up"))
            }
            Transaction::Prepared(rows) => rows.iter().try_for_each(|row| self.add(*row)),
        }
    }

    fn add(&mut self, row: Row) -> Result<(), String> {
        if !self.records.insert((row.partition, row.offset)) {
            return Err(format!("output is there twice: {row:?}"));
        }
        if !self.counts.insert((row.key, row.count)) {
            return Err(format!("a record was not counted, or twice: {row:?}"));
        }
        Ok(())
    }

    /// A new attempt gives up what earlier ones had prepared and did not commit.
    pub(crate) fn give_up_before(&mut self, attempt: u64) {
        for (_, transaction) in self.transactions.range_mut(..(attempt, 0, 0)) {
            if matches!(transaction, Transaction::Prepared(_)) {
                *transaction = Transaction::GivenUp;
            }
        }
    }

    /// How many records have come out.
    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }
}
