//! The space of expired state that nobody reads any more is really given back.

use core::time::Duration;

use millpond_state::{
    KeyContext, KeyedBackend, ListState, MapState, StateOptions, StateTime, Sweeper, TimeDomain,
    Ttl, ValueState,
};

use crate::support::{backend, max};

const KEYS: u64 = 20_000;

#[test]
fn sweeping_gives_back_the_memory_of_cold_expired_keys() {
    for domain in [TimeDomain::Processing, TimeDomain::Event] {
        let (mut backend, time) = (backend(), StateTime::new());
        let tell = |ms| match domain {
            TimeDomain::Processing => time.set_processing_ms(ms),
            TimeDomain::Event => time.advance_event_ms(ms),
        };
        tell(0);
        let ttl = Ttl::new(Duration::from_millis(100), domain, &time).unwrap();
        let options = || StateOptions::new().ttl(ttl.clone());
        let b = &mut backend;
        let values = ValueState::<u64, Vec<u8>>::register_with(b, "values", options()).unwrap();
        let lists = ListState::<u64, u64>::register_with(b, "lists", options()).unwrap();
        let maps = MapState::<u64, u64, u64>::register_with(b, "maps", options()).unwrap();
        let empty = b.memory_bytes();
        for number in 0..KEYS {
            let key = KeyContext::new(&number, max()).unwrap();
            values.put(b, key.at(), &vec![1; 100]).unwrap();
            lists.add_all(b, key.at(), &[1, 2, 3]).unwrap();
            maps.put(b, key.at(), &1, &number).unwrap();
        }
        let full = b.memory_bytes();
        tell(1_000);
        // What is touched again lives on; the rest is cold: nobody reads or writes it any more.
        let warm = KeyContext::new(&7, max()).unwrap();
        values.put(b, warm.at(), &vec![2; 100]).unwrap();
        let (mut sweeper, mut steps) = (Sweeper::new(), 0_u64);
        while !sweeper.step(b).unwrap().round_ended {
            steps += 1;
            assert!(steps < 10 * KEYS, "a round ends");
        }
        assert_eq!(b.entry_count(values.id()).unwrap(), 1);
        assert_eq!(b.entry_count(lists.id()).unwrap(), 0);
        assert_eq!(b.entry_count(maps.id()).unwrap(), 0);
        assert_eq!(values.get(b, warm.at()).unwrap(), Some(vec![2; 100]));
        let left = b.memory_bytes() - empty;
        assert!(left * 20 < full - empty, "{left} of {} bytes are left", full - empty);
    }
}
