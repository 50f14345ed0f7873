"""Identical requests under way share one answer, and nobody waits for somebody who left."""

import asyncio

from llmroute.cache import Entry, Seat, SingleFlight

ANSWER = Entry(b"{}", False, "a", None, 0.0)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def follow(seat: Seat) -> Entry | None:
    try:
        return await seat.entry()
    finally:
        seat.leave()


async def test_the_first_leads_and_the_others_get_its_answer() -> None:
    flights = SingleFlight()
    leader, *followers = [flights.join(b"k") for _ in range(4)]
    assert [leader.leads, *(seat.leads for seat in followers)] == [True, False, False, False]
    assert leader.followers == 3
    waiting = [asyncio.create_task(follow(seat)) for seat in followers]
    await settle()
    leader.publish(ANSWER)
    leader.leave()
    assert await asyncio.gather(*waiting) == [ANSWER] * 3
    assert len(flights) == 0


async def test_another_key_is_another_flight() -> None:
    flights = SingleFlight()
    assert flights.join(b"a").leads
    assert flights.join(b"b").leads


async def test_after_the_landing_the_next_request_leads_again() -> None:
    flights = SingleFlight()
    first = flights.join(b"k")
    first.publish(ANSWER)
    first.leave()
    assert flights.join(b"k").leads


async def test_a_follower_that_asks_late_gets_the_answer_at_once() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    leader.publish(ANSWER)
    leader.leave()
    assert await follow(follower) is ANSWER


async def test_after_a_failure_the_followers_go_alone() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    waiting = asyncio.create_task(follow(follower))
    await settle()
    leader.fail()
    leader.leave()
    assert await waiting is None


async def test_a_leader_that_leaves_without_a_word_has_failed() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    waiting = asyncio.create_task(follow(follower))
    await settle()
    leader.leave()
    assert await waiting is None
    assert len(flights) == 0


async def test_a_cancelled_follower_does_not_disturb_the_others() -> None:
    flights = SingleFlight()
    leader, *followers = [flights.join(b"k") for _ in range(3)]
    gone, stays = [asyncio.create_task(follow(seat)) for seat in followers]
    await settle()
    gone.cancel()
    await asyncio.wait([gone])
    assert leader.followers == 1
    leader.publish(ANSWER)
    assert await stays is ANSWER


async def test_only_the_first_word_counts() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    leader.publish(ANSWER)
    leader.fail()
    leader.leave()
    assert await follow(follower) is ANSWER


async def test_work_that_is_carried_goes_on_without_its_leader() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    provider = asyncio.Event()

    async def work() -> None:
        await provider.wait()
        leader.publish(ANSWER)

    leader.carry(asyncio.create_task(work()))
    waiting = asyncio.create_task(follow(follower))
    await settle()
    leader.leave()
    await settle()
    provider.set()
    assert await waiting is ANSWER


async def test_carried_work_is_cancelled_when_the_last_one_leaves() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")
    work = asyncio.create_task(asyncio.Event().wait())
    leader.carry(work)
    waiting = asyncio.create_task(follow(follower))
    await settle()
    leader.leave()
    await settle()
    assert not work.done()
    waiting.cancel()
    await asyncio.wait([work, waiting])
    assert work.cancelled()
    assert len(flights) == 0


async def test_a_request_that_comes_after_the_last_one_left_leads() -> None:
    flights = SingleFlight()
    leader = flights.join(b"k")
    work = asyncio.create_task(asyncio.Event().wait())
    leader.carry(work)
    leader.leave()
    newcomer = flights.join(b"k")
    assert newcomer.leads
    await asyncio.wait([work])
    assert len(flights) == 1, "the cancelled work must not end the newcomer's flight"


async def test_carried_work_that_dies_fails_the_flight() -> None:
    flights = SingleFlight()
    leader, follower = flights.join(b"k"), flights.join(b"k")

    async def work() -> None:
        raise RuntimeError("the target is gone")

    task = asyncio.create_task(work())
    leader.carry(task)
    assert await follow(follower) is None
    leader.leave()
    assert isinstance(task.exception(), RuntimeError)
