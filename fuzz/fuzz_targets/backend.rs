//! Any sequence of operations on the memory backend, snapshots, crashes and restores at other
//! parallelisms included, gives what the model gives; with canonical snapshots and with native
//! ones.
#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use millpond_memory::{IncrementalOptions, MemoryBackendFactory, MemoryOptions};
use millpond_testkit::native::NativeFactory;
use millpond_testkit::ops::{Action, Address, Op, Payload, StateChoice, print, replay};

fn state(u: &mut Unstructured<'_>) -> Result<StateChoice> {
    Ok(*u.choose(&[StateChoice::Value, StateChoice::List, StateChoice::Map])?)
}

fn address(u: &mut Unstructured<'_>) -> Result<Address> {
    let text = format!("get value k{} n{}", u.int_in_range(0..=12)?, u.int_in_range(0..=2)?);
    match millpond_testkit::ops::parse(&text).as_deref() {
        Ok([Op::Get(_, address)]) => Ok(*address),
        _ => unreachable!("{text}"),
    }
}

fn payload(u: &mut Unstructured<'_>) -> Result<Payload> {
    let len = *u.choose(&[0, 1, 8, 20, 100, 300, 5_000])?;
    Ok(Payload { seed: u.arbitrary()?, len })
}

fn action(u: &mut Unstructured<'_>) -> Result<Action> {
    Ok(match u.int_in_range(0..=4)? {
        0 => Action::Keep,
        1 => Action::Replace(payload(u)?),
        2 => Action::Remove,
        3 => Action::Break,
        _ => Action::Fail,
    })
}

fn many<T>(
    u: &mut Unstructured<'_>,
    one: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..u.int_in_range(0..=6)?).map(|_| one(u)).collect()
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    let snapshot = |u: &mut Unstructured<'_>| u.int_in_range(0..=5_u64);
    Ok(match u.int_in_range(0..=21)? {
        0 => Op::Open(u.int_in_range(1..=4)?),
        1 => Op::Get(state(u)?, address(u)?),
        2 | 3 => Op::Put(state(u)?, address(u)?, payload(u)?),
        4 => Op::Append(state(u)?, address(u)?, payload(u)?),
        5 => Op::Delete(state(u)?, address(u)?),
        6 => Op::GetMany(state(u)?, many(u, address)?),
        7 => Op::PutMany(state(u)?, many(u, |u| Ok((address(u)?, payload(u)?)))?),
        8 => Op::UpdateMany(state(u)?, many(u, |u| Ok((address(u)?, action(u)?)))?),
        9 => Op::MapGet(address(u)?, u.int_in_range(0..=9)?),
        10 | 11 => Op::MapPut(address(u)?, u.int_in_range(0..=300)?, payload(u)?),
        12 => Op::MapRemove(address(u)?, u.int_in_range(0..=9)?),
        13 => Op::MapVisit(address(u)?, many(u, action)?),
        14 => Op::Visit(state(u)?, u.int_in_range(0..=8)?, u.int_in_range(8..=15)?, None),
        15 => Op::Count(state(u)?),
        16 => Op::Snapshot(snapshot(u)?),
        17 => Op::Finish(snapshot(u)?),
        18 => Op::Cancel(snapshot(u)?),
        19 => Op::Completed(snapshot(u)?),
        20 => Op::Aborted(snapshot(u)?),
        _ => Op::Restore(snapshot(u)?, u.int_in_range(1..=4)?),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut u = Unstructured::new(bytes);
    let mut ops = Vec::new();
    while !u.is_empty() && ops.len() < 200 {
        let Ok(op) = op(&mut u) else { break };
        ops.push(op);
    }
    let incremental = IncrementalOptions::new().with_delta_percent_max(1_000);
    let options = MemoryOptions::new().with_incremental(incremental);
    let canonical = MemoryBackendFactory::new(options);
    if let Err(failure) = replay(&canonical, &ops) {
        panic!("canonical: {failure}\n{}", print(&ops));
    }
    if let Err(failure) = replay(&NativeFactory::new(canonical), &ops) {
        panic!("native: {failure}\n{}", print(&ops));
    }
});
