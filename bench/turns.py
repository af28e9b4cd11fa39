"""Does the server's loop give everything its turn while it relays at half of its capacity?

Measures the capacity with a closed loop, relays at a share of it, and reads the server's own
histogram of how late its timers fire (``sipgram_loop_lag_seconds``): a timer for 20 ms fires
within 25 when the lag is under 5. Beside it, HTTP requests take their turn, and their times are
shown. Exits 0 when the p99 of the lag keeps to the limit, 1 when not, 2 when it cannot be told.
"""

import argparse
import statistics
import sys
import threading
import time

from sipgram.cli.load import generator, metrics
from sipgram.cli.load.generator import Load
from sipgram.cli.load.servers import Running, started
from sipgram.errors import Error, Unavailable

LAG_MAX_S = 0.005
PROBE_INTERVAL_S = 0.05
CAPACITY_COUNT = 30_000


class HttpProbe(threading.Thread):
    """Asks ``/healthz`` again and again; ``times_s`` is how long each answer took."""

    def __init__(self, http: str) -> None:
        super().__init__(name="http-probe", daemon=True)
        self.times_s: list[float] = []
        self._url = f"http://{http}/healthz"
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(PROBE_INTERVAL_S):
            asked = time.monotonic()
            try:
                metrics.fetch(self._url)
            except OSError as error:
                print(f"turns: {self._url}: {error}", file=sys.stderr)
                continue
            self.times_s.append(time.monotonic() - asked)

    def end(self) -> None:
        self._ended.set()
        self.join()


def capacity_per_s(server: Running, *, users: int) -> float:
    """MESSAGEs a second that the server relays when the next waits for an answer only."""
    load = Load("relay", users=users, count=CAPACITY_COUNT, leave=True)
    program = generator.compiled()
    done = generator.measure(program, load, host=server.host, port=server.port, pid=server.pid)
    return done.phases["message"].per_s


def lag_under(server: Running, load: Load) -> tuple[metrics.Histogram, list[float]]:
    """The loop lag while the load ran, and the times of the HTTP requests beside it."""
    if server.http is None:
        raise Unavailable("the server has no HTTP, so its loop lag is not known")
    probe = HttpProbe(server.http)
    before = metrics.loop_lag(server.http)
    probe.start()
    done = generator.measure(
        generator.compiled(), load, host=server.host, port=server.port, pid=server.pid
    )
    probe.end()
    figures = done.phases["message"]
    print(
        f"relayed {figures.per_s:.0f}/s, {figures.fail} failed, {figures.retransmits} repeated, "
        f"p99 {figures.p99_ms} ms, {figures.server_cpu_us} us of CPU each"
    )
    lag = metrics.loop_lag(server.http).since(before)
    if not lag.samples:
        raise Unavailable(f"the server counts nothing in {metrics.LOOP_LAG}")
    return lag, probe.times_s


def report(lag: metrics.Histogram, http_times_s: list[float]) -> bool:
    """Print both; whether the lag keeps to the limit."""
    p99_s = lag.quantile(0.99)
    assert p99_s is not None
    print(
        f"loop lag of {lag.samples} timers: p50 <= {(lag.quantile(0.5) or 0) * 1e3:g} ms, "
        f"p99 <= {p99_s * 1e3:g} ms, {lag.over(LAG_MAX_S)} over {LAG_MAX_S * 1e3:g} ms"
    )
    if len(http_times_s) > 1:
        print(
            f"HTTP beside it, {len(http_times_s)} requests: median "
            f"{statistics.median(http_times_s) * 1e3:.1f} ms, "
            f"p99 {statistics.quantiles(http_times_s, n=100)[98] * 1e3:.1f} ms"
        )
    return p99_s <= LAG_MAX_S


def main() -> int:
    """Run the probe from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.5, help="of the capacity (default 0.5)")
    parser.add_argument("--pure", action="store_true", help="SIPGRAM_PURE=1")
    asked = parser.parse_args()
    load = Load("rate", users=asked.users, seconds=asked.seconds, limit_s=asked.seconds + 60)
    try:
        with started("sipgram (plain)" if asked.pure else "sipgram", load) as server:
            rate = max(1, round(capacity_per_s(server, users=asked.users) * asked.share))
            print(f"capacity {rate / asked.share:.0f}/s, relaying at {rate}/s")
            paced = Load(
                "rate",
                users=asked.users,
                rate=rate,
                seconds=asked.seconds,
                limit_s=asked.seconds + 60,
            )
            generator.check(paced)
            keeps = report(*lag_under(server, paced))
    except (Error, OSError) as error:
        print(f"turns: {error}", file=sys.stderr)
        return 2
    return 0 if keeps else 1


if __name__ == "__main__":
    sys.exit(main())
