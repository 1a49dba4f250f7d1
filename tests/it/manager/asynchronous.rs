//! The asynchronous forms, and what is lost when a future is dropped: nothing.

use std::future::Future;
use std::time::Duration;

use hatchery::{ManagedGetError, ManagerError};
use tokio::time::timeout;

use super::{SHORT, manager, patience};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Whoever yields lets the runtime look whether a socket is ready.
        .event_interval(1)
        .build()
        .expect("a runtime can be built");
    let limited = async { timeout(patience(), future).await };
    runtime.block_on(limited).expect("it ends in time")
}

/// How many limits are tried, each twice the one before: the longest is enough for an answer.
const LIMITS: u32 = 10;

/// Drops `future` if it is not ready while the task lets others go first `times` times: a limit that
/// is finer than any timer's.
async fn while_yielding<T>(times: u32, future: impl Future<Output = T>) -> Option<T> {
    let limit = async {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        output = future => Some(output),
        () = limit => None,
    }
}

#[test]
fn every_kind_of_object_is_used_without_blocking() {
    let builder = super::builder();
    block_on(async {
        let manager = builder.start_async().await.unwrap();
        let dict = manager.dict_async::<u8, u8>().await?;
        dict.insert_async(&1, &2).await?;
        assert_eq!(dict.add_async(&1, 3).await?, 5);
        let list = manager.named("l").list_async::<String>().await?;
        assert_eq!(list.push_async(&"a".to_owned()).await?, 1);
        let queue = manager.joinable_queue_async::<u8>(1).await?;
        queue
            .put_async(1)
            .await
            .map_err(|_| ManagerError::Protocol)?;
        let item = queue.get_async().await.unwrap();
        item.done_async().await?;
        queue.join_async().await?;
        manager
            .rlock_async()
            .await?
            .lock_async()
            .await?
            .unlock_async()
            .await?;
        manager
            .semaphore_async(1)
            .await?
            .acquire_async()
            .await?
            .release_async()
            .await?;
        let event = manager.event_async().await?;
        event.set_async().await?;
        event.wait_async().await?;
        assert_eq!(manager.barrier_async(1).await?.wait_async().await?, 0);
        manager.ping_async().await?;
        manager.shutdown_async().await.unwrap();
        Ok::<_, ManagerError>(())
    })
    .unwrap();
}

#[test]
fn many_tasks_wait_at_once_and_each_is_woken() {
    let manager = manager();
    let (queue, condition) = (
        manager.queue::<u32>(0).unwrap(),
        manager.condition().unwrap(),
    );
    block_on(async {
        let waiters: Vec<_> = (0..20)
            .map(|_| {
                let (queue, condition) = (queue.clone(), condition.clone());
                tokio::spawn(async move {
                    let guard = condition.lock_async().await.unwrap();
                    queue.put_async(0).await.unwrap();
                    guard
                        .wait_async()
                        .await
                        .unwrap()
                        .unlock_async()
                        .await
                        .unwrap();
                })
            })
            .collect();
        for _ in 0..20 {
            queue.get_async().await.unwrap();
        }
        let mut guard = condition.lock_async().await.unwrap();
        assert_eq!(guard.notify_async(20).await.unwrap(), 20);
        drop(guard);
        for waiter in waiters {
            waiter.await.unwrap();
        }
    });
}

#[test]
fn a_get_that_is_dropped_again_and_again_loses_nothing() {
    let manager = manager();
    let queue = manager.queue::<u32>(16).unwrap();
    let producer = queue.clone();
    let count = 100;
    let producer = super::in_thread(move || {
        for number in 0..count {
            producer.put(number).unwrap();
        }
    });
    let got = block_on(async {
        let mut got = Vec::new();
        let (mut dropped, mut patience) = (0, 1);
        while got.len() < count as usize {
            // Twice as long each time: so it is dropped at every stage, on a busy machine too.
            match while_yielding(patience, queue.get_async()).await {
                Some(item) => {
                    got.push(item.unwrap());
                    patience = 1;
                }
                None => {
                    dropped += 1;
                    patience *= 2;
                }
            }
        }
        assert!(dropped > 0, "some were dropped");
        got
    });

    super::finish(producer);
    assert!(got.into_iter().eq(0..count), "each once, in order");
}

#[test]
fn a_lock_or_permit_that_comes_too_late_is_not_kept() {
    let manager = manager();
    let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
    block_on(async {
        for round in 0..60 {
            drop(while_yielding(1 << (round % LIMITS), lock.lock_async()).await);
            drop(while_yielding(1 << (round % LIMITS), semaphore.acquire_async()).await);
        }
    });

    assert!(lock.lock_timeout(patience()).unwrap().is_some());
    assert!(semaphore.acquire_timeout(patience()).unwrap().is_some());
}

#[test]
fn a_wait_that_is_dropped_leaves_the_condition_to_others() {
    let manager = manager();
    let condition = manager.condition().unwrap();
    block_on(async {
        let guard = condition.lock_async().await.unwrap();
        assert!(timeout(SHORT, guard.wait_async()).await.is_err());
    });

    let mut guard = condition
        .lock_timeout(patience())
        .unwrap()
        .expect("it is free");

    assert_eq!(guard.notify_all().unwrap(), 0);
}

#[test]
fn both_forms_share_connections_from_one_runtime_to_the_next() {
    let manager = manager();
    let (value, queue) = (
        manager.value(&0_u64).unwrap(),
        manager.queue::<u8>(0).unwrap(),
    );
    for round in 0..10 {
        assert_eq!(value.add(1).unwrap(), 2 * round + 1);
        block_on(async {
            assert_eq!(value.add_async(1).await.unwrap(), 2 * round + 2);
            let nothing = timeout(Duration::from_millis(1), queue.get_async()).await;
            assert!(nothing.is_err());
        });
        assert!(matches!(queue.try_get(), Err(ManagedGetError::Empty)));
    }
}
