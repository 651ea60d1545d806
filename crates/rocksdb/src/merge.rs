//! The merge operator: appends operands to the value, in order.

use rocksdb::{MergeOperands, Options};

/// Recorded in the database.
const NAME: &str = "millpond.append.1";

/// Makes merges append.
pub(crate) fn set_merge_operator(options: &mut Options) {
    options.set_merge_operator_associative(NAME, append);
}

/// Concatenates. Also merges operands with each other, so that flushes and compactions fold chains
/// whose value lies elsewhere.
fn append(_key: &[u8], value: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let value = value.unwrap_or_default();
    let bytes = value.len() + operands.iter().map(<[u8]>::len).sum::<usize>();
    let mut out = Vec::with_capacity(bytes);
    out.extend_from_slice(value);
    operands.iter().for_each(|operand| out.extend_from_slice(operand));
    Some(out)
}
