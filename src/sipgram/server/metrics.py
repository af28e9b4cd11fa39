"""Figures for Prometheus, read off the running parts when somebody asks.

``FIGURES`` is the one list of them; docs/metrics.md is written from it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from sipgram.server.app import Server
from sipgram.services.policy.service import Police
from sipgram.sip.sink import is_websocket

LAG_NAME = "sipgram_loop_lag_seconds"
LAG_TEXT = "How late a timer of 20 ms fires"
LAG_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)

Read = Callable[[Server], float | Mapping[str, float]]


class Figure(NamedTuple):
    """One metric; counters are shown with ``_total`` behind their name."""

    kind: Literal["counter", "gauge"]
    name: str
    unit: str
    text: str
    read: Read
    label: str = ""
    "What its values are told apart by; empty for a single value."


FIGURES: tuple[Figure, ...] = (
    # ---- requests and answers ----
    Figure(
        *("counter", "sipgram_requests", "requests", "New requests"),
        lambda s: {method.decode(): n for method, n in s.dispatcher.requests.items()},
        "method",
    ),
    Figure(
        *("counter", "sipgram_answers", "responses", "Own answers; those of 4xx on are refusals"),
        lambda s: {str(status): n for status, n in sorted(s.dispatcher.answers.items())},
        "status",
    ),
    Figure(
        *("counter", "sipgram_stray_responses", "responses", "Responses to nothing"),
        lambda s: s.dispatcher.strays,
    ),
    Figure(
        *("gauge", "sipgram_transactions_open", "requests", "Requests without a final response"),
        lambda s: s.endpoint.table.open_count,
    ),
    Figure(
        *("gauge", "sipgram_transactions_answered", "responses", "Responses kept for repeats"),
        lambda s: s.endpoint.table.answered_count,
    ),
    Figure(
        *("gauge", "sipgram_requests_waiting", "requests", "Requests that wait for something"),
        lambda s: s.dispatcher.later_count,
    ),
    # ---- flows ----
    Figure(
        *("counter", "sipgram_datagrams_dropped", "datagrams"),
        "Datagrams not sent because a queue was full",
        lambda s: sum(listener.dropped for listener in s.endpoint.udp),
    ),
    Figure(
        *("gauge", "sipgram_connections", "connections", "Stream connections, WebSockets included"),
        lambda s: len(s.endpoint.connections),
    ),
    Figure(
        *("gauge", "sipgram_websockets", "connections", "WebSockets"),
        lambda s: sum(map(is_websocket, s.endpoint.connections)),
    ),
    Figure(
        *("gauge", "sipgram_websockets_opening", "connections", "Those without a handshake yet"),
        lambda s: len(s.web.opening),
    ),
    Figure(
        *("counter", "sipgram_websockets_refused", "connections", "WebSockets refused"),
        lambda s: dict(s.web.refused),
        "reason",
    ),
    Figure(
        *("counter", "sipgram_connections_refused", "connections", "Over a limit"),
        lambda s: s.endpoint.refused,
    ),
    Figure(
        *("counter", "sipgram_refused", "requests", "Refused or ignored: limits, scanners"),
        lambda s: dict(s.outward.tally.counts),
        "reason",
    ),
    Figure(
        *("gauge", "sipgram_next_hop_connections", "connections", "Opened to other servers"),
        lambda s: s.outward.hops.connections_count,
    ),
    Figure(
        *("gauge", "sipgram_next_hops_failed", "hops", "Other servers that failed of late"),
        lambda s: s.outward.hops.failed.count,
    ),
    Figure(
        *("counter", "sipgram_tls_handshakes_failed", "connections"),
        "TLS handshakes that failed, took too long or made room",
        lambda s: s.endpoint.handshakes_failed,
    ),
    Figure(
        *("counter", "sipgram_keep_alives", "datagrams", "Sent to UDP phones behind NAT"),
        lambda s: s.keep_alives.sent,
    ),
    Figure(
        *("gauge", "sipgram_kept_alive", "bindings", "Bindings behind NAT"),
        lambda s: len(s.keep_alives),
    ),
    # ---- bindings and the store ----
    Figure(
        *("gauge", "sipgram_bindings", "bindings", "Contacts registered"),
        lambda s: s.locations.bindings_count,
    ),
    Figure(
        *("counter", "sipgram_messages_stored", "messages", "Messages written for later"),
        lambda s: s.mailroom.deposits.stored,
    ),
    Figure(
        *("counter", "sipgram_copies_taken", "copies", "Stored copies that a device took"),
        lambda s: s.mailroom.ledger.taken,
    ),
    Figure(
        *("counter", "sipgram_copies_refused", "copies", "Stored copies that a device refused"),
        lambda s: s.mailroom.ledger.refused,
    ),
    Figure(
        *("gauge", "sipgram_messages_waiting", "messages", "Messages that wait for devices"),
        lambda s: s.mailroom.ledger.waiting_count,
    ),
    Figure(
        *("gauge", "sipgram_devices_away", "devices", "Devices that are away and waited for"),
        lambda s: s.mailroom.ledger.away_count,
    ),
    Figure(
        *("gauge", "sipgram_inboxes", "accounts", "Accounts with an inbox in memory"),
        lambda s: len(s.mailroom.ledger),
    ),
    Figure(
        *("gauge", "sipgram_drains", "devices", "Devices that get their mail, or are to"),
        lambda s: len(s.mailroom.drainer),
    ),
    Figure(
        *("gauge", "sipgram_changes_unwritten", "changes"),
        "Changes of the store that the database does not take at the moment",
        lambda s: s.mailroom.ledger.unwritten_count,
    ),
    Figure(
        *(
            "counter",
            "sipgram_changes_lost",
            "changes",
            "Changes that it did not take for too long",
        ),
        lambda s: s.mailroom.ledger.lost,
    ),
    Figure(
        *("gauge", "sipgram_writer_queue", "rows", "Rows submitted and not on disk yet"),
        lambda s: s.writer.waiting_rows,
    ),
    Figure(
        *("gauge", "sipgram_writer_up", "1 or 0", "Whether the writer takes rows"),
        lambda s: float(s.writer.is_available),
    ),
    # ---- the operator's policy, push services ----
    Figure(
        *("counter", "sipgram_policy", "messages", "What the policy made of messages"),
        lambda s: dict(s.messaging.counts) if isinstance(s.messaging, Police) else {},
        "outcome",
    ),
    Figure(
        *("counter", "sipgram_pushes", "wake-ups", "Wake-ups told to push services"),
        lambda s: dict(s.pusher.told),
        "service",
    ),
    Figure(
        *("counter", "sipgram_pushes_failed", "wake-ups", "Wake-ups given up"),
        lambda s: dict(s.pusher.failed),
        "service",
    ),
    Figure(
        *("counter", "sipgram_pushes_dropped", "wake-ups", "Not told: the queue was full"),
        lambda s: s.pusher.dropped,
    ),
)


class ServerCollector(Collector):
    """Turns counters that the parts keep for themselves into metrics."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        for figure in FIGURES:
            family = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
            labels = [figure.label] if figure.label else []
            metric = family(figure.name, figure.text, labels=labels)
            value = figure.read(self._server)
            if isinstance(value, Mapping):
                for label, part in value.items():
                    metric.add_metric([label], part)
            else:
                metric.add_metric([], value)
            yield metric


def registry_of(server: Server) -> tuple[CollectorRegistry, Histogram]:
    """Return the registry, and the histogram that the loop's lag is written into."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server))
    ProcessCollector(registry=registry)
    lag = Histogram(LAG_NAME, LAG_TEXT, buckets=LAG_BUCKETS, registry=registry)
    return registry, lag
