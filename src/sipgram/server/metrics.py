"""Figures for Prometheus, read off the running parts when somebody asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sipgram.server.app import Server

LAG_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


class ServerCollector(Collector):
    """Turns counters that the parts keep for themselves into metrics."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        server = self._server
        requests = CounterMetricFamily("sipgram_requests", "New requests", labels=["method"])
        for method, count in server.dispatcher.requests.items():
            requests.add_metric([method.decode()], count)
        yield requests
        answers = CounterMetricFamily("sipgram_answers", "Own answers", labels=["status"])
        for status, count in sorted(server.dispatcher.answers.items()):
            answers.add_metric([str(status)], count)
        yield answers
        yield CounterMetricFamily(
            "sipgram_stray_responses", "Responses to nothing", server.dispatcher.strays
        )
        yield CounterMetricFamily(
            "sipgram_datagrams_dropped",
            "Datagrams not sent because a queue was full",
            sum(listener.dropped for listener in server.endpoint.udp),
        )
        yield CounterMetricFamily(
            "sipgram_connections_refused", "Over the limit", server.endpoint.refused
        )
        yield CounterMetricFamily(
            "sipgram_keep_alives", "Sent to UDP phones behind NAT", server.keep_alives.sent
        )
        yield CounterMetricFamily(
            "sipgram_pushes_dropped", "Not told: the queue was full", server.pusher.dropped
        )
        for name, text, label, counts in (
            ("sipgram_pushes", "Wake-ups told to push services", "service", server.pusher.told),
            ("sipgram_pushes_failed", "Wake-ups given up", "service", server.pusher.failed),
            ("sipgram_refused", "Refused or ignored", "reason", server.tally.counts),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for which, count in counts.items():
                family.add_metric([which], count)
            yield family
        table = server.endpoint.table
        for name, text, value in (
            ("sipgram_bindings", "Contacts registered", server.locations.bindings_count),
            ("sipgram_kept_alive", "Bindings behind NAT", len(server.keep_alives)),
            ("sipgram_connections", "Stream connections", len(server.endpoint.connections)),
            (
                "sipgram_next_hop_connections",
                "Connections that we opened to other servers",
                server.outward.hops.connections_count,
            ),
            ("sipgram_next_hops_failed", "Of late", server.outward.hops.failed.count),
            ("sipgram_transactions_open", "Requests without a final response", table.open_count),
            ("sipgram_transactions_answered", "Responses kept for repeats", table.answered_count),
        ):
            yield GaugeMetricFamily(name, text, value)


def registry_of(server: Server) -> tuple[CollectorRegistry, Histogram]:
    """Return the registry, and the histogram that the loop's lag is written into."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server))
    lag = Histogram(
        "sipgram_loop_lag_seconds",
        "How late a timer of 20 ms fires",
        buckets=LAG_BUCKETS,
        registry=registry,
    )
    return registry, lag
