"""Pages, start and purge on a table of ten million records.

python bench/records.py --rows 10000000 [--folder DIR]      (4 GB of disk, some minutes)
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

from sqlalchemy import text

from sipgram.db.engine import database_url, open_engine
from sipgram.db.migrations import upgrade
from sipgram.services.messaging.operator.purge import PAUSE_S, Purge
from sipgram.services.messaging.operator.records import Filter, MessageRecords

FIRST_UTC = 1_790_000_000
AORS = 100_000
TICK_S = 0.001
PURGE_S = 20.0

FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :rows - 1)
INSERT INTO messages
  (id, aor, account_id, sender, call_id, digest, content_type, head, body, size, received_utc,
   expires_utc, state, is_for_all, finished_utc, due_utc, imdn_key, wants_failure, kept, sender_id)
SELECT ((:first + i / 10) * 1000 << 20) + i, 'sip:user' || (i * 7919 % :aors) || '@example.com', 1,
  CAST('sip:user' || (i * 104729 % :aors) || '@example.com' AS BLOB), CAST('call' || i AS BLOB),
  randomblob(8), CAST('text/plain' AS BLOB), x'', x'', 400, :first + i / 10, :first + i / 10 + 600000,
  CASE WHEN i % 10000 = 0 THEN 'waiting' WHEN i % 100 = 1 THEN 'failed' ELSE 'delivered' END, 1, 1.0,
  :first + i / 10 + 600000, x'', 0, 0, 0 FROM n"""


def fill(file: Path, rows: int) -> None:
    database = sqlite3.connect(file)
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'messages' "
        "AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    database.execute("PRAGMA synchronous = OFF")
    database.execute(FILL, {"rows": rows, "first": FIRST_UTC, "aors": AORS})
    for _, sql in indexes:
        database.execute(sql)
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


async def measure(url: str, rows: int) -> None:
    engine = open_engine(url)
    records = MessageRecords(engine)
    middle = FIRST_UTC + rows // 20
    for which in (
        Filter(),
        Filter(to="sip:user7@example.com"),
        Filter(sender="sip:user7@example.com"),
        Filter(account="sip:user7@example.com"),
        Filter(state="waiting"),
        Filter(state="failed"),
        Filter(to="sip:user7@example.com", until_utc=middle),
        Filter(since_utc=middle, until_utc=middle + 3600),
    ):
        took = []
        for _ in range(5):
            began = time.perf_counter()
            page = await records.page(which)
            took.append(time.perf_counter() - began)
        shown = {name: getattr(which, name) for name in Filter.__slots__ if getattr(which, name)}
        print(f"page {shown}: {len(page)} rows, {median(took) * 1000:.1f} ms")
    began = time.perf_counter()
    async with engine.connect() as connection:
        query = "SELECT count(*) FROM messages WHERE state = 'waiting'"
        count = (await connection.execute(text(query))).scalar()
    print(f"what waits, found at a start: {count} in {(time.perf_counter() - began) * 1000:.1f} ms")
    await purge(url, rows)
    await engine.dispose()


async def purge(url: str, rows: int) -> None:
    """Remove records for some time, and see how late the loop's turns come."""
    engine = open_engine(url)
    work = Purge(engine, wall=lambda: FIRST_UTC + rows / 10 + 10_000_000.0)
    lags: list[float] = []
    steps: list[float] = []
    end = time.perf_counter() + PURGE_S

    async def tick() -> None:
        while time.perf_counter() < end:
            due = time.perf_counter() + TICK_S
            await asyncio.sleep(TICK_S)
            lags.append(time.perf_counter() - due)

    task = asyncio.create_task(tick())
    while time.perf_counter() < end:
        began = time.perf_counter()
        await work.step()
        steps.append(time.perf_counter() - began)
        await asyncio.sleep(PAUSE_S)
    await task
    await engine.dispose()
    lags.sort()
    steps.sort()
    p99, worst = lags[len(lags) * 99 // 100] * 1000, lags[-1] * 1000
    print(
        f"purge: {work.removed / PURGE_S:.0f} records a second, a step {median(steps) * 1000:.1f} ms, "
    )
    print(
        f"  at most {steps[-1] * 1000:.1f} ms; loop late by p99 {p99:.2f} ms, at most {worst:.2f} ms"
    )


async def make(url: str) -> None:
    engine = open_engine(url)
    await upgrade(engine)
    await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        url = database_url(Path(folder))
        asyncio.run(make(url))
        began = time.perf_counter()
        fill(Path(folder) / "sipgram.db", given.rows)
        size = (Path(folder) / "sipgram.db").stat().st_size
        print(f"{given.rows} records made in {time.perf_counter() - began:.0f} s, {size >> 20} MiB")
        asyncio.run(measure(url, given.rows))


if __name__ == "__main__":
    main()
