//! One value at one place: reading, changing and comparing it in one step.

use crate::manager::number;
use crate::manager::protocol::{Blob, CellOperation, ListOperation, Place, Refusal, Reply};

/// Bits of a length that each of its bytes carries in postcard.
const VARINT_BITS: u32 = 7;

/// An object with places that hold a value each.
pub(super) trait Cells {
    /// Returns the value at `place`, if there is one.
    fn get(&self, place: &Place) -> Result<Option<Blob>, Refusal>;

    /// Sets the value at `place`, and returns what was there.
    fn set(&mut self, place: &Place, value: Blob) -> Result<Option<Blob>, Refusal>;

    /// Removes the value at `place`, and returns it.
    fn remove(&mut self, place: &Place) -> Result<Option<Blob>, Refusal>;
}

/// Does one thing to the value at one place.
pub(super) fn operate(
    cells: &mut dyn Cells,
    place: &Place,
    operation: CellOperation,
    bytes_max: usize,
) -> Result<Reply, Refusal> {
    match operation {
        CellOperation::Get => Ok(Reply::Blob(cells.get(place)?)),
        CellOperation::Set(value) => {
            cells.set(place, value)?;
            Ok(Reply::Done)
        }
        CellOperation::Swap(value) => Ok(Reply::Blob(cells.set(place, value)?)),
        CellOperation::Add(kind, more) => {
            let sum = number::add(kind, cells.get(place)?.as_ref(), &more)?;
            cells.set(place, sum.clone())?;
            Ok(Reply::Blob(Some(sum)))
        }
        CellOperation::Push(item) => {
            let (longer, count) = push(cells.get(place)?.as_ref(), &item, bytes_max)?;
            cells.set(place, longer)?;
            Ok(Reply::Count(count))
        }
        CellOperation::CompareAndSwap { expected, new } => {
            let is_expected = cells.get(place)? == expected;
            match new {
                _ if !is_expected => {}
                Some(new) => drop(cells.set(place, new)?),
                None => drop(cells.remove(place)?),
            }
            Ok(Reply::Bool(is_expected))
        }
        CellOperation::GetOrInsert(value) => {
            if let Some(held) = cells.get(place)? {
                return Ok(Reply::Blob(Some(held)));
            }
            cells.set(place, value.clone())?;
            Ok(Reply::Blob(Some(value)))
        }
        CellOperation::Remove => Ok(Reply::Blob(cells.remove(place)?)),
    }
}

/// Appends `item` to a sequence, whose items are not looked at: postcard writes their number, and
/// then one after the other.
fn push(sequence: Option<&Blob>, item: &Blob, bytes_max: usize) -> Result<(Blob, u64), Refusal> {
    let bytes = sequence.map_or(&[0][..], Blob::bytes);
    let (count, items) =
        postcard::take_from_bytes::<u64>(bytes).map_err(|_| Refusal::NotSequence)?;
    let count = count.checked_add(1).ok_or(Refusal::Overflow)?;
    let room = (u64::BITS.div_ceil(VARINT_BITS)) as usize;
    let mut longer = Vec::with_capacity(room + items.len() + item.bytes().len());
    longer = postcard::to_extend(&count, longer).expect("a number can be serialised");
    longer.extend_from_slice(items);
    longer.extend_from_slice(item.bytes());
    if longer.len() > bytes_max {
        return Err(Refusal::TooLarge {
            bytes: longer.len() as u64,
            bytes_max: bytes_max as u64,
        });
    }
    Ok((longer.into(), count))
}

/// A value of its own.
#[derive(Debug)]
pub(super) struct Single(pub(super) Blob);

impl Cells for Single {
    fn get(&self, place: &Place) -> Result<Option<Blob>, Refusal> {
        match place {
            Place::Whole => Ok(Some(self.0.clone())),
            Place::Key(_) | Place::Index(_) => Err(Refusal::WrongKind),
        }
    }

    fn set(&mut self, place: &Place, value: Blob) -> Result<Option<Blob>, Refusal> {
        match place {
            Place::Whole => Ok(Some(std::mem::replace(&mut self.0, value))),
            Place::Key(_) | Place::Index(_) => Err(Refusal::WrongKind),
        }
    }

    fn remove(&mut self, _place: &Place) -> Result<Option<Blob>, Refusal> {
        // There is always a value.
        Err(Refusal::WrongKind)
    }
}

/// Values one after the other.
#[derive(Debug, Default)]
pub(super) struct List(pub(super) Vec<Blob>);

impl List {
    pub(super) fn operate(&mut self, operation: ListOperation) -> Result<Reply, Refusal> {
        let items = &mut self.0;
        Ok(match operation {
            ListOperation::Extend(more) => {
                items.extend(more);
                Reply::Count(items.len() as u64)
            }
            ListOperation::Insert(index, item) => {
                let place = usize::try_from(index).ok();
                let place = place.filter(|&place| place <= items.len());
                let place = place.ok_or_else(|| self.out_of_range(index))?;
                self.0.insert(place, item);
                Reply::Done
            }
            ListOperation::Pop => Reply::Blob(items.pop()),
            ListOperation::IndexOf(item) => match items.iter().position(|held| *held == item) {
                Some(index) => Reply::Count(index as u64),
                None => Reply::Blob(None),
            },
            ListOperation::RemoveItem(item) => {
                let index = items.iter().position(|held| *held == item);
                Reply::Bool(index.map(|index| items.remove(index)).is_some())
            }
            ListOperation::Len => Reply::Count(items.len() as u64),
            ListOperation::Items => Reply::Blobs(items.clone()),
            ListOperation::Reverse => {
                items.reverse();
                Reply::Done
            }
            ListOperation::Clear => {
                items.clear();
                Reply::Done
            }
        })
    }

    /// Finds the index that `place` names, which may be past the end.
    fn index(place: &Place) -> Result<(usize, u64), Refusal> {
        match place {
            Place::Index(index) => Ok((usize::try_from(*index).unwrap_or(usize::MAX), *index)),
            Place::Whole | Place::Key(_) => Err(Refusal::WrongKind),
        }
    }

    fn out_of_range(&self, index: u64) -> Refusal {
        let len = self.0.len() as u64;
        Refusal::IndexOutOfRange { index, len }
    }
}

impl Cells for List {
    fn get(&self, place: &Place) -> Result<Option<Blob>, Refusal> {
        let (place, _) = Self::index(place)?;
        Ok(self.0.get(place).cloned())
    }

    fn set(&mut self, place: &Place, value: Blob) -> Result<Option<Blob>, Refusal> {
        let (place, index) = Self::index(place)?;
        match self.0.get_mut(place) {
            Some(held) => Ok(Some(std::mem::replace(held, value))),
            None => Err(self.out_of_range(index)),
        }
    }

    fn remove(&mut self, place: &Place) -> Result<Option<Blob>, Refusal> {
        let (place, index) = Self::index(place)?;
        if place >= self.0.len() {
            return Err(self.out_of_range(index));
        }
        Ok(Some(self.0.remove(place)))
    }
}
